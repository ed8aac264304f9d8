"""Options that no file can set, with the same bounds and notes as those that it can."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..configuration.kinds import Number, Whole
from ..configuration.schema import shown
from .table_options import Numeral, notes

Function = TypeVar("Function", bound=Callable[..., Any])


class Bounded(Numeral):
    """A number of `kind`."""

    def __init__(self, kind: Whole | Number) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float | str:
        """The number, checked."""
        try:
            return self.kind.convert(super().convert(value, param, ctx))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def option(
    name: str,
    *aliases: str,
    help: str,
    kind: Whole | Number | None = None,
    default: float | None = None,
    default_text: str = "",
    variables: str = "",
    **attributes: Any,
) -> Callable[[Function], Function]:
    """An option; `attributes` are click's. `kind`: for a number. `default_text`: words for the default, if it is not
    `default`. `variables`: the prefix of its environment variable, "" for none."""
    if kind is not None:
        attributes |= {"type": Bounded(kind), "metavar": kind.unit.upper() or "NUMBER"}
        if default is not None:
            attributes["default"] = default
            default_text = shown(kind, default)
    variable = f"{variables}{name.removeprefix('--').replace('-', '_').upper()}" if variables else None
    text = help + notes(default_text, kind, *([variable] if variable else []))
    return click.option(name, *aliases, envvar=variable, help=text, **attributes)
