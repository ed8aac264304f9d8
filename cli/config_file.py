"""`taskferry config init`: writes a configuration file in which every setting stands, commented out, at its default.

What it says of a setting is declared with that setting.
"""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..configuration.kinds import Dictionary
from ..configuration.schema import Setting, Table
from ..log.printable import printable
from ..program.command_group import CommandGroup
from ..program.exit_codes import FAILED, USAGE
from .check_config import all_tables

FILE_DEFAULT: Final = "taskferry.toml"
STANDARD_OUTPUT: Final = "-"
WIDTH: Final = 100
"""Columns of the explanations."""

HEAD: Final = """\
# Settings of Taskferry, for all of its programs: each reads its own table and [log].
# Remove the # before a setting to change it.
# To check the file: taskferry check-config {file}
"""


@click.group(cls=CommandGroup)
def config() -> None:
    """Write a configuration file to begin with."""


@config.command("init", short_help="Write a file with every setting at its default.")
@click.argument("file", default=FILE_DEFAULT)
@click.option(
    "--table",
    "names",
    type=click.Choice([table.name for table in all_tables()]),
    multiple=True,
    help="Only this table. May be repeated.",
)
@click.pass_context
def init(context: click.Context, *, file: str, names: tuple[str, ...]) -> None:
    """Write FILE (by default taskferry.toml; - prints it), in which every setting stands with what it means, its bounds
    and its default, commented out.

    Exit codes: 0 written; 1 it cannot be written; 2 wrong options, or there is such a file.
    """
    tables = [table for table in all_tables() if not names or table.name in names]
    text = template(tables, FILE_DEFAULT if file == STANDARD_OUTPUT else file)
    if file == STANDARD_OUTPUT:
        click.echo(text, nl=False)
        return
    try:
        with Path(file).open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError:
        click.echo(f"error: {printable(file)} exists: name a new file, or - to print it", err=True)
        context.exit(USAGE)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        click.echo(f"error: {printable(file)}: {reason}", err=True)
        context.exit(FAILED)
    click.echo(f"{printable(file)} written: every setting is at its default")


def template(tables: Sequence[Table[Any]], file: str) -> str:
    """The text of the file of this name."""
    parts = [HEAD.format(file=printable(file))]
    for table in tables:
        parts.append(f"[{table.name}]\n")
        flat = [setting for setting in table.settings.values() if not isinstance(setting.kind, Dictionary)]
        nested = [setting for setting in table.settings.values() if isinstance(setting.kind, Dictionary)]
        parts += ["\n".join([*_explained(setting), _line(setting), ""]) for setting in flat]
        parts += [
            "\n".join([*_explained(setting), f"#[{table.name}.{setting.key}]", '#"NAME" = "..."', ""])
            for setting in nested
        ]
    return "\n".join(parts)


def toml_value(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:_}" if isinstance(value, int) else str(value)


def _explained(setting: Setting) -> Iterator[str]:
    live = " A reload changes it." if setting.is_live else ""
    text = f"{setting.help} Expected: {setting.kind.expected}.{live}"
    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _line(setting: Setting) -> str:
    if setting.default is None:
        return f"#{setting.key} =   # by default: {setting.instead}"
    return f"#{setting.key} = {toml_value(setting.default)}"
