"""The worker's own check of deadlines, for when the broker's `cancel` does not come."""

import asyncio
import time
from collections.abc import Mapping

from . import limits
from .assignment import DEADLINE_PASSED, Assignment


class Deadlines:
    """Cancels each of the assignments in flight once its deadline has passed.

    One timer serves all of them. It fires at the earliest deadline of those that were in flight when it was set:
    rarely, if most of them end well before. `next_at` is that time by `time.monotonic()`, infinite if there is none.
    """

    __slots__ = ("_in_flight", "_loop", "_timer", "next_at")

    def __init__(self, in_flight: Mapping[str, Assignment]) -> None:
        self._loop = asyncio.get_running_loop()
        self._in_flight = in_flight
        self._timer: asyncio.TimerHandle | None = None
        self.next_at = float("inf")

    def watch(self, deadline: float) -> None:
        """Set the timer for this deadline, which is earlier than any that it is set for."""
        self.close()
        now = time.monotonic()
        wait_s = max(deadline + limits.DEADLINE_ALLOWANCE_S - now, limits.DEADLINE_SWEEP_S_MIN)
        self.next_at = now + wait_s
        self._timer = self._loop.call_later(wait_s, self._sweep)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        self._timer = None
        self.next_at = float("inf")
        horizon = time.monotonic() - limits.DEADLINE_ALLOWANCE_S
        earliest = float("inf")
        for assignment in tuple(self._in_flight.values()):
            if assignment.deadline <= horizon:
                assignment.cancel(DEADLINE_PASSED)
            elif assignment.deadline < earliest:
                earliest = assignment.deadline
        if earliest < float("inf"):
            self.watch(earliest)
