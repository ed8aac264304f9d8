"""How far handlers are: the latest word of each is sent to the broker, at most ten times a second.

Handlers report from the event loop and from threads; everything else here happens in the event loop.
"""

import asyncio
import threading
from collections.abc import Callable

from msgspec import Struct

from . import limits
from .assignment import Assignment
from .failure import wire_text


class Word(Struct, omit_defaults=True):
    """What a handler said: the share that is done, from 0 to 1, and in words."""

    progress: float
    text: str | None = None


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

    def report(self, assignment: Assignment, share: float, text: str | None) -> None:
        """Note it, to be sent with the others. From any thread. A share outside of 0 to 1 is clipped; a long text is
        cut."""
        word = Word(
            min(1.0, float(share)) if share > 0.0 else 0.0,
            None if text is None else wire_text(text, limits.PROGRESS_TEXT_LENGTH_MAX),
        )
        with self._lock:
            self._latest[assignment] = word
            if self._is_due:
                return
            self._is_due = True
        try:
            self._loop.call_soon_threadsafe(self._send_latest)
        except RuntimeError:  # the event loop is closed: the worker has stopped
            return

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
