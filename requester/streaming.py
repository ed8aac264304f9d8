"""`taskferry request --stream` at work: chunks as lines while they come, and a bar as soon as there is progress."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ..log.printable import printable_lines
from ..program.interruptible import run_interruptible
from ..protocol.errors import TaskferryError
from . import exit_codes, output
from .program import LEFT_S_MIN, Order, fail, print_data, print_failure
from .progress import Progress
from .response import Response, failed_response


def stream_one(order: Order) -> int:
    """Send one request, print its chunks as they come and then its result, and return the exit code. Raises
    KeyboardInterrupt."""
    try:
        response = run_interruptible(lambda: _stream(order))
    except TaskferryError as error:
        return fail(error)
    if not response.success and not order.as_json:
        print_failure(response)
    return exit_codes.exit_code(response.code)


async def _stream(order: Order) -> Response:
    """Raises what connecting does."""
    timeout_s = order.options["timeout"]
    async with order.requester as requester:
        started_s = time.monotonic()
        await requester.connect(timeout=timeout_s, retry=order.wait)
        left_s = max(timeout_s - (time.monotonic() - started_s), LEFT_S_MIN)
        options = {name: value for name, value in order.options.items() if name not in NOT_OF_STREAMS}
        with bar() as report:
            stream = requester.stream(
                order.command, on_progress=report, on_reset=_print_reset, **{**options, "timeout": left_s}
            )
            try:
                async for chunk in stream:
                    _print_chunk(chunk, order)
            except TaskferryError as error:
                response = stream.response if stream.has_ended else failed_response("", error)
            else:
                response = stream.response
        if order.as_json:
            click.echo(output.response_line(response))
        elif response.success and response.data is not None:
            print_data(response.data, raw=order.raw)
    return response


NOT_OF_STREAMS = frozenset({"otherwise"})
"""Options of requests that streams do not have."""


@contextmanager
def bar() -> Iterator[Callable[[Progress], None]]:
    """Within the block, what the yielded function is called with moves a bar on standard error, if that is a
    terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from . import terminal  # noqa: PLC0415 - rich is slow to import, and a pipe does not need it

    with terminal.report_bar() as report:
        yield report


def _print_chunk(chunk: object, order: Order) -> None:
    line = output.data_line(chunk, raw=order.raw)
    if not sys.stdout.isatty():
        click.echo(line, color=True)
    else:  # click would write past what the bar has put in the place of standard output
        sys.stdout.write((printable_lines(line) if order.raw else line) + "\n")


def _print_reset(attempt: int) -> None:
    click.echo(f"begins again, from the first line on: a worker was lost (attempt {attempt})", err=True)
