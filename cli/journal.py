"""`taskferry journal`: what is in a journal, is it sound, and a copy of it, whether a broker runs on it or not."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from ..broker.jobs.ports import JournalError
from ..broker.settings import BROKER, NO_JOURNAL
from ..broker.storage import inspection
from ..broker.storage.inspection import JournalInfo
from ..broker.storage.location import default_path
from ..configuration.sources import ConfigurationError, Sources
from ..log.printable import printable, printable_throughout
from ..program.command_group import CommandGroup
from ..program.exit_codes import FAILED, USAGE
from ..program.interrupts import raise_at_interrupt
from ..program.table_options import notes
from .access_rows import iso
from .http_port import print_json

JOURNAL_VARIABLE: Final = f"{BROKER.variables}JOURNAL"
CONFIG_VARIABLE: Final = f"{BROKER.variables}CONFIG"

Function = TypeVar("Function", bound=Callable[..., Any])


def journal_options(function: Function) -> Function:
    """The options `--journal PATH` and `--config FILE`."""
    path = click.option(
        "--journal",
        "named",
        metavar="PATH",
        envvar=JOURNAL_VARIABLE,
        help="Journal of the broker."
        + notes("what --config names, or the state directory", None, JOURNAL_VARIABLE),
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar=CONFIG_VARIABLE,
        help="Configuration file of the broker, which names its journal." + notes("", None, CONFIG_VARIABLE),
    )
    return path(config(function))


def journal_path(context: click.Context, named: str | None, config: Path | None) -> Path:
    """The file that these options name, as a broker with them would find it. Prints its errors and exits if they have
    any."""
    if named is None and config is not None:
        try:
            named = Sources((BROKER,), config).read().values[BROKER.name]["journal"].value
        except ConfigurationError as error:
            for line in error.lines:
                click.echo(f"error: {line}", err=True)
            context.exit(USAGE)
    if named == NO_JOURNAL:
        raise click.UsageError("this broker keeps no jobs; name a journal with --journal PATH", context)
    try:
        path = default_path(os.environ, Path.home()) if named is None else Path(named)
    except RuntimeError:  # this user has no home folder
        raise click.UsageError(
            "there is no state folder; name a journal with --journal PATH", context
        ) from None
    return Path(os.path.realpath(path))


def fail(context: click.Context, error: JournalError) -> NoReturn:
    """Print the error, and exit."""
    click.echo(f"error: {printable(str(error))}", err=True)
    context.exit(FAILED)


@click.group(cls=CommandGroup)
def journal() -> None:
    """See what is in a journal of jobs, check it, or copy it; also while a broker runs."""


@journal.command("info", short_help="Show what is in a journal.")
@journal_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.pass_context
def show_info(context: click.Context, *, named: str | None, config: Path | None, as_json: bool) -> None:
    """Show what is in a journal: jobs by command and state, and what they take.

    Exit codes: 0 success; 1 it cannot be read; 2 wrong options.
    """
    try:
        found = inspection.info(journal_path(context, named, config))
    except JournalError as error:
        fail(context, error)
    if as_json:
        print_json({**found._asdict(), "commands": dict(found.commands)})
        return
    print_tables(found)


def print_tables(found: JournalInfo) -> None:
    """The journal for people."""
    from ..program.fitted_table import fitted, show  # noqa: PLC0415  as above
    from .tables import duration, facts_table, numbers, size, texts  # noqa: PLC0415  as above

    oldest_at = found.oldest_submitted_at
    age = "" if oldest_at is None else f", {duration(max(0.0, time.time() - oldest_at))} ago"
    facts = {
        "file": found.path,
        "schema": str(found.schema),
        "size": f"{size(found.size_bytes)}, {size(found.free_size_bytes)} of it free; "
        f"{size(found.wal_size_bytes)} not yet copied into it",
        "open jobs": f"{size(found.open_size_bytes)} of data",
        "ended jobs": f"{size(found.kept_size_bytes)} of data and results",
        "oldest open job": f"{iso(oldest_at) or 'none'}{age}",
        "schedules": f"{found.schedules_count:,}",
        "inboxes": f"{found.inboxes_count:,}",
    }
    rows = [*((printable(command), counts) for command, counts in found.commands), ("all", found.counts)]
    columns = [texts("command", (command for command, _ in rows))]
    columns += [numbers(name, (f"{counts[name]:,}" for _, counts in rows)) for name in found.counts]
    show(facts_table(printable_throughout(facts)), fitted(columns, wraps=False))


@journal.command("check", short_help="Check that a journal is sound.")
@journal_options
@click.pass_context
def check(context: click.Context, *, named: str | None, config: Path | None) -> None:
    """Read a journal from end to end, and report pages that are damaged and rows that belong to no job.

    Exit codes: 0 it is sound; 1 it is not, or it cannot be read; 2 wrong options.
    """
    path = journal_path(context, named, config)
    try:
        faults = inspection.check(path)
    except JournalError as error:
        fail(context, error)
    for fault in faults:
        click.echo(printable(f"{path}: {fault}"))
    if faults:
        click.echo("error: the journal is damaged; stop the broker and put a backup in its place", err=True)
        context.exit(FAILED)
    click.echo(f"{path}: sound")


@journal.command("backup", short_help="Copy a journal, also while a broker runs.")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@journal_options
@click.pass_context
def back_up(context: click.Context, *, target: Path, named: str | None, config: Path | None) -> None:
    """Copy a journal to FILE, as it is at this moment.

    FILE is replaced once the copy is complete and on disk. It is a journal by itself: stop the broker and put it in the
    place of the old one, without the files that end in -wal and -shm, to go back to it. Jobs that ended since are then
    run again.

    Exit codes: 0 copied; 1 it cannot be read, or FILE cannot be written; 2 wrong options.
    """
    path = journal_path(context, named, config)
    try:
        raise_at_interrupt()  # a part of the copy is removed
        size_bytes = inspection.backup(path, target)
    except JournalError as error:
        fail(context, error)
    from .tables import size  # noqa: PLC0415  as above

    click.echo(f"copied {path} to {target}: {size(size_bytes)}")
