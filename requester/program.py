"""`taskferry request` at work: one request or many over one connection, what is printed where, and the exit code.

Options are in cli.py, texts in output.py.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NamedTuple

import click

from ..log.event import log_event
from ..log.printable import printable, printable_lines
from ..program.events import ReloadRefused
from ..program.exit_codes import INTERRUPTED
from ..program.hangup import SIGHUP, Terminal
from ..program.interruptible import run_interruptible
from ..program.loop import new_event_loop
from ..protocol.errors import CannotConnect, Forbidden, RateLimited, TaskferryError, Unauthenticated
from . import exit_codes, output
from .bulk import Tally, run_many
from .client import Requester
from .response import Response, failed_response

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_S: Final = 0.1
"""How often the progress bar moves."""

LEFT_S_MIN: Final = 0.001
"""The least that is left for a request after connecting: it then ends with a timeout like any other."""

REASON_S_MAX: Final = 2.0
"""How long it may take to find out why a job waits."""

NOT_CONNECTED: Final = (CannotConnect, Unauthenticated, Forbidden, RateLimited)
"""What waiting for a connection raises."""


class Order(NamedTuple):
    """What the command line asks for. `options`: those of Requester.request. `wait`: until there is a broker."""

    requester: Requester
    command: str
    options: dict[str, Any]
    wait: bool
    as_json: bool
    raw: bool


def keep_on_at_hangup() -> None:
    """Ignore SIGHUP, except from a terminal that was closed: then end as by Ctrl-C."""
    terminal = Terminal()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        if terminal.is_gone:
            # What a script runs in the background ignores Ctrl-C.
            is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM if is_ignored else signal.SIGINT)
        else:
            log_event(logger, ReloadRefused("a request keeps the settings that it was started with"))

    if SIGHUP is not None:
        signal.signal(SIGHUP, hang_up)


def send_one(order: Order) -> int:
    """Send one request, print its result, and return the exit code. Raises KeyboardInterrupt."""
    try:
        response = run_interruptible(lambda: _send_one(order))
    except NOT_CONNECTED as error:
        return fail(error)
    if response.job_id is not None:
        return exit_codes.KEPT
    if not response.success and not order.as_json:
        print_failure(response)
    return exit_codes.exit_code(response.code)


def send_many(order: Order, count: int, concurrency: int) -> int:
    """Send it `count` times, `concurrency` at once, print the summary, and return the exit code.

    If interrupted, the summary covers the requests that have ended by then.
    """
    tally = Tally()
    is_interrupted = False
    try:
        run_interruptible(lambda: _send_many(order, count, concurrency, tally), new_event_loop)
    except NOT_CONNECTED as error:
        return fail(error)
    except KeyboardInterrupt:
        is_interrupted = True
    _print_summary(tally, as_json=order.as_json)
    if tally.first_failure is not None:
        print_failure(tally.first_failure)
    return INTERRUPTED if is_interrupted else exit_codes.exit_code_of_many(tally.counts, tally.kept_count)


async def _send_one(order: Order) -> Response:
    timeout_s = order.options["timeout"]
    async with order.requester as requester:
        started_s = time.monotonic()
        await requester.connect(timeout=timeout_s, retry=order.wait)
        left_s = max(timeout_s - (time.monotonic() - started_s), LEFT_S_MIN)
        response = await requester.request(order.command, **{**order.options, "timeout": left_s})
        _print_response(response, order)  # before closing the connection, which may take a moment
        if response.job_id is not None and not order.as_json:
            await _print_kept(requester, response.job_id)
    return response


async def _send_many(order: Order, count: int, concurrency: int, tally: Tally) -> None:
    async with order.requester as requester:
        await requester.connect(timeout=order.options["timeout"], retry=order.wait)
        with progress(count, tally):
            await run_many(
                lambda: requester.request(order.command, **order.options), count, concurrency, tally
            )


async def _advance_often(advance: Callable[[], None]) -> None:
    while True:
        advance()
        await asyncio.sleep(PROGRESS_INTERVAL_S)


@contextmanager
def progress(count: int | None, tally: Tally, *, is_wanted: bool = True) -> Iterator[None]:
    """Within the block, a bar on standard error, if that is a terminal, shows how far `tally` is.

    `count`: None if it is not known. Inside an event loop.
    """
    if not (is_wanted and sys.stderr.isatty()):
        yield
        return
    from . import terminal  # noqa: PLC0415 - rich is slow to import, and a pipe does not need it

    with terminal.progress_bar(count, tally) as advance:
        bar = asyncio.create_task(_advance_often(advance))
        try:
            yield
        finally:
            bar.cancel()


def _print_response(response: Response, order: Order) -> None:
    if order.as_json:
        click.echo(output.response_line(response))
    elif response.success:
        print_data(response.data, raw=order.raw)
    elif response.job_id is not None:
        click.echo(printable(response.job_id))


async def _print_kept(requester: Requester, job_id: str) -> None:
    """Why the request became a job, and how to follow it."""
    try:
        view = await requester.job(job_id).refresh(timeout=REASON_S_MAX)
    except TaskferryError:  # it may call the command and not see jobs, or the broker stops
        now = ""
    else:
        now = f", which waits {view.reason}" if view.reason else f", which is {view.state}"
    line = f"not delivered, so it is kept as a job{now}. Its result: taskferry job result {job_id}"
    click.echo(printable(line), err=True)


def print_data(data: Any, *, raw: bool) -> None:
    """Print a result: for people on a terminal, else as one line of JSON. `raw`: a text as it is."""
    line = output.data_line(data, raw=raw)
    if not sys.stdout.isatty():
        click.echo(line, color=True)  # otherwise click removes what looks like a colour from a raw text
    elif raw and isinstance(data, str):
        click.echo(printable_lines(line))
    else:
        from . import terminal  # noqa: PLC0415 - as above

        terminal.print_json(line)


def _print_summary(tally: Tally, *, as_json: bool) -> None:
    facts = output.summary(tally)
    if as_json:
        click.echo(output.json_line(facts))
        return
    from . import terminal  # noqa: PLC0415 - as above

    terminal.print_summary(facts)


def print_failure(failure: Response) -> None:
    """Print what went wrong, and what to do about it, on standard error."""
    click.echo(f"error: {output.error_line(failure)}", err=True)


def fail(error: TaskferryError) -> int:
    """Print what went wrong, and return the exit code."""
    print_failure(failed_response("", error))
    return exit_codes.exit_code(error.code)
