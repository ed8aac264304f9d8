"""A table's settings as options of a click command, and the values that the command line and the environment gave.

Must not know what a setting is for.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..configuration.kinds import Choice, Dictionary, Kind, List, Number, Switch, Text, Whole
from ..configuration.schema import Setting, Table
from ..configuration.sources import Sourced


class Pair(click.ParamType["tuple[str, str]"]):
    """`K=V`."""

    name = "K=V"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first `=`."""
        key, separator, text = str(value).partition("=")
        if not key or not separator:
            self.fail(f"{value!r} is not of the form K=V", param, ctx)
        return key, text


class Item(click.ParamType[str]):
    """One text of a list. An environment variable holds all of them, with commas between."""

    name = "text"
    envvar_list_splitter = ","

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, without the spaces that may follow a comma."""
        return str(value).strip()


def config_option(variable: str) -> click.Option:
    """`--config FILE`."""
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar=variable,
        help=f"TOML file with settings. `taskferry check-config FILE` checks it.  [env var: {variable}]",
    )


class Numeral(click.ParamType["int | float | str"]):
    """A number of any kind. Anything else stays text: the setting's own kind checks both, whatever their source."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float | str:
        """The number, whole if it is written so."""
        if isinstance(value, int | float):
            return value
        for number in (int, float):
            try:
                return number(value)
            except ValueError:
                continue
        return str(value)


def options_of(table: Table[Any]) -> list[click.Option]:
    """An option for each setting that has one."""
    return [_option(setting) for setting in table.settings.values() if setting.option]


def _option(setting: Setting) -> click.Option:
    attributes: dict[str, Any] = {"metavar": setting.option.removeprefix("--").upper()}
    match setting.kind:
        case Whole() | Number():
            attributes = {"type": Numeral(), "metavar": setting.kind.unit.upper() or "NUMBER"}
        case Choice(words=words):
            attributes = {"type": click.Choice(words)}
        case Switch():
            attributes = {"is_flag": True}
        case Dictionary():
            attributes = {"type": Pair(), "multiple": True}
        case List():
            attributes |= {"type": Item(), "multiple": True}
        case Text(is_url=True):
            attributes = {"metavar": "URL"}
        case Text(is_path=True):
            attributes = {"metavar": "FILE"}
    has_default = setting.default is not None and not isinstance(setting.kind, Switch | Dictionary | List)
    default_text = setting.default_text if has_default or setting.instead else ""
    return click.Option(
        [setting.option, setting.key],
        envvar=setting.variable,
        help=setting.help + notes(default_text, setting.kind, setting.variable),
        **attributes,
    )


def notes(default_text: str, kind: Kind | None, *variables: str) -> str:
    """What follows the help of an option: its default, its bounds and its environment variables."""
    parts = [f"default: {default_text}"] if default_text else []
    if isinstance(kind, Whole | Number):
        parts.append(kind.bounds)
    if variables:
        form = " (comma-separated)" if isinstance(kind, List) else ""
        parts.append(f"env var: {', '.join(variables)}{form}")
    return f"  [{'; '.join(parts)}]" if parts else ""


def given_by(context: click.Context, table: Table[Any]) -> dict[str, Sourced]:
    """The values of `table` that the environment or the command line gave, by key."""
    given: dict[str, Sourced] = {}
    for setting in table.settings.values():
        source = source_of(context, setting.key) if setting.option else None
        if source is not None:
            value = context.params[setting.key]
            given[setting.key] = Sourced(
                dict(value) if isinstance(setting.kind, Dictionary) else value, source
            )
    return given


def source_of(context: click.Context, name: str) -> str | None:
    """The flag or variable that gave a parameter its value. None if it was left out."""
    match context.get_parameter_source(name):
        case ParameterSource.COMMANDLINE:
            return _parameter(context, name).opts[0]
        case ParameterSource.ENVIRONMENT:
            return next(name for name in variables_of(_parameter(context, name)) if os.environ.get(name))
        case _:
            return None


def flags_of(context: click.Context) -> list[str]:
    """The flags of the command line, as words, to start another process of the program. Without hidden options,
    arguments and the environment, which that process inherits."""
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        is_shown = isinstance(parameter, click.Option) and not parameter.hidden
        if not is_shown or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value, flag = context.params[name], parameter.opts[-1]
        if value is True:
            words.append(flag)
            continue
        for item in value if parameter.multiple else [value]:
            words += [flag, _word(item)]
    return words


def _word(item: Any) -> str:
    """As it was written. `K=V` is a pair, whose K may be None."""
    if isinstance(item, tuple):
        key, value = item
        return value if key is None else f"{key}={value}"
    return str(item)


def _parameter(context: click.Context, name: str) -> click.Parameter:
    return next(parameter for parameter in context.command.params if parameter.name == name)


def variables_of(parameter: click.Parameter) -> Iterator[str]:
    """The environment variables that can give a parameter its value."""
    variables = parameter.envvar
    yield from [variables] if isinstance(variables, str) else variables or ()
