"""Least loaded: the candidate whose load would be lowest once it had taken the assignment.

Source: HAProxy `leastconn` and nginx `least_conn` divide connections by weight; ours counts the assignment about to
be made and the speed learned, (in flight + 1) / (weight x speed), so that among idle workers the heavier one goes
first, and a busy fast one before an idle slow one where it would be done sooner. The broker knows every in-flight
count, so this is exact, where balancers that see only a part must sample (Mitzenmacher, "The Power of Two Choices",
2001).

Candidates stand in buckets of equal load, first in first out, so that equals take turns. A heap holds the loads that
have a bucket: a pick looks at its top, a change moves one candidate between two buckets.
"""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import Final, Generic

from .strategy import C

EMPTY_BUCKETS_COUNT: Final = 64
"""Empty buckets that may stay, beside as many as there are candidates. Loads come back, so they are worth keeping; but
workers of ever new weights leave loads behind that never do. Speed moves in steps, so it adds few."""


class LeastLoaded(Generic[C]):
    """Picks in O(1), changes in O(log loads), where `loads` is the number of different loads, not of candidates.

    Buckets are OrderedDicts, because a plain dict finds its first key by stepping over all the deleted ones.
    """

    __slots__ = ("_buckets", "_loads", "_places")

    def __init__(self) -> None:
        self._buckets: dict[float, OrderedDict[C, None]] = {}
        self._loads: list[float] = []
        self._places: dict[C, OrderedDict[C, None]] = {}

    def add(self, candidate: C) -> None:
        load = (candidate.in_flight_count + 1) / (candidate.weight * candidate.speed)
        bucket = self._buckets.get(load)
        if bucket is None:
            bucket = self._new_bucket(load)
        bucket[candidate] = None
        self._places[candidate] = bucket

    def remove(self, candidate: C) -> None:
        del self._places.pop(candidate)[candidate]

    def changed(self, candidate: C) -> None:
        places = self._places
        del places[candidate][candidate]
        load = (candidate.in_flight_count + 1) / (candidate.weight * candidate.speed)
        bucket = self._buckets.get(load)
        if bucket is None:
            bucket = self._new_bucket(load)
        bucket[candidate] = None
        places[candidate] = bucket

    def pick(self, affinity: str | None) -> C | None:
        loads = self._loads
        while loads:
            for candidate in self._buckets[loads[0]]:
                return candidate
            del self._buckets[heappop(loads)]
        return None

    def _new_bucket(self, load: float) -> OrderedDict[C, None]:
        if len(self._loads) > 2 * len(self._places) + EMPTY_BUCKETS_COUNT:
            self._buckets = {load: bucket for load, bucket in self._buckets.items() if bucket}
            self._loads = sorted(self._buckets)  # which is a heap
        bucket: OrderedDict[C, None] = OrderedDict()
        self._buckets[load] = bucket
        heappush(self._loads, load)
        return bucket
