"""`taskferry demo`: the command, with its options, signals and exit codes.

The run is in run.py, its look in display.py. Both are imported once signals are handled: before that, a Ctrl-C during
an import would be a traceback.
"""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from ...configuration.kinds import Number, Whole
from ...program.exit_codes import FAILED
from ...program.plain_options import option

if TYPE_CHECKING:
    from .display import Display
    from .run import DemoRun
    from .table import Outcome, Snapshot

VARIABLES: Final = "TASKFERRY_DEMO_"

SECONDS_DEFAULT: Final = 10.0
SECONDS_MIN: Final = 0.5
SECONDS_MAX: Final = 86_400.0

WORKERS_DEFAULT: Final = 3
WORKERS_MAX: Final = 16
"""Each is a process on this machine, and a row of the table."""

CONCURRENCY_DEFAULT: Final = 24
"""Half of the slots of three workers: all are busy, and nothing waits."""
CONCURRENCY_MAX: Final = 1000
"""A requester may have more in flight."""

REDRAW_INTERVAL_S: Final = 0.25
"""Often enough to look alive. Drawing a table takes a few milliseconds, which the requests lack."""


class Interruption:
    """SIGINT and SIGTERM during the demo: counted and passed on, never an exception at a random place."""

    def __init__(self) -> None:
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run: DemoRun | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Within the block. After it SIGINT is ignored: the process is about to exit."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    @contextmanager
    def passed_on_to(self, run: "DemoRun") -> Iterator[None]:
        """Call `run.interrupt` in the running loop at every signal, earlier ones included."""
        self._loop, self._run = asyncio.get_running_loop(), run
        for _ in range(self._count):
            run.interrupt()
        try:
            yield
        finally:
            self._run = None

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._run is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._run.interrupt)


def _path_to_write(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Checked before the run, not after it."""
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r}")
    return path


@click.command("demo")
@option(
    "--seconds",
    "duration_s",
    kind=Number(SECONDS_MIN, SECONDS_MAX, "seconds"),
    default=SECONDS_DEFAULT,
    variables=VARIABLES,
    help="How long requests are sent.",
)
@option(
    "--workers",
    kind=Whole(1, WORKERS_MAX),
    default=WORKERS_DEFAULT,
    variables=VARIABLES,
    help="Worker processes. If there are two or more, one is killed during the run.",
)
@option(
    "--concurrency",
    kind=Whole(1, CONCURRENCY_MAX),
    default=CONCURRENCY_DEFAULT,
    variables=VARIABLES,
    help="Requests in flight at once.",
)
@option(
    "--export",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    callback=_path_to_write,
    variables=VARIABLES,
    help="Write the final table to this file, as SVG.",
)
@click.pass_context
def demo(
    context: click.Context, duration_s: float, workers: int, concurrency: int, export: Path | None
) -> None:
    """See Taskferry at work on this machine: a broker, workers, a stream of requests, and a live table.

    Everything is real: sockets, processes and the built-in commands. Every answer is checked. One worker is killed
    (kill -9) and restarted. The ports are free ones on the loopback address. They are shown, so that you can connect to
    them; --seconds 600 gives you the time. Ctrl-C ends the demo at once. In a pipe it prints plain lines and no table.

    Exit codes: 0 every request was answered correctly; 1 one was not; 2 wrong options.
    """
    interruption = Interruption()
    with interruption.handled():
        code = _carry_out(interruption, duration_s, workers, concurrency, export)
    context.exit(code)


def _carry_out(
    interruption: Interruption, duration_s: float, worker_count: int, concurrency: int, export: Path | None
) -> int:
    """Run and show the demo; the exit code."""
    from ...program.loop import new_event_loop  # noqa: PLC0415 - here and below: as the module's docstring says
    from .display import choose_display  # noqa: PLC0415
    from .run import DemoRun  # noqa: PLC0415
    from .worker import DemoFailed  # noqa: PLC0415

    logging.getLogger("taskferry").setLevel(logging.ERROR)  # losing a worker is part of the demo
    display = choose_display()

    async def main() -> int:
        run = DemoRun(duration_s=duration_s, worker_count=worker_count, concurrency=concurrency)
        with interruption.passed_on_to(run):
            try:
                return await _show(run, display, export)
            finally:
                await run.stop()

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(main())
    except DemoFailed as error:
        click.echo(f"error: {error}", err=True)
        return FAILED


async def _show(run: "DemoRun", display: "Display", export: Path | None) -> int:
    """The run from its start to its summary; the exit code."""
    looking = asyncio.create_task(_look_often(run, display))
    try:
        await run.start()
        await run.stream()
    except BaseException:
        display.drop()
        raise
    finally:
        looking.cancel()
        await asyncio.wait({looking})
    if not looking.cancelled():
        looking.result()  # raises OSError if nobody reads
    snapshot, outcome = run.look(), run.outcome()
    display.finish(snapshot, outcome)
    if export is not None and not _export(export, snapshot, outcome):
        return FAILED
    return 0 if outcome.is_good else FAILED


async def _look_often(run: "DemoRun", display: "Display") -> None:
    while not run.stopping.is_set():
        await run.count_in_flight()
        try:
            display.show(run.look())
        except OSError:
            run.interrupt()
            raise
        await asyncio.sleep(REDRAW_INTERVAL_S)


def _export(path: Path, snapshot: "Snapshot", outcome: "Outcome") -> bool:
    """Write the picture, unless the run was stopped early. False if that failed."""
    from .display import write_picture  # noqa: PLC0415

    if outcome.is_cut_short:
        click.echo(f"{path} was not written: the demo was stopped early.")
        return True
    try:
        write_picture(path, snapshot, outcome)
    except OSError as error:
        click.echo(f"error: {path}: {error.strerror}", err=True)
        return False
    click.echo(f"{path} was written.")
    return True
