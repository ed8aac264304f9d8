"""Counting durations in buckets, at the cost of one search and one addition each."""

from bisect import bisect_left
from typing import Final

DURATION_BOUNDS_S: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the buckets: half a millisecond, which a local echo stays under, to a minute, past which it is slow
by any measure. The last bucket, above these, has no bound."""


class Histogram:
    """`counts[i]` observations at most `DURATION_BOUNDS_S[i]` and above the bound before; `sum_s` of all seconds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATION_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        """Count one duration, in seconds."""
        self.counts[bisect_left(DURATION_BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s
