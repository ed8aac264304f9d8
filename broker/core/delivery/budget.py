"""How much extra load the broker may make by itself: a share of what was asked of it lately.

Retries and second copies help while few are needed, and bury workers that are in trouble already once many are. Source:
Finagle's RetryBudget: a share of the requests of the last seconds, and a small reserve so that a broker with little
traffic can do it too.
"""

from typing import Final

TURN_S: Final = 10.0
"""What "lately" is: this turn and the one before, so up to 20 s. Source: Finagle's ttl of 10 s."""

RESERVE_COUNT: Final = 10
"""What may be spent in that time without any traffic that would earn it. Finagle's reserve is ten a second; ours is
smaller, because ten at once are as many as a small fleet has in flight."""


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
        """How many requests there had been when the turn before, and this turn, began."""
        self._spent_before = self._spent_turn = 0

    def look(self, requests_count: int, now: float) -> None:
        """Forget what was long ago; `requests_count` since the beginning. To be called every second or so."""
        if now < self._turned_at + TURN_S:
            return
        self._turned_at = now
        self._requests_count_before, self._requests_count_turn = self._requests_count_turn, requests_count
        self._spent_before, self._spent_turn = self._spent_turn, 0

    def spend(self, requests_count: int) -> bool:
        """Whether one more extra assignment may be made, `requests_count` requests after the beginning."""
        earned = self.share * (requests_count - self._requests_count_before)
        reserve_count = RESERVE_COUNT if self.share else 0
        if self._spent_before + self._spent_turn + 1 > reserve_count + earned:
            return False
        self._spent_turn += 1
        return True
