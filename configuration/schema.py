"""How a program declares its settings: one dataclass a table, each field with its kind, its bounds, its help.

The same declaration is read from a file, shown as options, printed by `taskferry check-config` and written into
docs/configuration.md. Knows nothing of where values come from.
"""

from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Any, Final, Generic, NamedTuple, TypeVar

from .kinds import Dictionary, Kind, Text, Whole

Settings = TypeVar("Settings")

_KEY: Final = "setting"


def setting(
    default: Any,
    kind: Kind,
    help: str,
    *,
    key: str = "",
    option: str | None = None,
    instead: str = "",
    is_live: bool = False,
) -> Any:
    """A dataclass field with all that is to be known of a setting.

    `key`: its name in a file, where that is not the field's. `option`: its flag on the command line, by default
    `--` and the key; "" for none. `instead`: what holds where the default is None. `is_live`: a reload changes it.
    """
    facts = {"kind": kind, "help": help, "key": key, "option": option, "instead": instead, "is_live": is_live}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata={_KEY: facts})
    return field(default=default, metadata={_KEY: facts})


class Setting(NamedTuple):
    """One setting; see `setting`. `variable`: the one of the environment, "" for none."""

    table: str
    field: str
    key: str
    kind: Kind
    default: Any
    help: str
    option: str
    variable: str
    instead: str
    is_live: bool

    @property
    def default_text(self) -> str:
        """The default for people."""
        return self.instead if self.default is None else shown(self.kind, self.default)


class Table(Generic[Settings]):
    """A table of the file: `name`, and its `settings` by key, in order. `of` is the dataclass that declares them;
    `variables` is what its variables in the environment begin with."""

    def __init__(self, name: str, of: Callable[..., Settings], variables: str) -> None:
        self.name = name
        self.of = of
        self.variables = variables
        self.settings: dict[str, Setting] = {}
        for declared in fields(of):  # type: ignore[arg-type]  # no type says "a dataclass"
            facts = dict(declared.metadata[_KEY])
            key = facts.pop("key") or declared.name
            option = facts.pop("option")
            option = f"--{key.replace('_', '-')}" if option is None else option
            word = option.removeprefix("--").replace("-", "_").upper()
            factory = declared.default_factory
            default = declared.default if factory is MISSING else factory()
            self.settings[key] = Setting(
                table=name,
                field=declared.name,
                key=key,
                default=default,
                option=option,
                variable=f"{variables}{word}" if option else "",
                **facts,
            )

    def make(self, **values: Any) -> Settings:
        """The settings with `values`, by field, each checked against its bounds. Raises ValueError, which names it."""
        by_field = {declared.field: declared for declared in self.settings.values()}
        for name, value in values.items():
            declared = by_field[name]
            if value is None and declared.default is None:
                continue
            try:
                values[name] = declared.kind.convert(value)
            except ValueError as error:
                raise ValueError(f"{declared.key}: {error}") from None
        return self.of(**values)


def shown(kind: Kind, value: Any) -> str:
    """A value for people, in its unit, without what a URL may hide."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(kind, Dictionary):
        return ", ".join(f"{name}={text}" for name, text in value.items()) or "none"
    if isinstance(kind, Text):
        from .url import without_secrets  # noqa: PLC0415  texts are seldom shown

        return without_secrets(value) if kind.is_url else value or '""'
    unit = getattr(kind, "unit", "")
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{number} {unit}" if unit and not isinstance(kind, Whole) else number
