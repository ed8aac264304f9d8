"""One timer for the deadlines of all requests of a client.

There is no heap of deadlines and no timer per request: at the earliest deadline all requests are checked, and the timer
is set to the earliest deadline of those left. With equal timeouts that happens once per timeout, however many requests
came and went, so that a request costs one comparison; a heap would cost each of them two orderings, and the memory of
all that ended long before their deadlines.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from ..transport.group import PAUSE_S_MIN

CHECK_INTERVAL_S_MIN: Final = 0.01
"""The least time between two checks, so by how much a deadline may be missed."""

CHECK_INTERVAL_S_PER_REQUEST: Final = 1e-6
"""A check takes some 50 ns per request: with this wait before the next one it never takes more than a twentieth of the
processor, whatever the deadlines are. At 10,000 requests it equals CHECK_INTERVAL_S_MIN."""

READ_S: Final = 0.1
"""After a pause of this process (PAUSE_S_MIN), responses that came meanwhile are read for this long before any deadline
is checked: an event loop that was stopped runs its timers first."""


class DeadlineTimer:
    """Calls `check(now_s)` when a deadline has come, on the clock of `time.monotonic()`.

    `check` ends what is overdue and returns how many requests it checked, and the earliest deadline left (inf: none).
    `at_s` is when the next check is due (inf: none). Made inside the running loop.
    """

    __slots__ = ("_check", "_due_s", "_handle", "_loop", "_not_before_s", "at_s")

    def __init__(self, check: Callable[[float], tuple[int, float]]) -> None:
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._due_s = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self._not_before_s = 0.0
        self.at_s = math.inf

    def by(self, deadline_s: float) -> None:
        """Check by `deadline_s`."""
        at_s = max(deadline_s, self._not_before_s)
        if at_s >= self.at_s:
            return
        if self._handle is not None:
            self._handle.cancel()
        now_s = time.monotonic()
        self.at_s, self._due_s = at_s, max(now_s, at_s)
        self._handle = self._loop.call_later(self._due_s - now_s, self._fire)

    def close(self) -> None:
        """Check no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        self._handle = None
        self.at_s = math.inf
        now_s = time.monotonic()
        if now_s - self._due_s >= PAUSE_S_MIN:
            self._not_before_s = now_s + READ_S
            self.by(self._not_before_s)
            return
        count, next_s = self._check(now_s)
        self._not_before_s = now_s + max(CHECK_INTERVAL_S_MIN, count * CHECK_INTERVAL_S_PER_REQUEST)
        if next_s < math.inf:
            self.by(next_s)
