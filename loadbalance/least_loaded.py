"""Least loaded: the candidate whose load would be lowest after taking the assignment.

Source: HAProxy `leastconn` and nginx `least_conn` divide connections by weight; this one counts the assignment about to
be made and the learned speed, (in flight + 1) / (weight x speed), so that of idle workers the heaviest is first, and a
busy fast worker comes before an idle slow one if it would finish sooner. The broker knows every in-flight count, so
this is exact; balancers that see only a part must sample (Mitzenmacher, "The Power of Two Choices", 2001).

Candidates are kept in buckets of equal load, first in first out, so that equals take turns. A heap holds the loads that
have a bucket: a pick looks at its top, a change moves one candidate between two buckets.
"""

from heapq import heappop, heappush
from operator import itemgetter
from typing import Final, Generic

from .strategy import C

EMPTY_BUCKETS_COUNT: Final = 64
"""Empty buckets kept in addition to as many as there are candidates. Loads recur, so they are worth keeping; but
workers with ever new weights leave loads that never do. Speed moves in steps, so it adds few."""


class _Place(Generic[C]):
    """A candidate's node in the ring of its bucket."""

    __slots__ = ("after", "before", "candidate")

    def __init__(self, candidate: C | None) -> None:
        self.candidate = candidate
        self.before: _Place[C] = self
        self.after: _Place[C] = self


class _Bucket(_Place[C]):
    """All places of one load. It is itself a place, without a candidate, where their ring starts and ends."""

    __slots__ = ("is_listed",)

    def __init__(self) -> None:
        super().__init__(None)
        self.is_listed = False
        """Its load is in the heap."""


class LeastLoaded(Generic[C]):
    """Picks in O(1), changes in O(log loads), where `loads` is the number of different loads, not of candidates.

    Moving a candidate costs a few pointers; an OrderedDict, which finds its first key as quickly, would cost twice as
    much. The place after the bucket itself is picked next. A bucket that has become empty leaves the heap at the next
    pick, and is kept for reuse.
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
        """Append `place` to the bucket that `candidate` belongs to now."""
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
