"""One timer for the deadlines of all requests of a client. Knows times; whose deadlines they are it must not know.

There is no heap of deadlines and no timer a request: at the earliest deadline all requests are looked at, and the
timer is set to the earliest one of those that are left. With equal timeouts that happens once a timeout, however many
requests came and went, so that a request costs one comparison; a heap would cost each of them two orderings, and the
memory of all that ended long before their deadlines.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

LOOK_INTERVAL_S_MIN: Final = 0.01
"""The least time between two looks, so by how much a deadline may be missed."""

LOOK_INTERVAL_S_PER_REQUEST: Final = 1e-6
"""A look takes some 50 ns a request: with this wait before the next one it never takes more than a twentieth of the
processor, whatever the deadlines are. At 10,000 requests it equals LOOK_INTERVAL_S_MIN."""


class DeadlineTimer:
    """Calls `look(now_s)` when a deadline has come, on the clock of `time.monotonic()`.

    `look` ends what is overdue and returns how many requests it looked at, and the earliest deadline that is left (inf:
    none). `at_s` is when the next look is due (inf: none). Made inside the running loop.
    """

    __slots__ = ("_handle", "_look", "_loop", "_not_before_s", "at_s")

    def __init__(self, look: Callable[[float], tuple[int, float]]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._not_before_s = 0.0
        self.at_s = math.inf

    def by(self, deadline_s: float) -> None:
        """Look at `deadline_s` at the latest."""
        at_s = max(deadline_s, self._not_before_s)
        if at_s >= self.at_s:
            return
        if self._handle is not None:
            self._handle.cancel()
        self.at_s = at_s
        self._handle = self._loop.call_later(max(0.0, at_s - time.monotonic()), self._fire)

    def close(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        self._handle = None
        self.at_s = math.inf
        now_s = time.monotonic()
        count, next_s = self._look(now_s)
        self._not_before_s = now_s + max(LOOK_INTERVAL_S_MIN, count * LOOK_INTERVAL_S_PER_REQUEST)
        if next_s < math.inf:
            self.by(next_s)
