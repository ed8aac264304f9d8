"""Where values come from, in increasing precedence: defaults, a TOML file, the environment, the command line.

Each value keeps its source. Must not know what a value is for.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from .kinds import Text, closest
from .schema import Setting, Table

Settings = TypeVar("Settings")

TABLE_NAMES: Final = ("broker", "worker", "requester", "log")
"""The tables that a file can have. Each program reads its own and [log], so that all programs can share a file."""

FILE_SIZE_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a file. One with every table full is a tenth of that."""

DEFAULT: Final = "default"
FILE: Final = "file"


class ConfigurationError(Exception):
    """A configuration with errors. `lines`: one for each, with the place, the key, the bound and what to do."""

    def __init__(self, lines: Sequence[str]) -> None:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        super().__init__(lines[0] + more)
        self.lines = tuple(lines)


class Sourced(NamedTuple):
    """A value and its source: `default`, `file`, the name of an environment variable, or a flag."""

    value: Any
    source: str


class Configuration:
    """The values in force, by table and key."""

    def __init__(self, tables: Sequence[Table[Any]], values: Mapping[str, Mapping[str, Sourced]]) -> None:
        self.tables = tables
        self.values = values

    def settings(self, table: Table[Settings]) -> Settings:
        """The settings of one table."""
        return table.of(**self.given(table))

    def given(self, table: Table[Any]) -> dict[str, Any]:
        """The values of one table that are not defaults, by field."""
        values = self.values[table.name].items()
        return {table.settings[key].field: found.value for key, found in values if found.source != DEFAULT}


class Sources:
    """What a program was started with: the `path` of its file, if any, and the values `given` by its environment and
    command line, by table and key. `read` can be called again when the file has changed."""

    __slots__ = ("given", "path", "tables")

    def __init__(
        self,
        tables: Sequence[Table[Any]],
        path: Path | None = None,
        given: dict[str, dict[str, Sourced]] | None = None,
    ) -> None:
        self.tables = tables
        self.path = path
        self.given = given or {}

    def read(self) -> Configuration:
        """All values. Raises ConfigurationError, with a line for every error."""
        faults: list[str] = []
        document = {} if self.path is None else _document(self.path)
        if self.path is not None:
            faults += [f"{self.path}: {fault}" for fault in _unknown(document, self.tables)]
        values: dict[str, dict[str, Sourced]] = {}
        for table in self.tables:
            in_file = document.get(table.name, {})
            in_file = in_file if isinstance(in_file, dict) else {}
            given = self.given.get(table.name, {})
            values[table.name] = {
                key: self._value(setting, in_file, given, faults) for key, setting in table.settings.items()
            }
        configuration = Configuration(self.tables, values)
        if not faults:
            faults += self._together(configuration)
        if faults:
            raise ConfigurationError(faults)
        return configuration

    def _together(self, configuration: Configuration) -> Iterator[str]:
        """An error for each table whose settings are right one by one, but not together."""
        for table in self.tables:
            try:
                if table.check is not None:
                    table.check(configuration.settings(table))
            except ValueError as error:
                place = f"{self.path}: " if self.path else ""
                yield f"{place}[{table.name}] {error}"

    @property
    def _folder(self) -> Path:
        """Where relative paths in the file start."""
        return Path() if self.path is None else self.path.parent

    def _value(
        self, setting: Setting, in_file: Mapping[str, Any], given: Mapping[str, Sourced], faults: list[str]
    ) -> Sourced:
        """The value of highest precedence. All of them are checked, used or not."""
        found = Sourced(setting.default, DEFAULT)
        candidates = [Sourced(in_file[setting.key], FILE)] if setting.key in in_file else []
        if setting.key in given:
            candidates.append(given[setting.key])
        for value, source in candidates:
            where = f"{self.path}: [{setting.table}] {setting.key}" if source == FILE else source
            try:
                found = Sourced(setting.kind.convert(value), source)
                kind = setting.kind
                is_path = isinstance(kind, Text) and kind.is_path and found.value != kind.no_path
                if source == FILE and is_path:
                    found = Sourced(str(self._folder / found.value), source)
            except ValueError as error:
                faults.append(f"{where}: {error}")
        return found


def _document(path: Path) -> dict[str, Any]:
    """The TOML document at `path`. Raises ConfigurationError."""
    import tomllib  # noqa: PLC0415  most programs are started without a file

    try:
        with path.open("rb") as file:
            content = file.read(FILE_SIZE_BYTES_MAX + 1)
        if len(content) > FILE_SIZE_BYTES_MAX:
            raise ConfigurationError([f"{path}: over {FILE_SIZE_BYTES_MAX} bytes (FILE_SIZE_BYTES_MAX)"])
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not UTF-8 (byte {error.start})"]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from None


def _unknown(document: Mapping[str, Any], tables: Sequence[Table[Any]]) -> list[str]:
    """An error for each unknown table, and for each unknown setting in one of `tables`."""
    faults = []
    known = {table.name: table for table in tables}
    for name, content in document.items():
        if not isinstance(content, dict):
            owners = [table.name for table in tables if name in table.settings]
            hint = f"; it belongs in [{owners[0]}]" if owners else ""
            is_table = (
                f"[{name}]: expected a table" if name in TABLE_NAMES else f"{name}: is not in a table{hint}"
            )
            faults.append(is_table)
        elif name not in TABLE_NAMES:
            near = closest(name, TABLE_NAMES)
            hint = f"did you mean [{near}]?" if near else f"the tables are [{'], ['.join(TABLE_NAMES)}]"
            faults.append(f"[{name}]: no such table; {hint}")
        elif name in known:
            faults += [
                f"[{name}] {key}: no such setting{_suggestion(key, known[name], tables)}"
                for key in content
                if key not in known[name].settings
            ]
    return faults


def _suggestion(key: str, table: Table[Any], tables: Sequence[Table[Any]]) -> str:
    near = closest(key, table.settings)
    if near:
        return f"; did you mean {near}?"
    owners = [other.name for other in tables if key in other.settings]
    return f"; it belongs in [{owners[0]}]" if owners else ""
