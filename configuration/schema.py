"""How a program declares its settings: a dataclass per table, each field with its kind, bounds and help.

A file, the options of the command line, `taskferry check-config`, docs/configuration.md and the keyword arguments of an
SDK all follow from that declaration. Must not know where values come from.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, Final, Generic, NamedTuple, TypeVar

from .kinds import Dictionary, Kind, List, Text, Whole

Settings = TypeVar("Settings")

_KEY: Final = "setting"


def setting(
    default: Any,
    kind: Kind,
    help: str,
    *,
    key: str | None = "",
    option: str | None = None,
    instead: str = "",
    is_live: bool = False,
) -> Any:
    """A dataclass field that carries all that is known of a setting.

    `key`: its name in a file, if that is not the field's: units are part of a field's name and not of a key. None: only
    code sets it. `option`: its flag on the command line, by default `--` and the key; "" for none. `instead`: words for
    what holds if it is left out, if that is not simply the default. `is_live`: a reload changes it.
    """
    facts = {"kind": kind, "help": help, "key": key, "option": option, "instead": instead, "is_live": is_live}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata={_KEY: facts})
    return field(default=default, metadata={_KEY: facts})


class Setting(NamedTuple):
    """One setting; see `setting`. `default`: None if `instead` says what holds. `variable`: in the environment, "" for
    none."""

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
        """The default as people read it."""
        return self.text(self.default)

    def text(self, value: Any) -> str:
        """A value of this setting as people read it."""
        return self.instead if value is None else shown(self.kind, value)


class Table(Generic[Settings]):
    """A table of the file: its `name`, and its `settings` by key, in order.

    `of` is the dataclass that declares them: its own fields come first, those that it inherits after them. `variables`
    is the prefix of its environment variables. `check` may raise ValueError, with the key first, for a rule about
    several settings.
    """

    def __init__(
        self,
        name: str,
        of: Callable[..., Settings],
        variables: str,
        check: Callable[[Settings], object] | None = None,
    ) -> None:
        self.name = name
        self.of = of
        self.variables = variables
        self.check = check
        self.settings = {setting.key: setting for setting in self._declared()}

    def _declared(self) -> Iterator[Setting]:
        own = inspect.get_annotations(self.of)
        declared = fields(self.of)  # type: ignore[arg-type]  # no type says "a dataclass"
        for found in sorted(declared, key=lambda found: found.name not in own):
            facts = dict(found.metadata[_KEY])
            key = facts.pop("key")
            if key is None:
                continue
            key = key or found.name
            option = facts.pop("option")
            option = f"--{key.replace('_', '-')}" if option is None else option
            # What every program has names its table in the flag. The prefix of the variables does already.
            word = option.removeprefix("--").removeprefix(f"{self.name}-").replace("-", "_").upper()
            factory = found.default_factory
            default = found.default if factory is MISSING else factory()
            yield Setting(
                table=self.name,
                field=found.name,
                key=key,
                default=None if facts["instead"] else default,
                option=option,
                variable=f"{self.variables}{word}" if option else "",
                **facts,
            )


def checked(of: Callable[..., Settings], values: Mapping[str, Any]) -> Settings:
    """The settings that `of` declares, with `values` by field, each checked against its bounds.

    None is allowed if it is the default. Raises ValueError, which names the field, and TypeError for a field that does
    not exist.
    """
    declared = {found.name: found for found in fields(of)}  # type: ignore[arg-type]  # as above
    converted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in declared:
            raise TypeError(f"there is no setting {name!r}")
        if value is None and declared[name].default is None:
            continue
        try:
            converted[name] = declared[name].metadata[_KEY]["kind"].convert(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return of(**converted)


def shown(kind: Kind, value: Any) -> str:
    """A value as people read it: with its unit, and without the secrets of a URL."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(kind, Dictionary):
        return ", ".join(f"{name}={text}" for name, text in value.items()) or "none"
    if isinstance(kind, List):
        return ", ".join(value) or "none"
    if isinstance(kind, Text):
        from .url import without_secrets  # noqa: PLC0415  texts are seldom shown

        return without_secrets(value) if kind.is_url else value or '""'
    unit = getattr(kind, "unit", "")
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{number} {unit}" if unit and not isinstance(kind, Whole) else number
