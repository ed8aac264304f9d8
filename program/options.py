"""The options of a program: `--config`, those of its table, and those of its log."""

from typing import Any

import click

from ..configuration.schema import Table
from ..configuration.sources import Sourced, Sources
from ..log.settings import FORMATS, LEVELS, LOG, LogSettings
from .table_options import config_option, given_by, notes, options_of, source_of


class LevelWord(click.ParamType["tuple[str | None, str]"]):
    """`LEVEL` or `LOGGER=LEVEL`: the logger (None for all) and its level."""

    name = "LEVEL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, str]:
        """Split at the `=`, if there is one."""
        logger, separator, level = str(value).rpartition("=")
        if separator and not logger:
            self.fail(f"{value!r} is not of the form LOGGER=LEVEL", param, ctx)
        return logger or None, click.Choice(LEVELS).convert(level, param, ctx)


def log_options(variables: str, level_default: str) -> list[click.Option]:
    """`--log-level` and `--log-format`. A program's own variables, with the prefix `variables`, come before the shared
    ones."""
    level, format = LOG.settings["level"], LOG.settings["format"]
    level_variables = [f"{variables}LOG_LEVEL", level.variable]
    format_variables = [f"{variables}LOG_FORMAT", format.variable]
    return [
        click.Option(
            ["--log-level", "log_level"],
            type=LevelWord(),
            metavar="LEVEL|LOGGER=LEVEL",
            multiple=True,
            envvar=level_variables,
            help=f"Lowest level to log, to standard error: {', '.join(LEVELS)}; with LOGGER= for one logger and its "
            "children, as in `taskferry.transport=debug`. May be repeated."
            + notes(level_default, None, *level_variables),
        ),
        click.Option(
            ["--log-format", "log_format"],
            type=click.Choice(FORMATS),
            envvar=format_variables,
            help=format.help + notes(format.default_text, None, *format_variables),
        ),
    ]


def log_given_by(context: click.Context) -> dict[str, Sourced]:
    """The values of the table [log] that the environment or the command line gave, by key."""
    given: dict[str, Sourced] = {}
    source = source_of(context, "log_level")
    if source is not None:
        words = context.params["log_level"]
        levels = {logger: level for logger, level in words if logger is not None}
        everywhere = [level for logger, level in words if logger is None]
        if everywhere:
            given["level"] = Sourced(everywhere[-1], source)
        if levels:
            given["levels"] = Sourced(levels, source)
    source = source_of(context, "log_format")
    if source is not None:
        given["format"] = Sourced(context.params["log_format"], source)
    return given


def program_options(
    table: Table[Any],
    *,
    log_level_default: str = LogSettings().level,
) -> list[click.Option]:
    """All options of a program: `--config`, those of its table, and those of its log."""
    config = config_option(f"{table.variables}CONFIG")
    return [config, *options_of(table), *log_options(table.variables, log_level_default)]


def sources_of(context: click.Context, table: Table[Any]) -> Sources:
    """Where a program with these options takes its settings from."""
    given = {table.name: given_by(context, table), LOG.name: log_given_by(context)}
    return Sources((table, LOG), context.params["config"], given)
