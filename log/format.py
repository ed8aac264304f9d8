"""How a log record is written for people. For programs, see json_format.py.

The text of an exception is never written (see traceback.py).
"""

import logging
from types import TracebackType
from typing import Final, TypeAlias

from .printable import printable_lines
from .traceback import places

ExceptionInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

HUMAN_FORM: Final = "%(asctime)s %(levelname)-7s %(message)s"
HUMAN_FORM_OF_MANY: Final = "%(asctime)s [%(process)d] %(levelname)-7s %(message)s"
"""For several processes that write to one terminal."""
CONTINUED: Final = "\n    "
"""How the lines of one text follow each other."""


class HumanFormatter(logging.Formatter):
    """Time of day, level, text."""

    def __init__(self, *, is_one_of_many: bool = False) -> None:
        super().__init__(HUMAN_FORM_OF_MANY if is_one_of_many else HUMAN_FORM, "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback below it."""
        line = super().format(record)
        repeated = repetition_of(record)
        if repeated is None:
            return line
        return f"{line} (repeated {repeated[0]} times in the last {repeated[1]:g} s)"

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Without what a terminal would obey. Further lines of a library's or a handler's text are indented: none can
        pass for a line of the log."""
        return printable_lines(super().formatMessage(record)).replace("\n", CONTINUED)

    def formatException(self, ei: ExceptionInfo) -> str:
        """Places and types."""
        return places(ei[1]) if ei[1] is not None else ""


def repetition_of(record: logging.LogRecord) -> tuple[int, float] | None:
    """How often the record was repeated, and within how many seconds. None if it is the first."""
    found: tuple[int, float] | None = getattr(record, "repetition", None)
    return found
