"""Least loaded: the candidate whose load would be lowest once it had taken the assignment.

Source: HAProxy `leastconn` and nginx `least_conn` divide connections by weight; ours counts the assignment about to
be made and the speed learned, (in flight + 1) / (weight x speed), so that among idle workers the heavier one goes
first, and a busy fast one before an idle slow one where it would be done sooner. The broker knows every in-flight
count, so this is exact, where balancers that see only a part must sample (Mitzenmacher, "The Power of Two Choices",
2001).

Candidates stand in buckets of equal load, first in first out, so that equals take turns. A heap holds the loads that
have a bucket: a pick looks at its top, a change moves one candidate between two buckets.
"""

from heapq import heappop, heappush
from operator import itemgetter
from typing import Final, Generic

from .strategy import C

EMPTY_BUCKETS_COUNT: Final = 64
"""Empty buckets that may stay, beside as many as there are candidates. Loads come back, so they are worth keeping; but
workers of ever new weights leave loads behind that never do. Speed moves in steps, so it adds few."""


class _Place(Generic[C]):
    """Where a candidate stands: a link of its bucket's ring."""

    __slots__ = ("after", "before", "candidate")

    def __init__(self, candidate: C | None) -> None:
        self.candidate = candidate
        self.before: _Place[C] = self
        self.after: _Place[C] = self


class _Bucket(_Place[C]):
    """All places of one load: the one without a candidate, with which their ring begins and ends."""

    __slots__ = ("is_listed",)

    def __init__(self) -> None:
        super().__init__(None)
        self.is_listed = False
        """Its load stands in the heap."""


class LeastLoaded(Generic[C]):
    """Picks in O(1), changes in O(log loads), where `loads` is the number of different loads, not of candidates.

    A change of place costs a few pointers; an OrderedDict, which finds its first key as quickly, would cost twice as
    much. The place behind its bucket is the first to go. A bucket that has become empty leaves the heap at the next
    pick, and stays at hand.
    """

    __slots__ = ("_buckets", "_loads", "_places")

    def __init__(self) -> None:
        self._buckets: dict[float, _Bucket[C]] = {}
        self._loads: list[tuple[float, _Bucket[C]]] = []
        self._places: dict[C, _Place[C]] = {}

    def add(self, candidate: C) -> None:
        place = self._places[candidate] = _Place(candidate)
        self._line_up(candidate, place)

    def remove(self, candidate: C) -> None:
        place = self._places.pop(candidate)
        place.before.after = place.after
        place.after.before = place.before

    def changed(self, candidate: C) -> None:
        place = self._places[candidate]
        place.before.after = place.after
        place.after.before = place.before
        self._line_up(candidate, place)

    def pick(self, affinity: str | None) -> C | None:
        loads = self._loads
        while loads:
            bucket = loads[0][1]
            candidate = bucket.after.candidate
            if candidate is not None:
                return candidate
            bucket.is_listed = False
            heappop(loads)
        return None

    def _line_up(self, candidate: C, place: _Place[C]) -> None:
        """Put `place` at the end of the bucket that `candidate` belongs to now."""
        load = (candidate.in_flight_count + 1) / (candidate.weight * candidate.speed)
        bucket = self._buckets.get(load)
        if bucket is None:
            bucket = self._new_bucket(load)
        if not bucket.is_listed:
            bucket.is_listed = True
            heappush(self._loads, (load, bucket))
        last = bucket.before
        last.after = place
        place.before = last
        place.after = bucket
        bucket.before = place

    def _new_bucket(self, load: float) -> _Bucket[C]:
        if len(self._buckets) > 2 * len(self._places) + EMPTY_BUCKETS_COUNT:
            self._buckets = {
                load: bucket for load, bucket in self._buckets.items() if bucket.after is not bucket
            }
            listed = [(load, bucket) for load, bucket in self._buckets.items() if bucket.is_listed]
            self._loads = sorted(listed, key=itemgetter(0))  # which is a heap
        bucket = self._buckets[load] = _Bucket()
        return bucket
