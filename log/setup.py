"""Sets up the log of a program: where and how it is written, and the level of each logger.

Owns the handler, its clock and its one timer; writer.py has the thread. Must not know what is logged.
"""

import logging
import sys
import threading
import time
from typing import Final, TextIO

from .events import LogLinesDropped
from .folding import Folding
from .format import HumanFormatter
from .settings import WIRE_LOGGER, LogSettings
from .writer import writer_to

QUIET: Final = {WIRE_LOGGER: "warning", "uvicorn": "error"}
"""Loggers of libraries that would log every connection, or what our own lines say already, and folded."""


class FoldingHandler(logging.Handler):
    """Writes records, with repetitions summed up. Logging never waits for whoever reads the log.

    Attributes: `writer`, which writes the lines."""

    def __init__(self, stream: TextIO | None, folding: Folding, *, is_one_of_many: bool = False) -> None:
        super().__init__()
        self.is_one_of_many = is_one_of_many
        self.writer = writer_to(stream, self._note)
        self._folding = folding
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        if self.writer.is_in_child:  # a handler's: it lives for a moment, and the counts are its parent's
            self._write(record)
            return
        now = time.monotonic()
        self._write_due(now)
        if self._folding.admit(record, now):
            self._write(record)
        self._set_timer(now)

    def flush(self) -> None:
        """Wait for a bounded time until all is written."""
        self.writer.flush()

    def close(self) -> None:
        """Write what was counted so far, and nothing after it."""
        self.acquire()
        try:
            if not self.writer.is_in_child:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                self._write_due(float("inf"))
        finally:
            self.release()
        self.flush()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:
            place = f"{record.pathname}:{record.lineno}"
            record.msg, record.args = f"{place}: not a line for the log: {type(error).__name__}", ()
            line = self.format(record)
        self.writer.put(line)

    def _write_due(self, now: float) -> None:
        for record in self._folding.due(now):
            self._write(record)

    def _note(self, count: int) -> str:
        event = LogLinesDropped(count)
        return self.format(logging.LogRecord(__name__, event.level, __file__, 0, event, None, None))

    def _set_timer(self, now: float) -> None:
        next_at = self._folding.next_at
        if next_at is None or self._timer is not None:
            return
        timer = threading.Timer(next_at - now, self._wake)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # no thread can be started now: what is due is written with the next record
            return
        self._timer = timer

    def _wake(self) -> None:
        self.acquire()
        try:
            if self._timer is None:
                return  # closed while this waited for the lock
            self._timer = None
            now = time.monotonic()
            self._write_due(now)
            self._set_timer(now)
        finally:
            self.release()


def set_up_logging(settings: LogSettings, *, is_one_of_many: bool = False) -> None:
    """Log to standard error. Does nothing if logging is set up already.

    `is_one_of_many`: show the process id in each line.
    """
    if logging.root.handlers:
        return
    logging.root.addHandler(FoldingHandler(sys.stderr, Folding(), is_one_of_many=is_one_of_many))
    apply(settings, LogSettings())


def dropped_count() -> int:
    """Lines of the log that were dropped since this process started."""
    return sum(
        handler.writer.dropped_count
        for handler in logging.root.handlers
        if isinstance(handler, FoldingHandler)
    )


def apply(settings: LogSettings, before: LogSettings) -> None:
    """Change the log from the settings `before` to `settings`. Does nothing if the log was not set up here."""
    handlers = [handler for handler in logging.root.handlers if isinstance(handler, FoldingHandler)]
    if not handlers:
        return
    for handler in handlers:
        handler.setFormatter(_formatter(settings.format, is_one_of_many=handler.is_one_of_many))
    logging.root.setLevel(settings.level.upper())
    levels = QUIET | settings.levels
    for name in before.levels.keys() - levels.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level.upper())


def _formatter(name: str, *, is_one_of_many: bool) -> logging.Formatter:
    if name == "human":
        return HumanFormatter(is_one_of_many=is_one_of_many)
    from .json_format import JsonFormatter  # noqa: PLC0415  see there

    return JsonFormatter()
