"""`taskferry workers`, `status` and `explain`: the state of a running broker, as tables or as JSON.

The request is in http_port.py, the tables are in tables.py and explanation.py.
"""

import urllib.parse
from typing import Any, Final

import click

from ..log.printable import printable_throughout
from .http_port import HttpPort, HttpPortError, fail, http_options, not_understood, print_json

EXPLAIN_PATH: Final = "/api/explain"

LISTS: Final = {"/api/workers": ("/api/workers", "workers"), "/api/status": ("/api/commands", "commands")}
"""Of the paths whose answers hold the first page of a list: where the other pages are, and the list's name."""


@click.command()
@http_options
@click.pass_context
def workers(context: click.Context, port: HttpPort, as_json: bool) -> None:
    """List the workers of a running broker.

    Exit codes: 0 success; 1 the answer cannot be read; 2 wrong options; 5 cannot connect;
    6 not authenticated, or not allowed.
    """
    _show(context, port, "/api/workers", as_json=as_json)


@click.command()
@http_options
@click.pass_context
def status(context: click.Context, port: HttpPort, as_json: bool) -> None:
    """Show the state of a running broker: workers, requests, outcomes, queues, jobs and their journal.

    Exit codes: 0 success; 1 the answer cannot be read; 2 wrong options; 5 cannot connect;
    6 not authenticated, or not allowed.
    """
    _show(context, port, "/api/status", as_json=as_json)


@click.command()
@click.argument("id", required=False)
@http_options
@click.pass_context
def explain(context: click.Context, id: str | None, port: HttpPort, as_json: bool) -> None:
    """Explain why the request or job ID is still waiting, or which worker runs it.

    Shows its place in line, what it waits for, and why each worker that serves its command cannot take it now. Without
    ID, shows the requests and the jobs that have waited longest.

    Exit codes: 0 success; 1 there is no such job, and no such request in flight, or the answer cannot be read; 2 wrong
    options; 5 cannot connect; 6 not authenticated, or not allowed.
    """
    path = EXPLAIN_PATH if id is None else f"{EXPLAIN_PATH}/{urllib.parse.quote(id, safe='')}"
    _show(context, port, path, as_json=as_json)


def _show(context: click.Context, port: HttpPort, path: str, *, as_json: bool) -> None:
    try:
        pages = LISTS.get(path)
        answer = port.ask(path) if pages is None else port.ask_pages(path, *pages)
        if as_json:
            print_json(answer)
        else:
            _print_tables(port.url, path, answer)
    except HttpPortError as error:
        fail(context, error)


def _print_tables(url: str, path: str, answer: Any) -> None:
    from . import explanation, tables  # noqa: PLC0415 - rich is slow to import, and --json does not need it

    made_by_path = {
        "/api/workers": tables.workers,
        "/api/status": tables.status,
        EXPLAIN_PATH: explanation.waiting,
    }
    try:
        found = made_by_path.get(path, explanation.explanation)(printable_throughout(answer))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise not_understood(url) from None
    tables.show(found)
