"""The kinds of value that a setting can have, each with its bounds and the error text for a value out of bounds.

Must not know which setting a value belongs to, nor where it came from.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

QUOTED_LENGTH_MAX: Final = 60
"""Characters of a wrong value that its error quotes: enough to find it."""


class Text(NamedTuple):
    """A text of `length_min` to `length_max` characters. `check` may raise ValueError for any other rule.

    `is_url`: user, password and query are left out wherever the value is shown. `is_path`: it names a file, unless it
    is `no_path`; a relative path in a configuration file starts at that file's folder, any other where the program was
    started.
    """

    length_max: int
    length_min: int = 0
    check: Callable[[str], object] | None = None
    is_url: bool = False
    is_path: bool = False
    no_path: str | None = None

    @property
    def expected(self) -> str:
        return f"a text of {self.length_min} to {self.length_max} characters"

    def convert(self, value: object) -> str:
        """The value, checked. Raises ValueError, which says what was expected."""
        if not isinstance(value, str):
            is_plain = isinstance(value, int | float)
            raise _wrong(self, value, "write it in quotes" if is_plain else "")
        if not self.length_min <= len(value) <= self.length_max:
            raise ValueError(f"expected {self.expected}, got {len(value)}")
        if self.check is not None:
            self.check(value)
        return value


class Whole(NamedTuple):
    """A whole number from `low` to `high`, in `unit`."""

    low: int
    high: int
    unit: str = ""

    @property
    def bounds(self) -> str:
        return f"from {self.low} to {self.high}"

    @property
    def expected(self) -> str:
        return f"a whole number{_of_unit(self.unit)} {self.bounds}"

    def convert(self, value: object) -> int:
        """The value, checked. Raises ValueError, which says what was expected."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(self, value, _without_quotes(value))
        if not self.low <= value <= self.high:
            raise _wrong(self, value)
        return value


class Number(NamedTuple):
    """A number from `low` to `high`, in `unit`. `is_low_open`: `low` itself is not allowed."""

    low: float
    high: float
    unit: str = ""
    is_low_open: bool = False

    @property
    def bounds(self) -> str:
        if self.is_low_open:
            return f"over {self.low:.10g} and at most {self.high:.10g}"
        return f"from {self.low:.10g} to {self.high:.10g}"

    @property
    def expected(self) -> str:
        return f"a number{_of_unit(self.unit)} {self.bounds}"

    def convert(self, value: object) -> float:
        """The value, checked. Raises ValueError, which says what was expected."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(self, value, _without_quotes(value))
        is_high_enough = value > self.low if self.is_low_open else value >= self.low
        if math.isnan(value) or not is_high_enough or value > self.high:
            raise _wrong(self, value)
        return float(value)


class Choice(NamedTuple):
    """One of `words`."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.words)}"

    def convert(self, value: object) -> str:
        """The value, checked. Raises ValueError, which says what was expected."""
        if not isinstance(value, str) or value not in self.words:
            near = closest(value, self.words) if isinstance(value, str) else None
            raise _wrong(self, value, f"did you mean {near}?" if near else "")
        return value


class Switch(NamedTuple):
    """On or off."""

    @property
    def expected(self) -> str:
        return "true or false"

    def convert(self, value: object) -> bool:
        """The value, checked. Raises ValueError, which says what was expected."""
        if not isinstance(value, bool):
            word = str(value).lower()
            raise _wrong(self, value, f"write {word} without quotes" if word in ("true", "false") else "")
        return value


class Dictionary(NamedTuple):
    """A nested table: at most `count_max` names of `name_kind`, each with a value of `value_kind`. `check` may raise
    ValueError for any other rule."""

    name_kind: Text
    value_kind: Text | Choice
    count_max: int
    check: Callable[[dict[str, str]], object] | None = None

    @property
    def expected(self) -> str:
        return f"a table of at most {self.count_max} names, each with {self.value_kind.expected}"

    def convert(self, value: object) -> dict[str, str]:
        """The value, checked. Raises ValueError, which says what was expected."""
        if not isinstance(value, Mapping):
            raise _wrong(self, value)
        if len(value) > self.count_max:
            raise ValueError(f"expected at most {self.count_max} names, got {len(value)}")
        converted: dict[str, str] = {}
        for name, text in value.items():
            try:
                key = self.name_kind.convert(name)
                converted[key] = self.value_kind.convert(text)
            except ValueError as error:
                raise ValueError(f"{_quoted(name)}: {error}") from None
        if self.check is not None:
            self.check(converted)
        return converted


class List(NamedTuple):
    """At most `count_max` texts of `item_kind`."""

    item_kind: Text
    count_max: int

    @property
    def expected(self) -> str:
        return f"a list of at most {self.count_max} texts"

    def convert(self, value: object) -> tuple[str, ...]:
        """The value, checked. Raises ValueError, which says what was expected."""
        if not isinstance(value, list | tuple):
            raise _wrong(self, value, "write it in brackets: [...]" if isinstance(value, str) else "")
        if len(value) > self.count_max:
            raise ValueError(f"expected at most {self.count_max} texts, got {len(value)}")
        converted: list[str] = []
        for item in value:
            try:
                converted.append(self.item_kind.convert(item))
            except ValueError as error:
                raise ValueError(f"{_quoted(item)}: {error}") from None
        return tuple(converted)


Kind: TypeAlias = Text | Whole | Number | Choice | Switch | Dictionary | List


def closest(word: str, known: Iterable[str]) -> str | None:
    """What `word` may have been meant to be. None if nothing is similar."""
    import difflib  # noqa: PLC0415  most configurations are right

    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def _of_unit(unit: str) -> str:
    return f" of {unit}" if unit else ""


def _wrong(kind: Kind, value: object, suggestion: str = "") -> ValueError:
    return ValueError(
        f"expected {kind.expected}, got {_quoted(value)}" + (f"; {suggestion}" if suggestion else "")
    )


def _without_quotes(value: object) -> str:
    is_number = isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+(\.\d+)?\s*", value)
    return "write it without quotes" if is_number else ""


def _quoted(value: object) -> str:
    """A value as its author wrote it, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            import json  # noqa: PLC0415  as above

            text = json.dumps(value, ensure_ascii=False)
            return text if len(text) <= QUOTED_LENGTH_MAX else f'{text[:QUOTED_LENGTH_MAX]}..."'
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return str(value)
