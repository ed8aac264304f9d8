"""The file of lines that a command line names: opened, counted, and the data of each line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any, cast

import click

from ...log.printable import printable
from ..arguments import DataError, json_value
from .lines import LineError

STANDARD_INPUT = "-"


@contextmanager
def opened(name: str, what: str) -> Iterator[RawIOBase]:
    """The file, or for `-` standard input. Raises UsageError, which begins with `what` named it."""
    if name == STANDARD_INPUT:
        try:
            number = sys.stdin.fileno()
        except OSError:  # not a file of the system: a test's
            yield cast("RawIOBase", sys.stdin.buffer)
        else:
            yield FileIO(number, closefd=False)
        return
    try:
        stream = FileIO(name)
    except OSError as error:
        raise click.UsageError(f"{what}: {printable(name)}: {reason_of(error)}") from None
    with stream:
        yield stream


def lines_count(name: str) -> int | None:
    """How many lines there are, if that can be said before they are read: for the progress bar."""
    path = Path(name)
    if name == STANDARD_INPUT or not sys.stderr.isatty() or not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def data_of(line: bytes | LineError) -> Any:
    """The data that a line of JSON is. Raises LineError."""
    if isinstance(line, LineError):
        raise line
    try:
        return json_value(line)
    except DataError as error:
        raise LineError(str(error)) from None


def reason_of(error: OSError) -> str:
    """What the system says, for people."""
    return (error.strerror or str(error)).lower()
