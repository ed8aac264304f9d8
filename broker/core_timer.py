"""The one timer that the core needs: it calls `Core.advance` when the next thing is due.

Sessions set it to an earlier time if what they called the core with is due sooner. No request has its own timer.
"""

import asyncio
import math
import time
from typing import Final

from .core.core import Core
from .core.delivery.deadlines import NEVER

STOPPED: Final = -math.inf
"""What nothing is due before."""


class CoreTimer:
    """Once set with `wake_at`, it sets itself again until `stop`. `wakes_at`: when it goes off, in seconds of
    `time.monotonic()`, or NEVER. After a call of the core that makes something due, compare it with `Core.next_at`."""

    __slots__ = ("_core", "_handle", "wakes_at")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._handle: asyncio.TimerHandle | None = None
        self.wakes_at = NEVER

    def wake_at(self, at: float) -> None:
        """Go off at `at`, and no longer when it was set to before. Called in the running loop."""
        if self._handle is not None:
            self._handle.cancel()
        self.wakes_at = at
        delay_s = max(0.0, at - time.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def stop(self) -> None:
        """Go off no more, whatever becomes due."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.wakes_at = STOPPED

    def _wake(self) -> None:
        self._handle = None
        self.wakes_at = NEVER
        self._core.advance(time.monotonic())
        if self._core.next_at < self.wakes_at:
            self.wake_at(self._core.next_at)
