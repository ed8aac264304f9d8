"""`taskferry submit` at work on lines: a job for each, at most so many at once.

What the broker refuses for now (overloaded, rate limited, stopping) is submitted again for a while, always under the
same job_id. What it would refuse for every line ends the run. Ctrl-C stops submitting: what has been sent gets a moment
for its receipt, so that the results say of nearly every line what became of it.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Final, NamedTuple

import click

from ...log.printable import printable
from ...program.exit_codes import INTERRUPTED
from ...program.loop import new_event_loop
from ...protocol.errors import (
    CannotConnect,
    Forbidden,
    JobsOff,
    JournalFailed,
    Overloaded,
    RateLimited,
    ShuttingDown,
    TaskferryError,
    Unauthenticated,
    WorkerTimeout,
)
from ...protocol.limits import JOB_ID_LENGTH_MAX
from .. import exit_codes
from ..client import Requester
from ..command_line import Client
from ..program import fail, keep_on_at_hangup
from .job import Job
from .line_file import data_of, lines_count, opened, reason_of
from .lines import LineError, Lines
from .report import Report, failure
from .submission import new_job_id

PATIENCE_S: Final = 60.0
"""How long a line is submitted again that is refused for now."""

PAUSE_S_MIN: Final = 0.1
PAUSE_S_MAX: Final = 5.0
"""Between two such submissions, unless the broker says how long; doubled from the first to the last."""

RECEIPT_GRACE_S: Final = 1.0
"""After Ctrl-C: how long what has been sent waits for its receipt."""

REFUSED_FOR_NOW: Final = (Overloaded, RateLimited, ShuttingDown, JournalFailed, WorkerTimeout)
"""WorkerTimeout: no answer came in time."""

REFUSED_FOR_ALL: Final = (Unauthenticated, Forbidden, JobsOff, CannotConnect)
"""What is the same for all lines, which have one command."""

LINE_DIGITS_MAX: Final = 12
"""Room in a job_id for the number of a line."""


class Order(NamedTuple):
    """What the command line asks for. `waits`: until each job has ended. `concurrency`: how many at once."""

    command: str
    options: dict[str, Any]
    waits: bool
    concurrency: int


def submit_lines(client: Client, order: Order, source: str, results: Path | None) -> int:
    """Submit a job for each line of `source` (`@FILE`, or `-` for standard input), write what became of each, print the
    counts, and return the exit code."""
    prefix = order.options.get("job_id")
    if prefix is not None and len(prefix) > JOB_ID_LENGTH_MAX - LINE_DIGITS_MAX:
        raise click.UsageError(
            f"--job-id: with lines at most {JOB_ID_LENGTH_MAX - LINE_DIGITS_MAX} characters"
        )
    with opened(source.removeprefix("@"), "DATA") as stream, _results(results) as sink:
        run = Run(client.requester, order, Report(sink, waits=order.waits))
        keep_on_at_hangup()
        client.warn()
        error: TaskferryError | None = None
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner, _stopped_by_ctrl_c(runner, run):
                runner.run(run.submit_all(stream, lines_count(source.removeprefix("@"))))
        except TaskferryError as not_connected:
            error = not_connected
        return _ended(run, error or run.stopped_by)


def _ended(run: "Run", error: TaskferryError | None) -> int:
    """Write what is known of the rest, print the counts, and return the exit code."""
    report = run.report
    try:
        if run.broken_by is not None:
            raise run.broken_by
        report.close()
    except OSError as full:
        click.echo(f"error: cannot write the results: {reason_of(full)}; {report.summary()}", err=True)
        return exit_codes.COMMAND_FAILED
    if report.lines_count or error is None:
        hint = "; the results have their job_ids" if report.unknown_count else ""
        click.echo(f"{'interrupted after ' if run.is_interrupted else ''}{report.summary()}{hint}", err=True)
    if error is not None:
        return fail(error)
    return INTERRUPTED if run.is_interrupted else exit_codes.exit_code_of_many(report.codes)


class Run:
    """The submission of all lines. `stopped_by`: what the broker would answer to every further line. `broken_by`: why
    an outcome could not be written."""

    def __init__(self, requester: Requester, order: Order, report: Report) -> None:
        self._requester = requester
        self._order = order
        self.report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()
        self.is_interrupted = False
        self.stopped_by: TaskferryError | None = None
        self.broken_by: BaseException | None = None

    def interrupt(self) -> None:
        """Stop submitting; a second time, wait no longer for receipts."""
        if self.is_interrupted:
            self._is_over.set()
        self.is_interrupted = True
        if self._main is not None:
            self._main.cancel()

    async def submit_all(self, stream: RawIOBase, lines_count: int | None) -> None:
        """Submit each line. Raises what waiting for the connection raises."""
        if self.is_interrupted:
            return
        self._main = asyncio.create_task(self._submit_all(stream, lines_count))
        await asyncio.wait([self._main])
        if not self._main.cancelled():
            self._main.result()

    async def _submit_all(self, stream: RawIOBase, lines_count: int | None) -> None:
        async with self._requester as requester:
            await requester.connect(retry=False)
            self.report.started_s = time.monotonic()
            with _progress(lines_count, self.report, waits=self._order.waits):
                try:
                    await self._feed(Lines(stream))
                    while self._tasks:
                        await asyncio.wait(self._tasks)
                except asyncio.CancelledError:
                    await self._wait_for_receipts()
                    raise
                finally:
                    for task in self._tasks:
                        task.cancel()

    async def _feed(self, lines: Lines) -> None:
        room = asyncio.Semaphore(self._order.concurrency)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            room.release()
            if not task.cancelled() and (error := task.exception()) is not None and self._main is not None:
                self.broken_by = self.broken_by or error
                self._main.cancel()

        async for number, line in lines.read():
            await room.acquire()
            if self.stopped_by is not None:
                return
            task = asyncio.create_task(self._submit_line(number, line))
            self._tasks.add(task)
            task.add_done_callback(ended)

    async def _submit_line(self, number: int, line: bytes | LineError) -> None:
        try:
            data = data_of(line)
        except LineError as error:
            self.report.bad_line(number, str(error))
            return
        prefix = self._order.options.get("job_id")
        job_id = new_job_id() if prefix is None else f"{prefix}-{number}"
        self.report.started(number, job_id)
        try:
            job = await self._submit(job_id, data)
            is_duplicate = job.is_duplicate and (prefix is not None or job.job_id != job_id)
            self.report.accepted(number, job.job_id, job.state or "", is_duplicate=is_duplicate)
            if self._order.waits:
                self.report.done(number, job.job_id, await job.result())
        except TaskferryError as error:
            self.report.failed(number, failure(job_id, error))
            if isinstance(error, REFUSED_FOR_ALL):
                self.stopped_by = error

    async def _submit(self, job_id: str, data: object) -> Job:
        """Submit one job, again and again while it is refused for now."""
        gives_up_at_s = time.monotonic() + PATIENCE_S
        pause_s = PAUSE_S_MIN
        while True:
            try:
                return await self._requester.submit(
                    self._order.command, data, **{**self._order.options, "job_id": job_id}
                )
            except REFUSED_FOR_NOW as error:
                wait_s = pause_s if error.retry_after_s is None else error.retry_after_s
                if time.monotonic() + wait_s >= gives_up_at_s:
                    raise
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _wait_for_receipts(self) -> None:
        ends_at_s = time.monotonic() + RECEIPT_GRACE_S
        while self.report.unknown_count and (left_s := ends_at_s - time.monotonic()) > 0:
            over = asyncio.create_task(self._is_over.wait())
            # A receipt ends a task, or, if the end of its job is awaited, none: so not for longer than a moment.
            await asyncio.wait([*self._tasks, over], timeout=min(left_s, 0.05), return_when="FIRST_COMPLETED")
            over.cancel()
            if self._is_over.is_set():
                return


@contextmanager
def _results(path: Path | None) -> Iterator[BinaryIO]:
    """A new file, or standard output."""
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        if path.exists() and path.stat().st_size:
            raise click.UsageError(f"--results: {printable(str(path))} is not empty: name a new file")
        file = path.open("wb")
    except OSError as error:
        raise click.UsageError(f"--results: {printable(str(path))}: {reason_of(error)}") from None
    try:
        yield file
    finally:
        with suppress(OSError):  # what could not be written was reported
            file.close()


@contextmanager
def _stopped_by_ctrl_c(runner: asyncio.Runner, run: Run) -> Iterator[None]:
    """Ctrl-C interrupts the run instead of whatever is just done, so that no line is written twice or by half."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return
    loop = runner.get_loop()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(run.interrupt)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(lines_count: int | None, report: Report, *, waits: bool) -> Iterator[None]:
    if not sys.stderr.isatty() or report.is_on_terminal:
        yield
        return
    from . import tables  # noqa: PLC0415 - rich is slow to import, and a pipe does not need it

    with tables.progress_bar(lines_count, report, waits=waits):
        yield
