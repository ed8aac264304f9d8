"""When to try a lost connection again: exponential backoff with full jitter.

Source: Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): with full jitter, clients that a
restart disconnected all at once come back spread over the whole interval. Knows no clock; random numbers are passed in.
"""

from collections.abc import Callable
from typing import Final

BACKOFF_FIRST_S: Final = 0.2
"""The first wait is between 0 and this, so that a broker that merely restarts is found again at once."""

BACKOFF_MAX_S: Final = 3.0
"""No wait is longer, so that a broker that is back has its workers within 5 s. A thousand workers then try at most 700
times a second, which a broker handles easily."""


class Backoff:
    """The waits between attempts, in seconds. `chance` returns a random float in [0, 1)."""

    __slots__ = ("_chance", "attempt_count")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.attempt_count = 0

    def next_wait_s(self) -> float:
        """The wait before the next attempt."""
        ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self.attempt_count, 16))
        self.attempt_count += 1
        return ceiling_s * self._chance()

    def reset(self) -> None:
        """An attempt succeeded: start over."""
        self.attempt_count = 0
