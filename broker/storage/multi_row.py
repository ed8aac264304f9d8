"""Statements that write many rows in one step.

SQLite's step is what Python gives the GIL back for, and with a busy event loop it then waits for it up to the switch
interval (5 ms). So 256 jobs are written in a handful of steps, not in a thousand.
"""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any, Final

SIZES: Final = (256, 64, 16, 4, 1)
"""Rows of one statement. Each size of each statement is compiled once, and kept. 256 rows of 16 values are within
SQLite's bound on values (32,766), and no cheaper per row than 64."""

STATEMENTS_KEPT: Final = 256
"""The connection's cache of compiled statements: all sizes of all statements that there are."""


class MultiRow:
    """`INSERT INTO ... VALUES (...), (...), ...` with `width` values a row. `head` comes before the rows, `tail` after
    them."""

    __slots__ = ("_texts", "_width")

    def __init__(self, head: str, width: int, tail: str = "") -> None:
        row = f"({','.join('?' * width)})"
        self._texts = tuple((size, f"{head} VALUES {','.join([row] * size)} {tail}") for size in SIZES)
        self._width = width

    def write(self, connection: Connection, values: Sequence[Any]) -> None:
        """Write the rows whose values, one row after the other, these are."""
        start, end = 0, len(values)
        for size, text in self._texts:
            length = size * self._width
            while end - start >= length:
                connection.execute(text, values[start : start + length])
                start += length


class In:
    """A statement with `IN (?, ?, ...)` at its end, for any number of values."""

    __slots__ = ("_texts",)

    def __init__(self, head: str) -> None:
        self._texts = tuple((size, f"{head} IN ({','.join('?' * size)})") for size in SIZES)

    def run(self, connection: Connection, values: Sequence[Any]) -> list[Any]:
        """Run it for these values. The rows that it has found."""
        start, end = 0, len(values)
        found: list[Any] = []
        for size, text in self._texts:
            while end - start >= size:
                found += connection.execute(text, values[start : start + size]).fetchall()
                start += size
        return found
