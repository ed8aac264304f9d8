"""Several worker processes, or one that restarts when its source changes, under one parent.

The parent never imports the user's module. Each child holds the reading end of a pipe as its standard input: closing
the other end asks it to drain, and if this process dies, however it dies, the children drain too.
"""

import asyncio
import logging
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Final

from ..log.event import log_event
from ..program import exit_codes
from ..program.hangup import SIGHUP, hangups_blocked
from ..program.signals import signals_handled
from ..transport.backoff import Backoff
from .events import WorkerProcessEnded, WorkerProcessesStopping
from .program import EXIT_RELOAD

logger = logging.getLogger(__name__)

STEADY_S: Final = 10.0
"""A child that lived this long was healthy: it is replaced at once, not after a growing wait."""


class Supervisor:
    """Keeps `process_count` children alive. `arguments` gives a child's command line (after the interpreter) for its
    number, from 1, and whether this is its first start; `on_reload` is called at SIGHUP, which the children get too."""

    __slots__ = (
        "_arguments",
        "_children",
        "_exit_code",
        "_on_reload",
        "_process_count",
        "_received_count",
        "_starting",
        "_stopping",
    )

    def __init__(
        self, process_count: int, arguments: Callable[[int, bool], list[str]], on_reload: Callable[[], None]
    ) -> None:
        self._process_count = process_count
        self._arguments = arguments
        self._on_reload = on_reload
        self._children: dict[int, Process] = {}
        self._exit_code = 0
        self._received_count = 0
        self._stopping: asyncio.Event
        self._starting: asyncio.Lock

    def run(self) -> int:
        """Run until asked to stop and all children have ended; returns the exit code.

        The first SIGINT or SIGTERM drains the children, the second kills them (exit code 128 + the signal). If the
        first start of number 1 ends with exit code USAGE, the others are ended and that is the exit code.
        """
        # Not on uvloop: nothing here is hot, and asyncio's subprocesses are better tested.
        return asyncio.run(self._run())

    async def _run(self) -> int:
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()
        with signals_handled(self._receive, self._reload):
            await asyncio.gather(*(self._keep(number) for number in range(1, self._process_count + 1)))
        return self._exit_code

    async def _keep(self, number: int) -> None:
        """One child after another in the place of this number."""
        backoff = Backoff(random.random)
        is_first_start = True
        while not self._stopping.is_set():
            began_at = time.monotonic()
            child = await self._start(number, is_first_start)
            self._children[number] = child
            if self._stopping.is_set():
                _ask_to_drain(child)
            code = await child.wait()
            del self._children[number]
            if self._stopping.is_set():
                return
            if code == exit_codes.USAGE and is_first_start:
                if number == 1:
                    self._exit_code = exit_codes.USAGE
                    self._stop()
                    return
                # For the same reason as the first child, which is about to report it for all.
                is_first_start = False
                await self._wait(STEADY_S)
                continue
            is_first_start = False
            if code == EXIT_RELOAD:
                continue
            if time.monotonic() - began_at >= STEADY_S:
                backoff.reset()
            log_event(logger, WorkerProcessEnded(number, exit_codes.describe(code)))
            await self._wait(backoff.next_wait_s())

    async def _start(self, number: int, is_first_start: bool) -> Process:
        # A SIGHUP that comes before the child can handle it stays pending until it can. One child at a time: two that
        # are started at once would each find the signal blocked by the other, and leave it so.
        async with self._starting:
            with hangups_blocked():
                return await asyncio.create_subprocess_exec(
                    sys.executable,
                    *self._arguments(number, is_first_start),
                    stdin=PIPE,
                    # Ctrl-C goes to the terminal's whole group, and a child that is still importing would print a
                    # traceback. This process stops its children by the pipe.
                    process_group=0,
                )

    async def _wait(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _receive(self, signum: signal.Signals) -> None:
        self._received_count += 1
        if self._received_count == 1:
            log_event(logger, WorkerProcessesStopping(signum.name))
            self._stop()
            return
        self._exit_code = 128 + signum
        for child in self._children.values():
            child.kill()

    def _reload(self) -> None:
        assert SIGHUP is not None, "one has just arrived"
        for child in self._children.values():
            child.send_signal(SIGHUP)
        self._on_reload()

    def _stop(self) -> None:
        self._stopping.set()
        for child in self._children.values():
            _ask_to_drain(child)


def _ask_to_drain(child: Process) -> None:
    assert child.stdin is not None
    child.stdin.close()
