"""`taskferry kick`: closes connections of a running broker."""

import urllib.parse
from typing import Any, Final

import click

from ..log.printable import printable
from .http_port import HttpPort, HttpPortError, fail, http_options, not_understood, print_json

REASON_LENGTH_MAX: Final = 80
"""Characters of a reason: as many as a broker takes."""


def _check_reason(context: click.Context, parameter: click.Parameter, reason: str) -> str:
    if len(reason) > REASON_LENGTH_MAX or not reason.isprintable():
        raise click.BadParameter(
            f"expected at most {REASON_LENGTH_MAX} printable characters", context, parameter
        )
    return reason


@click.command()
@click.argument("connections", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--reason",
    metavar="TEXT",
    default="",
    callback=_check_reason,
    help="Tell the peers why, and the broker's log.",
)
@http_options
@click.pass_context
def kick(
    context: click.Context, connections: tuple[str, ...], *, reason: str, port: HttpPort, as_json: bool
) -> None:
    """Close the connections with these IDs, which `taskferry connections` shows.

    What a requester has in flight is cancelled, and what a worker has is settled as for any lost worker. Each peer is
    told that an operator did it, and may connect again: to keep it out, change the access file.

    Exit codes: 0 closed; 1 a connection is not open, or the answer cannot be read; 2 wrong options; 5 cannot connect;
    6 not authenticated, or not allowed.
    """
    rows, failures = [], []
    for connection_id in connections:
        try:
            row = port.ask(
                f"/api/connections/{urllib.parse.quote(connection_id, safe='')}/kick", {"reason": reason}
            )
            text = _text_of(port, row)
        except HttpPortError as error:
            failures.append(error)
        else:
            rows.append(row)
            if not as_json:
                click.echo(printable(text))
    if as_json and rows:
        print_json({"connections": rows})
    for failure in failures[:-1]:
        click.echo(f"error: {printable(str(failure))}", err=True)
    if failures:
        fail(context, failures[-1])


def _text_of(port: HttpPort, row: Any) -> str:
    """What became of one connection, for people. Raises HttpPortError."""
    try:
        who = row["client_id"] or row["worker_id"] or row["identity"]
        return f"{row['connection_id']} is closed: {who} at {row['peer']} on the {row['port']} port"
    except (LookupError, TypeError):
        raise not_understood(port.url) from None
