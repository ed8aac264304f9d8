"""`taskferry drain`: gives workers no more requests, and waits until they have finished those that they have."""

import fnmatch
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
from ..program.table_options import Pair
from ..protocol.limits import TIMEOUT_S_MAX
from .http_port import HttpPort, HttpPortError, fail, http_options, not_understood, print_json

POLL_INTERVAL_S: Final = 0.5
"""How often the broker is asked whether the worker has finished."""

DRAINING: Final = "draining"


_PATTERN_SIGNS: Final = frozenset("*?[")
"""Signs that no worker's name has."""


@click.command()
@click.argument("worker", metavar="[WORKER|PATTERN]", required=False)
@click.option(
    "--label",
    "labels",
    metavar="K=V",
    type=Pair(),
    multiple=True,
    help="All connected workers with this label. May be repeated; for the same K, any of its values will do.",
)
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
    context: click.Context,
    *,
    worker: str | None,
    labels: tuple[tuple[str, str], ...],
    undo: bool,
    wait_s: float,
    port: HttpPort,
    as_json: bool,
) -> None:
    """Give WORKER no more requests, and wait until it has finished those that it has.

    It stays connected, and stays drained when it reconnects, until --undo. A PATTERN such as 'node-*', with the signs
    of a shell, and labels stand for all workers that match and are connected now.

    Exit codes: 0 drained (with --undo: given requests again); 1 there is no such worker, or the answer cannot be read;
    2 wrong options; 3 not finished in time; 5 cannot connect; 6 not authenticated, or not allowed.
    """
    if worker is None and not labels:
        raise click.UsageError("Missing argument 'WORKER', or --label")
    is_one = worker is not None and not labels and _PATTERN_SIGNS.isdisjoint(worker)
    ends_at = time.monotonic() + wait_s
    try:
        names = [worker] if is_one else _matching(port, worker or "*", labels)
        rows = [
            port.ask(f"/api/workers/{urllib.parse.quote(str(name), safe='')}/drain", {"undo": undo})
            for name in names
        ]
    except HttpPortError as error:
        fail(context, error)
    failures: list[HttpPortError] = []
    for row in rows:
        try:
            text = _text_of(port, row, ends_at, is_undo=undo, wait_s=wait_s)
        except HttpPortError as error:
            failures.append(error)
        else:
            if not as_json:
                click.echo(printable(text))
    if as_json and not (is_one and failures):
        print_json(rows[0] if is_one else {"workers": rows})
    for failure in failures[:-1]:
        click.echo(f"error: {printable(str(failure))}", err=True)
    if failures:
        fail(context, failures[-1])


def _matching(port: HttpPort, pattern: str, labels: tuple[tuple[str, str], ...]) -> list[str]:
    """The names of the connected workers that match. Raises HttpPortError if there is none."""
    wanted: dict[str, set[str]] = {}
    for key, value in labels:
        wanted.setdefault(key, set()).add(value)
    try:
        found = [
            str(row["worker_id"])
            for row in port.ask_pages("/api/workers", "/api/workers", "workers")["workers"]
            if fnmatch.fnmatchcase(row["worker_id"], pattern)
            and all(row["labels"].get(key) in values for key, values in wanted.items())
        ]
    except (LookupError, TypeError, AttributeError):
        raise not_understood(port.url) from None
    if not found:
        texts = [repr(pattern)] if pattern != "*" else []
        texts += [f"{key}={'|'.join(sorted(values))}" for key, values in wanted.items()]
        raise HttpPortError(f"no connected worker matches {' '.join(texts) or repr(pattern)}", FAILED)
    return found


def _text_of(port: HttpPort, row: dict[str, Any], ends_at: float, *, is_undo: bool, wait_s: float) -> str:
    """What became of one worker, for people. Raises HttpPortError."""
    try:
        return _undone(row) if is_undo else _followed(port, row, ends_at, wait_s)
    except (LookupError, TypeError, AttributeError):
        raise not_understood(port.url) from None


def _undone(row: dict[str, Any]) -> str:
    """The result of `--undo`, for people."""
    if row["state"] == DRAINING:
        raise HttpPortError(f"{row['worker_id']} leaves by itself: {row['reason']}", FAILED)
    return f"{row['worker_id']} is given requests again ({row['state']})"


def _followed(port: HttpPort, row: dict[str, Any], ends_at: float, wait_s: float) -> str:
    """Wait until the worker has nothing in flight, or until `ends_at`, which is `wait_s` after the start. The result,
    for people. `row` is kept up to date."""
    worker_id = row["worker_id"]
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
