"""`taskferry token`: makes tokens for the access file, says whose a token is, and lists those that there are."""

import datetime
import os
import sys
import time
from pathlib import Path
from typing import Final

import click

from ..broker.identity.authenticator import Authenticator
from ..broker.identity.login import Credential, LoginRefused
from ..broker.identity.names import name_fault
from ..broker.identity.new_token import EXPIRES_FORM, NewToken, append, check, expiry_from
from ..broker.identity.static_token import digest_of, label_of, new_token
from ..broker.identity.tables import ROLE_NAMES
from ..configuration.sources import ConfigurationError
from ..credentials.source import TOKEN_VARIABLE
from ..program.command_group import CommandGroup
from ..program.exit_codes import FAILED
from ..protocol.limits import TOKEN_LENGTH_MAX
from .access_options import access_options, fail, read_access
from .access_rows import Row, expiry_text, iso, plain, rows
from .http_port import print_json

_RANKS: Final = {"identity": 0, "proof": 0, "roles": 1, "expires": 2, "note": 3, "rights": 0}
"""The columns of the list, in order, and which of them leave a narrow terminal first: see fitted_table.py."""


@click.group(cls=CommandGroup)
def token() -> None:
    """Make tokens for the access file, check one, or list them."""


@token.command("new", short_help="Make a token, and the lines for the access file.")
@click.argument("name")
@click.option(
    "--role", "roles", type=click.Choice(ROLE_NAMES), multiple=True, help="Role of NAME. May be repeated."
)
@click.option("--call", metavar="PATTERN", multiple=True, help="Commands that it may call. May be repeated.")
@click.option(
    "--serve", metavar="PATTERN", multiple=True, help="Commands that it may serve. May be repeated."
)
@click.option(
    "--target",
    metavar="PATTERN",
    multiple=True,
    help="Workers that it may choose: their ids, or labels as KEY=VALUE. May be repeated.",
)
@click.option("--watch", metavar="PATTERN", multiple=True, help="Topics that it may watch. May be repeated.")
@click.option(
    "--publish", metavar="PATTERN", multiple=True, help="Topics that it may publish to. May be repeated."
)
@click.option("--jobs", type=click.Choice(["own", "all"]), help="Jobs that it may see and cancel.")
@click.option("--expires", metavar="PERIOD|DATE", help=f"{EXPIRES_FORM.capitalize()}, in UTC.")
@click.option(
    "--note", metavar="TEXT", default="", help="What the token is for; `taskferry token list` shows it."
)
@click.option(
    "--append",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add the lines to this access file, which is made if there is none.",
)
@click.pass_context
def new(
    context: click.Context,
    /,
    *,
    name: str,
    expires: str | None,
    note: str,
    file: Path | None,
    **rights: tuple[str, ...] | str | None,
) -> None:
    """Make a token for the identity NAME, and print it once, on standard output.

    The lines for the access file go to standard error, or with --append into the file. They hold the token's SHA-256,
    from which nobody can make the token. A second token for the same NAME makes rotation easy: give it out, then remove
    the first.

    \b
    taskferry token new alice --role requester --append access.toml > alice.token
    taskferry token new gpu-1 --serve 'resize-*' --expires 90d --append access.toml

    PATTERN may have * and ?. SIGHUP makes a broker read its access file again.

    Exit codes: 0 made; 2 wrong options, or the file has an error: then no token was made.
    """
    if fault := name_fault(name):
        raise click.UsageError(f"{name!r}: {fault}", context)
    now = datetime.datetime.now(datetime.UTC)
    try:
        expires_at = None if expires is None else expiry_from(expires, now)
    except ValueError as error:
        raise click.UsageError(f"--expires: {error}", context) from None
    text = new_token()
    given = {key: value for key, value in rights.items() if value}
    made = NewToken(name, digest_of(text), given, expires_at, note)
    try:
        check(made)
        if file is not None:
            append(file, made)
    except ConfigurationError as error:
        fail(context, error)
    click.echo(text)
    label = f"token {label_of(made.digest)} of {name}"
    if file is not None:
        click.echo(f"added {label} to {file}; a running broker reads it at SIGHUP", err=True)
        return
    click.echo(f"# {label}: add these lines to the access file.", err=True)
    if not given:
        click.echo(f"# As an entry of a list in one line: {made.entry()}", err=True)
        click.echo(f"# If {name} is not in the file yet, it may do nothing: see --role and --call.", err=True)
    click.echo(made.lines(), err=True, nl=False)


@token.command("check", short_help="Say whose a token is, and when it expires.")
@click.option(
    "--token-file",
    "file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="File with the token; - is standard input.",
)
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check_token(
    context: click.Context, *, file: Path | None, access: Path | None, config: Path | None, as_json: bool
) -> None:
    """Say whose a token is by the access file, and when it expires.

    The token comes from --token-file, else from TASKFERRY_TOKEN, else from standard input: never from the command line,
    which other users of the machine can see. A JWT is checked as a broker would check it.

    Exit codes: 0 it is accepted; 1 it is refused; 2 there is no token, or the access file has an error.
    """
    found = read_access(context, access, config)
    authenticator = Authenticator(found.policy)
    authenticator.fetch_keys(time.monotonic())
    now, wall_now = time.monotonic(), time.time()
    try:
        login = authenticator.login(Credential(_token(context, file)), now, wall_now)
    except LoginRefused as error:
        click.echo(f"error: {error}", err=True)
        context.exit(FAILED)
    identity = login.identity
    expires_at = None if identity.expires_at is None else wall_now + identity.expires_at - now
    if as_json:
        print_json({"identity": identity.name, "proof": identity.proof, "expires": iso(expires_at)})
    else:
        click.echo(f"{identity.name} ({identity.proof}), expires: {expiry_text(expires_at, wall_now)}")


@token.command("list", short_help="List identities, what they may do, and their tokens.")
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.pass_context
def list_tokens(context: click.Context, *, access: Path | None, config: Path | None, as_json: bool) -> None:
    """List the identities of an access file, what they may do, and what proves them: for each token the first 8 digits
    of its SHA-256.

    Exit codes: 0 success; 2 the access file has an error.
    """
    found = read_access(context, access, config)
    if as_json:
        print_json(plain(found.policy))
        return
    from ..program.fitted_table import empty, fitted, show  # noqa: PLC0415  rich is slow to import, and --json needs none
    from .tables import texts  # noqa: PLC0415  likewise

    listed = list(rows(found.policy, time.time()))
    columns = [texts(name, (getattr(row, name) for row in listed), rank) for name, rank in _RANKS.items()]
    show(fitted(columns, wraps=True, names_missing=True) if listed else empty(*Row._fields))


def _token(context: click.Context, file: Path | None) -> str:
    """The token to check: one line. Raises UsageError if there is none."""
    if file is not None and str(file) != "-":
        try:
            with file.open("rb") as opened:
                content = opened.read(TOKEN_LENGTH_MAX + 2)
        except OSError as error:
            raise click.UsageError(f"--token-file: {file}: {error.strerror or error}", context) from None
    elif file is None and (variable := os.environ.get(TOKEN_VARIABLE)):
        content = variable.encode("utf-8", "surrogateescape")
    elif sys.stdin.isatty():
        content = click.prompt("Token", hide_input=True, err=True).encode()
    else:
        content = sys.stdin.buffer.read(TOKEN_LENGTH_MAX + 2)
    text = content.decode("utf-8", "surrogateescape").strip()
    if not text:
        raise click.UsageError(
            f"there is no token: give it by --token-file, {TOKEN_VARIABLE} or standard input", context
        )
    return text
