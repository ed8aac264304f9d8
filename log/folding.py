"""A line that repeats is logged the first time, and then summed up: `repeated N times in the last 10 s`.

A client that is refused and retries at once must not fill a disk. What happens to workers and links is never folded:
that one came back must not be hidden, nor be told before that it was lost; and nobody joins without a handshake, whose
number is bounded. Takes the time as an argument; must not read a clock, nor know how a line is written.
"""

from collections import OrderedDict
from logging import LogRecord
from typing import Final

from .event import Event

WINDOW_S: Final = 10.0
"""How long repetitions of a line are counted before they are logged: soon enough to be news, and at most 8,640 lines a
day of each."""

KEYS_COUNT_MAX: Final = 1000
"""Different lines that are remembered, about 1 MB. Lines beyond that are folded by event alone, so that many peers that
each repeat a line of their own are bounded as well."""

_OTHERS: Final = ("others",)


class _Repeated:
    """The window of one line: when it ends, how often the line was repeated, and its last record."""

    __slots__ = ("count", "ends_at", "last")

    def __init__(self, ends_at: float, last: LogRecord) -> None:
        self.ends_at = ends_at
        self.last = last
        self.count = 0


class Folding:
    """`admit` takes every record; `due` returns what to write besides, at the latest at `next_at`."""

    def __init__(self, window_s: float = WINDOW_S, keys_count_max: int = KEYS_COUNT_MAX) -> None:
        self._window_s = window_s
        self._keys_count_max = keys_count_max
        self._windows: OrderedDict[tuple[object, ...], _Repeated] = OrderedDict()
        """By key, ordered by their end: all are equally long."""

    @property
    def next_at(self) -> float | None:
        """When the first window ends. None if none is open."""
        return next(iter(self._windows.values())).ends_at if self._windows else None

    def admit(self, record: LogRecord, now: float) -> bool:
        """Whether to write the record now. `now` (seconds, monotonic) must not be later than `next_at`."""
        key = _key(record)
        if key is None:
            return True
        if key not in self._windows and len(self._windows) >= self._keys_count_max:
            key = (key[0], _OTHERS)
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Repeated(now + self._window_s, record)
            return True
        window.count += 1
        window.last = record
        return False

    def due(self, now: float) -> list[LogRecord]:
        """The last record of each line that was repeated in a window that is over, with its `repetition`."""
        summed_up = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if window.ends_at > now:
                break
            del self._windows[key]
            if window.count:
                window.last.repetition = (window.count, self._window_s)
                summed_up.append(window.last)
                self._windows[key] = _Repeated(now + self._window_s, window.last)
        return summed_up


def _key(record: LogRecord) -> tuple[object, ...] | None:
    """Equal for repetitions of a line. None for a line that is written each time."""
    event = record.msg
    if not isinstance(event, Event) or event.same is None:
        return None
    return (type(event), *(getattr(event, name) for name in event.same))
