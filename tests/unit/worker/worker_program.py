"""`python -m taskferry.worker` as a separate process, watched by a test and stopped after it."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

from tests.unit.worker.fake_broker import PATIENCE_S


class WorkerProgram:
    """A running worker program. `lines` is what it has written to stderr so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._arrived = asyncio.Event()

    async def collect(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode().rstrip())
            self._arrived.set()

    async def line_with(self, text: str, *, count: int = 1) -> str:
        """The line that holds `text` for the `count`-th time, when it comes."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = [line for line in self.lines if text in line]
                if len(found) >= count:
                    return found[count - 1]
                self._arrived.clear()
                await self._arrived.wait()

    async def ended(self) -> int:
        """The exit code, once the program has ended."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def worker_program(folder: Path, *arguments: str) -> AsyncIterator[WorkerProgram]:
    """Run the worker program in `folder` for the length of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "taskferry.worker", *arguments, cwd=folder, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    program = WorkerProgram(process)
    collecting = asyncio.create_task(program.collect())
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await collecting  # ends when the last process that writes there has ended
        await process.communicate()


async def run_to_end(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run the worker program in `folder` until it ends by itself: exit code, and the lines on stderr."""
    async with worker_program(folder, *arguments) as program:
        code = await program.ended()
    return code, program.lines
