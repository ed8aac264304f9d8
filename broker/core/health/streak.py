"""A worker's failures in a row, and how far they speak against the worker: less, if a single requester has them.

A requester can make any worker fail, with data that no handler can take or with a timeout that is too short. So a
failure counts in full only if the requester had it where the broker chose, and fares better elsewhere (see fares.py).
All others are doubtful: those of one account count no more than those of everyone else together, as in a vote in which
nobody has the majority alone.
"""

from typing import Final

FAILURES_COUNT_MIN: Final = 5
"""Failures that count before a worker is compared with its peers: Finagle's and Envoy's default."""

ACCUSERS_COUNT_MAX: Final = 16
"""Accounts whose doubtful failures are counted; those of later ones count for nothing. A third of them would do."""


class Streak:
    """`count` failures without a success between them."""

    __slots__ = ("_doubts", "_fair_count", "_judge_at", "count")

    def __init__(self) -> None:
        self.settle(0)

    @property
    def weight(self) -> int:
        """How many of them count."""
        counts = self._doubts.values()
        most = max(counts, default=0)
        others = self._fair_count + sum(counts) - most
        return others + min(most, others)

    def fail(self, doubt: str | None) -> None:
        """One more. `doubt`: the account that alone speaks for it; None if it counts in full."""
        self.count += 1
        if doubt is None:
            self._fair_count += 1
        elif doubt in self._doubts or len(self._doubts) < ACCUSERS_COUNT_MAX:
            self._doubts[doubt] = self._doubts.get(doubt, 0) + 1

    def is_to_judge(self) -> bool:
        """Whether to compare the worker with its peers now: when 5, 10, 20, 40 ... failures count, once each. To
        compare at every failure of a command that always fails would be expensive."""
        weight = self.weight
        if weight < self._judge_at:
            return False
        while self._judge_at <= weight:
            self._judge_at *= 2
        return True

    def settle(self, count: int) -> None:
        """Begin again with `count` failures, none of which counts any more."""
        self.count = count
        self._fair_count = 0
        self._doubts: dict[str, int] = {}
        self._judge_at = FAILURES_COUNT_MIN
