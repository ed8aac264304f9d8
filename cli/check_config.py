"""`taskferry check-config`: checks a configuration file, and shows the settings that follow from it.

Must not know what a setting is for.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from ..configuration.schema import Setting, Table, shown
from ..configuration.sources import Configuration, ConfigurationError, Sourced, Sources
from ..log.settings import LOG
from ..program.environment import unknown_variables
from ..program.exit_codes import USAGE
from ..program.options import sources_of


class Access(NamedTuple):
    """What is shown of the broker's access file: how much is in it, and what its operator should know."""

    file: str
    identities_count: int
    tokens_count: int
    warnings: tuple[str, ...]


class Program(NamedTuple):
    """A program that reads the file: where its command and its table are, and the arguments that it requires."""

    module: str
    command: str
    table: str
    arguments: tuple[str, ...] = ()


PROGRAMS: Final = {
    "broker": Program("broker.cli", "broker", "BROKER"),
    "worker": Program("worker.cli", "worker", "WORKER"),
    "request": Program("requester.cli", "request", "REQUESTER", ("COMMAND",)),
}


@click.command(
    "check-config",
    short_help="Check a configuration file and show the settings in force.",
    context_settings={
        "allow_interspersed_args": False,
        "ignore_unknown_options": True,
    },
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("words", metavar="[broker|worker|request [OPTIONS]...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def check_config(context: click.Context, *, as_json: bool, file: Path, words: tuple[str, ...]) -> None:
    """Check FILE and print the settings in force, each with its value and its source: `default`, `file`, an environment
    variable or a flag. The broker's access file and certificate, if there are any, are checked as well.

    With a program and its options, as in `taskferry check-config FILE broker --timeout 5`, print the settings that this
    program would start with.

    Exit codes: 0 no errors; 2 errors, each on a line with the file, the key, the bound and what to do.
    """
    if words[:1] == ("--json",):
        as_json, words = True, words[1:]
    try:
        tables, configuration, unknown = _read(file, words)
        access = _access(tables, configuration)
        _check_certificate(tables, configuration)
    except ConfigurationError as error:
        if as_json:
            click.echo(json.dumps({"file": str(file), "errors": error.lines}))
        else:
            for line in error.lines:
                click.echo(f"error: {line}", err=True)
        context.exit(USAGE)
    if as_json:
        settings = {table.name: _values(table, configuration) for table in tables}
        click.echo(
            json.dumps({"file": str(file), "settings": settings, "access": access and access._asdict()})
        )
    else:
        rows = [row for table in tables for row in _rows(table, configuration)]
        click.echo(_columns([("setting", "value", "from"), *rows]))
        click.echo(f"{file} has no errors")
        if access is not None:
            click.echo(
                f"{access.file} has no errors; identities: {access.identities_count}, tokens: {access.tokens_count}"
            )
    for warning in (*unknown, *(access.warnings if access else ())):
        click.echo(f"warning: {warning}", err=True)


def all_tables() -> list[Table[Any]]:
    """The tables of all programs, and that of the log."""
    return [_table(program) for program in PROGRAMS.values()] + [LOG]


def _read(file: Path, words: tuple[str, ...]) -> tuple[list[Table[Any]], Configuration, list[str]]:
    """The tables to show, the values in force, and what is useless in the environment. Raises ConfigurationError, and
    UsageError for an unknown program."""
    name, *arguments = words or ("",)
    if name and name not in PROGRAMS:
        raise click.UsageError(
            f"{name!r} is not a program that reads a file; the programs are {', '.join(PROGRAMS)}"
        )
    given: dict[str, dict[str, Sourced]] = {}
    faults: list[str] = []
    unknown: dict[str, str] = {}
    for program_name, program in PROGRAMS.items():
        is_asked = program_name == name
        try:
            started = _context(program, arguments if is_asked else [])
            sources = sources_of(started, _table(program))
            if is_asked or not name:
                unknown |= {found.variable: str(found) for found in unknown_variables(started)}
        except click.UsageError as error:
            faults.append(error.format_message())
            continue
        log = sources.given.pop(LOG.name)
        given |= sources.given
        if is_asked or not name:
            given.setdefault(LOG.name, log)
    try:
        configuration = Sources(all_tables(), file, given).read()
    except ConfigurationError as error:
        raise ConfigurationError([*error.lines, *faults]) from None
    if faults:
        raise ConfigurationError(faults)
    tables = [_table(PROGRAMS[name]), LOG] if name else all_tables()
    return tables, configuration, list(unknown.values())


def _check_certificate(tables: list[Table[Any]], configuration: Configuration) -> None:
    """Load the broker's certificate as the broker would, if it is shown and has one. Raises ConfigurationError."""
    broker = _table(PROGRAMS["broker"])
    if broker not in tables or configuration.values[broker.name]["tls_certificate"].value is None:
        return
    from ..broker.tls import tls_of  # noqa: PLC0415  as below

    tls_of(configuration.settings(broker))


def _access(tables: list[Table[Any]], configuration: Configuration) -> Access | None:
    """The access file that the broker would read, if it is shown and has one. Raises ConfigurationError."""
    broker = _table(PROGRAMS["broker"])
    file = configuration.values[broker.name]["access"].value if broker in tables else None
    if file is None:
        return None
    from ..broker.identity.access_file import read_policy  # noqa: PLC0415  most configurations name none

    policy = read_policy(Path(file))
    return Access(file, len(policy.identities), len(policy.tokens), policy.warnings)


def _table(program: Program) -> Table[Any]:
    module = importlib.import_module(f"taskferry.{program.module}")
    table: Table[Any] = getattr(module, program.table)
    return table


def _context(program: Program, arguments: list[str]) -> click.Context:
    """The context of the program, as if it had been started. Raises UsageError."""
    module = importlib.import_module(f"taskferry.{program.module}")
    command: click.Command = getattr(module, program.command)
    return command.make_context(program.command, [*program.arguments, *arguments])


def _values(table: Table[Any], configuration: Configuration) -> dict[str, Any]:
    return {
        key: {"value": _plain(table.settings[key], found.value), "from": found.source}
        for key, found in configuration.values[table.name].items()
    }


def _plain(setting: Setting, value: Any) -> Any:
    """A value for JSON, without the secrets of a URL."""
    return shown(setting.kind, value) if isinstance(value, str) and value else value


def _rows(table: Table[Any], configuration: Configuration) -> Iterator[tuple[str, str, str]]:
    for key, found in configuration.values[table.name].items():
        name = f"{table.name}.{key}"
        if isinstance(found.value, dict) and found.value:
            yield from ((f'{name}."{entry}"', text, found.source) for entry, text in found.value.items())
        else:
            yield name, table.settings[key].text(found.value), found.source


def _columns(rows: list[tuple[str, str, str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:{widths[0]}}  {value:{widths[1]}}  {source}" for name, value, source in rows)
