"""How late the event loop gets to what is due: what any request may have to wait on top of its own work.

A timer goes off ten times a second. If the loop is blocked, by one long step or by too many short ones, the timer is
late; by how much is counted.
"""

import asyncio
import time
from typing import Final

from .core.measures.histogram import Histogram

CHECK_INTERVAL_S: Final = 0.1
"""Time between two checks: short enough that a minute has 600, so that its 99th percentile means something. A check
costs some microseconds."""


class LoopLag:
    """Counts in `histogram` from `start` to `stop`, in the loop that runs then. A loop's own timers may be up to a
    millisecond late."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wait()

    def stop(self) -> None:
        """Stop counting."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._due_at = time.monotonic() + CHECK_INTERVAL_S
        self._timer = self._loop.call_later(CHECK_INTERVAL_S, self._check)

    def _check(self) -> None:
        self.histogram.observe(max(0.0, time.monotonic() - self._due_at))
        self._wait()
