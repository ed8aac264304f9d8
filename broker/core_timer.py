"""The one timer that the core needs: it calls `Core.advance` when the next thing is due.

Sessions set it to an earlier time if what they called the core with is due sooner. No request has its own timer. As it
is the first to find out that the process stood still, it reports that too, before anything is judged late because of
it.
"""

import asyncio
import logging
import math
import time
from typing import Final

from ..log.event import log_event
from ..transport.group import PAUSE_S_MIN
from .core.core import Core
from .core.delivery.deadlines import NEVER
from .events import BrokerPaused

logger = logging.getLogger(__name__)

STOPPED: Final = -math.inf
"""What nothing is due before."""


class CoreTimer:
    """Once set with `wake_at`, it sets itself again until `stop`. `wakes_at`: when it goes off, in seconds of
    `time.monotonic()`, or NEVER. After a call of the core that makes something due, compare it with `Core.next_at`."""

    __slots__ = ("_core", "_due_at", "_handle", "wakes_at")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._due_at = NEVER
        self._handle: asyncio.TimerHandle | None = None
        self.wakes_at = NEVER

    def wake_at(self, at: float) -> None:
        """Go off at `at`, and no longer when it was set to before. Called in the running loop."""
        if self._handle is not None:
            self._handle.cancel()
        self.wakes_at = at
        now = time.monotonic()
        self._due_at = max(now, at)  # what the core is due for may be long past, after an idle time
        self._handle = asyncio.get_running_loop().call_later(self._due_at - now, self._wake)

    def stop(self) -> None:
        """Go off no more, whatever becomes due."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.wakes_at = STOPPED

    def _wake(self) -> None:
        self._handle = None
        self.wakes_at = NEVER
        now = time.monotonic()
        if now - self._due_at >= PAUSE_S_MIN:
            self._core.paused(self._due_at, now)
            log_event(logger, BrokerPaused(now - self._due_at))
        self._core.advance(now)
        if self._core.next_at < self.wakes_at:
            self.wake_at(self._core.next_at)
