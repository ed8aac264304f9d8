"""How late the event loop comes to what is due: what any request may have to wait on top of its own work.

Looks at the clock ten times a second. A loop that is held up, by one long step or by too many short ones, comes to the
look late, and by how much is counted.
"""

import asyncio
import time
from typing import Final

from .core.measures.histogram import Histogram

LOOK_INTERVAL_S: Final = 0.1
"""Between two looks: often enough that a minute has 600, so that its 99th percentile means something; one costs some
microseconds."""


class LoopLag:
    """Counts in `histogram` from `start` to `stop`, in the loop that runs then. A loop's own timers may be a
    millisecond late."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wait()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._due_at = time.monotonic() + LOOK_INTERVAL_S
        self._timer = self._loop.call_later(LOOK_INTERVAL_S, self._look)

    def _look(self) -> None:
        self.histogram.observe(max(0.0, time.monotonic() - self._due_at))
        self._wait()
