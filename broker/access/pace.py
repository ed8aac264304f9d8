"""How fast one connection may send, and when it has been too fast for too long."""

import math
from typing import Final

from .bucket import Bucket

BURST_S: Final = 1.0
"""A page that has just been loaded sends several messages at once: as many as it may in this time."""

QUIET_S: Final = 1.0
"""A peer of which nothing was refused for so long has understood."""

REFUSED_S_MAX: Final = 10.0
"""As many as it may send in this time may be refused in a row without such a pause. Each costs an answer."""


class Pace:
    """At most `rate` messages a second; 0: no bound. All times are seconds of one monotonic clock."""

    __slots__ = ("_bucket", "_refused_at", "_refused_count")

    def __init__(self, rate: float) -> None:
        self._bucket = Bucket(rate, BURST_S)
        self._refused_at = -math.inf
        self._refused_count = 0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self._bucket.rate

    @property
    def is_hopeless(self) -> bool:
        """It goes on sending too much."""
        return self._refused_count > 0 and self._refused_count >= self.rate * REFUSED_S_MAX

    def spend(self, now: float) -> float:
        """Count one message: 0.0 if it may pass, else the seconds until one may."""
        wait_s = self._bucket.spend(1.0, now)
        if wait_s:
            if now - self._refused_at >= QUIET_S:
                self._refused_count = 0
            self._refused_count += 1
            self._refused_at = now
        return wait_s

    def reconfigure(self, rate: float, now: float) -> None:
        """Change the rate. What was refused before does not count any more."""
        self._bucket.reconfigure(rate, now)
        self._refused_count = 0
