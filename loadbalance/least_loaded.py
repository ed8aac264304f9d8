"""Least loaded: the candidate whose load would be lowest once it had taken the assignment.

Source: HAProxy `leastconn` and nginx `least_conn` divide connections by weight; ours counts the assignment about to be
made, (in flight + 1) / weight, so that among idle workers the heavier one goes first. The broker knows every in-flight
count, so this is exact, where balancers that see only a part must sample (Mitzenmacher, "The Power of Two Choices", 2001).

Candidates stand in buckets of equal load, first in first out, so that equals take turns. A heap holds the loads that
have a bucket: a pick looks at its top, a change moves one candidate between two buckets.
"""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import Generic

from .strategy import C


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
        load = (candidate.in_flight_count + 1) / candidate.weight
        bucket = self._buckets.get(load)
        if bucket is None:
            bucket = self._buckets[load] = OrderedDict()
            heappush(self._loads, load)
        bucket[candidate] = None
        self._places[candidate] = bucket

    def remove(self, candidate: C) -> None:
        del self._places.pop(candidate)[candidate]

    def changed(self, candidate: C) -> None:
        del self._places[candidate][candidate]
        self.add(candidate)

    def pick(self, affinity: str | None) -> C | None:
        loads = self._loads
        while loads:
            bucket = self._buckets[loads[0]]
            if bucket:
                return next(iter(bucket))
            del self._buckets[heappop(loads)]
        return None
