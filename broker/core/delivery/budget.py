"""How much extra load the broker may create itself: a share of the recent requests.

Retries and hedges help while few are needed; many of them bury workers that are already in trouble. Source: Finagle's
RetryBudget: a share of the requests of the last seconds, and a small reserve for a broker with little traffic.
"""

from typing import Final

TURN_S: Final = 10.0
"""Recent means in this turn or the one before, so in up to 20 s. Source: Finagle's ttl of 10 s."""

RESERVE_COUNT: Final = 10
"""Extra assignments that are allowed in that time even without any traffic. Finagle's reserve is ten per second; ours
is smaller, because a small fleet may have no more than ten requests in flight."""


class Budget:
    """Every request earns `share` of an extra assignment."""

    __slots__ = (
        "_requests_count_before",
        "_requests_count_turn",
        "_spent_before",
        "_spent_turn",
        "_turned_at",
        "share",
    )

    def __init__(self, share: float) -> None:
        self.share = share
        self._turned_at = 0.0
        self._requests_count_before = self._requests_count_turn = 0
        """The number of requests when the previous turn, and this one, began."""
        self._spent_before = self._spent_turn = 0

    def look(self, requests_count: int, now: float) -> None:
        """Start the next turn if this one is over. `requests_count`: since the broker started. Call it every second or
        so."""
        if now < self._turned_at + TURN_S:
            return
        self._turned_at = now
        self._requests_count_before, self._requests_count_turn = self._requests_count_turn, requests_count
        self._spent_before, self._spent_turn = self._spent_turn, 0

    def spend(self, requests_count: int) -> bool:
        """Count one more extra assignment if the budget allows it; False if not. `requests_count`: since the broker
        started."""
        earned = self.share * (requests_count - self._requests_count_before)
        reserve_count = RESERVE_COUNT if self.share else 0
        if self._spent_before + self._spent_turn + 1 > reserve_count + earned:
            return False
        self._spent_turn += 1
        return True
