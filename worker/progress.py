"""How far handlers are: the latest word of each is sent to the broker, at most ten times a second, and the last one
before the response.

Handlers report from the event loop and from threads; everything else here happens in the event loop.
"""

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from . import limits
from .assignment import Assignment
from .failure import wire_text

EXACT_MAX: Final = 2**53
"""Up to this, every whole number is one that all programs can read."""


class Word(Struct, omit_defaults=True):
    """What a handler said: the share that is done, from 0 to 1; in words; and that `current` of `total` are done."""

    progress: float | None = None
    text: str | None = None
    current: int | float | None = None
    total: int | float | None = None


def word_of(share: float | None, text: str | None, current: float | None, total: float | None) -> Word:
    """What a handler says, made to fit: a share outside of 0 to 1 is clipped, a long text cut, a count below 0 or not
    finite left out. Without a share, it is what `current` is of `total`. Raises TypeError if all are None, or one is of
    another type."""
    done, of = _count(current), _count(total)
    if share is not None:
        share = min(1.0, float(share)) if share > 0.0 else 0.0
    elif done is not None and of:
        share = min(1.0, done / of)
    elif text is None and current is None and total is None:
        raise TypeError("progress: a share, a text, or current and total are missing")
    text = None if text is None else wire_text(text, limits.PROGRESS_TEXT_LENGTH_MAX)
    return Word(share, text, done, of)


def _count(value: float | None) -> int | float | None:
    """`value` as a number that can be sent."""
    if value is None or not 0 <= value < math.inf:
        return None
    count = float(value)
    return int(count) if count.is_integer() and count <= EXACT_MAX else count


class Reports(Protocol):
    """Takes what handlers say."""

    def report(self, assignment: Assignment, word: Word) -> None:
        """Note it, and send the latest word soon. From any thread."""


class Progress:
    """The words that have not been sent, at most one for each assignment.

    Between two links they wait, as the attempts of jobs do. What an ordinary request said then is for nobody: `send` is
    called for it all the same, and must look whether its assignment is still in flight.
    """

    __slots__ = ("_is_due", "_latest", "_lock", "_loop", "_send", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._latest: dict[Assignment, Word] = {}
        self._is_due = False
        self._send: Callable[[Assignment, Word], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def report(self, assignment: Assignment, word: Word) -> None:
        """Note it, to be sent with the others. From any thread."""
        with self._lock:
            self._latest[assignment] = word
            if self._is_due:
                return
            self._is_due = True
        try:
            self._loop.call_soon_threadsafe(self._send_latest)
        except RuntimeError:  # the event loop is closed: the worker has stopped
            return

    def flush(self, assignment: Assignment) -> None:
        """The assignment is about to end: send its last word now, if it has not been sent."""
        if not self._latest:
            return
        with self._lock:
            word = self._latest.pop(assignment, None)
        if word is not None and self._send is not None:
            self._send(assignment, word)

    def link_opened(self, send: Callable[[Assignment, Word], None]) -> None:
        """Send what waits, and what comes, by `send`."""
        self._send = send
        if self._is_due and self._timer is None:
            self._send_latest()

    def link_closed(self) -> None:
        """Let it wait."""
        self._send = None

    def _send_latest(self) -> None:
        """Send it, and look again after a while; until then all that comes waits for that."""
        self._timer = None
        send = self._send
        if send is None:
            return
        with self._lock:
            latest, self._latest = self._latest, {}
            self._is_due = bool(latest)
        if not latest:
            return
        for assignment, word in latest.items():
            send(assignment, word)
        self._timer = self._loop.call_later(limits.PROGRESS_INTERVAL_S, self._send_latest)
