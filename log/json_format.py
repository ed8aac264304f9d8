"""How a log record is written for programs: one JSON object per line, with stable keys.

The text of an exception is never written (see traceback.py). A separate module because most programs log for people and
need not load what this imports.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from .event import Event
from .format import repetition_of
from .traceback import places

PLAIN_EVENT: Final = "message"
"""The event of a record that is not ours, but of a library or a handler."""


class JsonFormatter(logging.Formatter):
    """One object per line: `time` (ISO 8601, UTC, to the microsecond), `level`, `logger`, `event`, `message`, `pid`,
    the fields of the event, and if they apply `repeated_count`, `window_s` and `traceback`."""

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
