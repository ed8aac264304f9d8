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


REFUSED_MAX_S: Final = 15.0
"""The same after a broker has answered, and refused this client: a fresh token, or an operator, needs a while. Eight
such clients behind one address try once a second, which is what brokers allow an address in failed logins."""

RETRY_AFTER_S_MAX: Final = 60.0
"""A broker that wants to be left alone for longer is asked again after this."""


class Backoff:
    """The waits between attempts, in seconds. `chance` returns a random float in [0, 1)."""

    __slots__ = ("_chance", "attempt_count")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.attempt_count = 0

    def next_wait_s(self, *, is_refused: bool = False, retry_after_s: float = 0.0) -> float:
        """The wait before the next attempt. `is_refused`: by the broker, which may say when to come back."""
        ceiling_s = REFUSED_MAX_S if is_refused else BACKOFF_MAX_S
        ceiling_s = min(ceiling_s, BACKOFF_FIRST_S * 2.0 ** min(self.attempt_count, 16))
        self.attempt_count += 1
        return min(retry_after_s, RETRY_AFTER_S_MAX) + ceiling_s * self._chance()

    def reset(self) -> None:
        """An attempt succeeded: start over."""
        self.attempt_count = 0
