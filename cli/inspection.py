"""`taskferry workers`, `connections`, `status` and `explain`: the state of a running broker, as tables or as JSON.

The request is in http_port.py, the tables are in tables.py and explanation.py.
"""

import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, Final, NoReturn

import click

from ..configuration.kinds import Number
from ..log.printable import printable, printable_throughout
from ..program.plain_options import option
from .http_port import HttpPort, HttpPortError, fail, http_options, not_understood, print_json

INTERVAL_S_DEFAULT: Final = 2.0
INTERVAL_S_MIN: Final = 0.1
INTERVAL_S_MAX: Final = 3600.0
"""Between two looks of --watch."""

HOME_AND_CLEAR: Final = "\x1b[H\x1b[J"
"""What a terminal does before it is drawn again."""

EXPLAIN_PATH: Final = "/api/explain"

CONNECTIONS_PATH: Final = "/api/connections"

LISTS: Final = {
    "/api/workers": ("/api/workers", "workers"),
    "/api/status": ("/api/commands", "commands"),
    CONNECTIONS_PATH: (CONNECTIONS_PATH, "connections"),
}
"""Of the paths whose answers hold the first page of a list: where the other pages are, and the list's name."""


_watch = option(
    "--watch",
    "interval_s",
    kind=Number(INTERVAL_S_MIN, INTERVAL_S_MAX, "seconds"),
    is_flag=False,
    flag_value=INTERVAL_S_DEFAULT,
    help=f"Show it again and again, every SECONDS ({INTERVAL_S_DEFAULT:g} if left out), until Ctrl-C.",
)


@click.command()
@_watch
@http_options
@click.pass_context
def workers(context: click.Context, interval_s: float | None, port: HttpPort, as_json: bool) -> None:
    """List the workers of a running broker.

    Exit codes: 0 success; 1 the answer cannot be read; 2 wrong options; 5 cannot connect;
    6 not authenticated, or not allowed.
    """
    _show(context, port, "/api/workers", as_json=as_json, interval_s=interval_s)


@click.command()
@_watch
@http_options
@click.pass_context
def connections(context: click.Context, interval_s: float | None, port: HttpPort, as_json: bool) -> None:
    """List who is connected to a running broker, on which port and from where; those of one client together.

    Exit codes: 0 success; 1 the answer cannot be read; 2 wrong options; 5 cannot connect;
    6 not authenticated, or not allowed.
    """
    _show(context, port, CONNECTIONS_PATH, as_json=as_json, interval_s=interval_s)


@click.command()
@_watch
@http_options
@click.pass_context
def status(context: click.Context, interval_s: float | None, port: HttpPort, as_json: bool) -> None:
    """Show the state of a running broker: workers, requests, outcomes, queues, jobs and their journal.

    Exit codes: 0 success; 1 the answer cannot be read; 2 wrong options; 5 cannot connect;
    6 not authenticated, or not allowed.
    """
    _show(context, port, "/api/status", as_json=as_json, interval_s=interval_s)


@click.command()
@click.argument("id", required=False)
@_watch
@http_options
@click.pass_context
def explain(
    context: click.Context, id: str | None, interval_s: float | None, port: HttpPort, as_json: bool
) -> None:
    """Explain why the request or job ID is still waiting, or which worker runs it.

    Shows its place in line, what it waits for, and why each worker that serves its command cannot take it now. Without
    ID, shows the requests and the jobs that have waited longest, the requests that run longest, and the last failures.

    Exit codes: 0 success; 1 there is no such job, and no such request in flight, or the answer cannot be read; 2 wrong
    options; 5 cannot connect; 6 not authenticated, or not allowed.
    """
    path = EXPLAIN_PATH if id is None else f"{EXPLAIN_PATH}/{urllib.parse.quote(id, safe='')}"
    _show(context, port, path, as_json=as_json, interval_s=interval_s)


def _show(
    context: click.Context, port: HttpPort, path: str, *, as_json: bool, interval_s: float | None
) -> None:
    if interval_s is not None:
        _watch_for_ever(lambda: _show_once(port, path, as_json=as_json), interval_s, as_json=as_json)
    try:
        _show_once(port, path, as_json=as_json)
    except HttpPortError as error:
        fail(context, error)


def _show_once(port: HttpPort, path: str, *, as_json: bool) -> None:
    pages = LISTS.get(path)
    answer = port.ask(path) if pages is None else port.ask_pages(path, *pages)
    if as_json:
        print_json(answer)
    else:
        _print_tables(port.url, path, answer)


def _watch_for_ever(show: Callable[[], None], interval_s: float, *, as_json: bool) -> NoReturn:
    """Show it until the program is interrupted. A broker that does not answer may be restarting: that is shown, too."""
    is_redrawn = sys.stdout.isatty() and not as_json
    while True:
        if is_redrawn:
            sys.stdout.write(HOME_AND_CLEAR)
        try:
            show()
        except HttpPortError as error:
            click.echo(f"error: {printable(str(error))}", err=not is_redrawn)
        sys.stdout.flush()
        time.sleep(interval_s)


def _print_tables(url: str, path: str, answer: Any) -> None:
    from ..program.fitted_table import show  # noqa: PLC0415 - rich is slow to import, and --json does not need it
    from . import explanation, tables  # noqa: PLC0415 - likewise

    made_by_path = {
        "/api/workers": tables.workers,
        "/api/status": tables.status,
        CONNECTIONS_PATH: tables.connections,
        EXPLAIN_PATH: explanation.waiting,
    }
    try:
        found = made_by_path.get(path, explanation.explanation)(printable_throughout(answer))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise not_understood(url) from None
    show(*found)
