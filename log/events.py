"""The events of the log itself."""

import logging
from typing import ClassVar

from .event import Event


class LogLinesDropped(Event, frozen=True):
    """Standard error took lines more slowly than they came, and the queue was full. The missing ones belong here."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = (
        "{count} lines of the log are missing here: standard error did not take them in time"
    )
    count: int
