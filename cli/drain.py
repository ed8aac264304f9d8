"""`taskferry drain`: gives a worker no more requests, and waits until it has finished those that it has."""

import sys
import time
import urllib.parse
from typing import Any, Final

import click

from ..configuration.kinds import Number
from ..log.printable import printable
from ..program.exit_codes import FAILED, TIMEOUT
from ..program.interrupts import raise_at_interrupt
from ..program.plain_options import option
from ..protocol.limits import TIMEOUT_S_MAX
from .http_port import HttpPort, HttpPortError, fail, http_options, not_understood, print_json

POLL_INTERVAL_S: Final = 0.5
"""How often the broker is asked whether the worker has finished."""

DRAINING: Final = "draining"


@click.command()
@click.argument("worker")
@click.option("--undo", is_flag=True, help="Give it requests again.")
@option(
    "--wait",
    "wait_s",
    kind=Number(0, TIMEOUT_S_MAX, "seconds"),
    default=TIMEOUT_S_MAX,
    help="How long to wait until it has finished; 0 does not wait.",
)
@http_options
@click.pass_context
def drain(
    context: click.Context, *, worker: str, undo: bool, wait_s: float, port: HttpPort, as_json: bool
) -> None:
    """Give WORKER no more requests, and wait until it has finished those that it has.

    It stays connected, and stays drained when it reconnects, until --undo.

    Exit codes: 0 drained (with --undo: given requests again); 1 there is no such worker, or the answer cannot be read;
    2 wrong options; 3 not finished in time; 5 cannot connect; 6 not authenticated, or not allowed.
    """
    try:
        row = port.ask(f"/api/workers/{urllib.parse.quote(worker, safe='')}/drain", {"undo": undo})
        try:
            text = _undone(row) if undo else _followed(port, row, wait_s)
        except (LookupError, TypeError, AttributeError):
            raise not_understood(port.url) from None
        if as_json:
            print_json(row)
        else:
            click.echo(printable(text))
    except HttpPortError as error:
        fail(context, error)


def _undone(row: dict[str, Any]) -> str:
    """The result of `--undo`, for people."""
    if row["state"] == DRAINING:
        raise HttpPortError(f"{row['worker_id']} leaves by itself: {row['reason']}", FAILED)
    return f"{row['worker_id']} is given requests again ({row['state']})"


def _followed(port: HttpPort, row: dict[str, Any], wait_s: float) -> str:
    """Wait up to `wait_s` until the worker has nothing in flight. The result, for people. `row` is kept up to date."""
    worker_id = row["worker_id"]
    ends_at = time.monotonic() + wait_s
    raise_at_interrupt()
    try:
        while row["in_flight"] and time.monotonic() < ends_at:
            _show_progress(f"{worker_id} drains: {row['in_flight']} in flight")
            time.sleep(max(0.0, min(POLL_INTERVAL_S, ends_at - time.monotonic())))
            # A broker that does not know the parameter answers with all of them.
            rows = port.ask(f"/api/workers?worker_id={urllib.parse.quote(worker_id, safe='')}")["workers"]
            now = next((other for other in rows if other["worker_id"] == worker_id), None)
            if now is None:
                return f"{worker_id} has left"
            row.update(now)
            if row["state"] != DRAINING:
                raise HttpPortError(f"{worker_id} is no longer drained: somebody has undone it", FAILED)
    finally:
        _show_progress("")
    if not row["in_flight"]:
        return f"{worker_id} is drained: nothing in flight"
    if not wait_s:
        return f"{worker_id} drains: {row['in_flight']} in flight"
    text = f"{worker_id} still has {row['in_flight']} in flight after {wait_s:g} s; it gets no new requests"
    raise HttpPortError(text, TIMEOUT)


def _show_progress(text: str) -> None:
    """Replaces what was shown before, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{printable(text)}")
        sys.stderr.flush()
