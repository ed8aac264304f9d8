"""How a log record is written: a line for people, or one JSON object a line with keys that stay.

Knows records and events. What is written never holds the text of an exception (traceback.py).
"""

import json
import logging
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TypeAlias

from .event import Event
from .traceback import places

ExceptionInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

HUMAN_FORM: Final = "%(asctime)s %(levelname)-7s %(message)s"
HUMAN_FORM_OF_MANY: Final = "%(asctime)s [%(process)d] %(levelname)-7s %(message)s"
"""Where several processes write to one terminal."""

PLAIN_EVENT: Final = "message"
"""The event of a record that is none of ours: a library's, or a handler's own."""


class HumanFormatter(logging.Formatter):
    """Time of day, level, text."""

    def __init__(self, *, is_one_of_many: bool = False) -> None:
        super().__init__(HUMAN_FORM_OF_MANY if is_one_of_many else HUMAN_FORM, "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it."""
        line = super().format(record)
        repeated = repetition_of(record)
        if repeated is None:
            return line
        return f"{line} (repeated {repeated[0]} times in the last {repeated[1]:g} s)"

    def formatException(self, ei: ExceptionInfo) -> str:
        """Places and types."""
        return places(ei[1]) if ei[1] is not None else ""


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (ISO 8601, UTC, to the microsecond), `level`, `logger`, `event`, `message`, `pid`, the
    fields of the event, and where they apply `repeated_count`, `window_s` and `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line."""
        event = record.msg if isinstance(record.msg, Event) else None
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": PLAIN_EVENT if event is None else event.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if event is not None:
            line |= event.fields()
        if (repeated := repetition_of(record)) is not None:
            line["repeated_count"], line["window_s"] = repeated
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = places(record.exc_info[1])
        return json.dumps(line, default=str)


def repetition_of(record: logging.LogRecord) -> tuple[int, float] | None:
    """How often, and within how many seconds, what the record tells has happened again; None: it is the first."""
    found: tuple[int, float] | None = getattr(record, "repetition", None)
    return found
