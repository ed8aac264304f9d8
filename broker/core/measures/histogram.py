"""Counting durations in buckets, at the cost of one search and one addition each."""

from bisect import bisect_left
from typing import Final

DURATION_BOUNDS_S: Final[tuple[float, ...]] = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the buckets: from half a millisecond, which a local echo stays under, to a minute, beyond which a
request is slow by any measure. The last bucket, above these, has no bound."""


NOTHING: Final = [0] * (len(DURATION_BOUNDS_S) + 1)
"""The counts of a histogram that has counted nothing, never changed: workers may announce thousands of commands that
are never requested."""


class Histogram:
    """`counts[i]` counts durations up to `DURATION_BOUNDS_S[i]` and above the bound before; `sum_s` is their sum."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = NOTHING
        self.sum_s = 0.0

    def observe(self, duration_s: float) -> int:
        """Count one duration, in seconds. Returns the index of its bucket."""
        index = bisect_left(DURATION_BOUNDS_S, duration_s)
        if self.counts is NOTHING:
            self.counts = NOTHING.copy()
        self.counts[index] += 1
        self.sum_s += duration_s
        return index

    def observe_all(self, duration_s: float, count: int) -> None:
        """Count `count` equal durations."""
        if self.counts is NOTHING:
            self.counts = NOTHING.copy()
        self.counts[bisect_left(DURATION_BOUNDS_S, duration_s)] += count
        self.sum_s += duration_s * count

    def absorb(self, other: "Histogram") -> None:
        """Add the counts of `other`."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s

    def window(self) -> "Window":
        """A window on the observations that follow."""
        return Window(self)


TURN_S: Final = 10.0
"""The shortest turn of a window: a window holds the current turn and the one before. A turn ends at the first read
after that time."""


class Window:
    """The recent observations of a histogram. Costs nothing until it is read."""

    __slots__ = ("_before", "_histogram", "_long_before", "_turned_at")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._before = self._long_before = NOTHING if histogram.counts is NOTHING else histogram.counts.copy()
        self._turned_at = 0.0

    def percentile_s(self, percent: int, count_min: int, now: float) -> float | None:
        """The duration that `percent` of the observations stay under, interpolated within its bucket; at most the
        highest bound. None if there are fewer than `count_min` observations."""
        if now >= self._turned_at + TURN_S:
            self._turned_at = now
            self._long_before, self._before = self._before, list(self._histogram.counts)
        counts = [now - then for now, then in zip(self._histogram.counts, self._long_before, strict=True)]
        total = sum(counts)
        if total < max(1, count_min):
            return None
        rest = total * percent / 100
        lower_s = 0.0
        for count, upper_s in zip(counts, DURATION_BOUNDS_S, strict=False):
            if rest <= count:
                return lower_s + (upper_s - lower_s) * rest / count
            rest -= count
            lower_s = upper_s
        return lower_s
