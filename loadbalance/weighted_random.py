"""Weighted random: any candidate, with a probability in proportion to its weight.

Source of the structure: Fenwick, "A New Data Structure for Cumulative Frequency Tables" (1994): prefix sums that can be
changed and searched in O(log n).
"""

from typing import Generic

from .strategy import C, Chance
from .weight import units_of


class WeightedRandom(Generic[C]):
    """All calls O(log candidates)."""

    __slots__ = ("_candidates", "_chance", "_indexes", "_sums", "_total", "_units")

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._candidates: list[C] = []
        self._indexes: dict[C, int] = {}
        self._units: list[int] = []
        self._sums: list[int] = [0]
        """The Fenwick tree, counted from 1: entry i is the sum of the units of the i & -i candidates that end at i."""
        self._total = 0

    def add(self, candidate: C) -> None:
        units = units_of(candidate.weight)
        self._indexes[candidate] = len(self._candidates)
        self._candidates.append(candidate)
        self._units.append(units)
        end = len(self._candidates)
        below = end - 1
        subtotal = units
        while below > end - (end & -end):
            subtotal += self._sums[below]
            below -= below & -below
        self._sums.append(subtotal)
        self._total += units

    def remove(self, candidate: C) -> None:
        index = self._indexes.pop(candidate)
        last = self._candidates.pop()
        last_units = self._units.pop()
        self._sums.pop()
        if last is candidate:
            self._total -= last_units
            return
        self._candidates[index] = last
        self._indexes[last] = index
        self._total -= last_units
        self._set(index, last_units)

    def changed(self, candidate: C) -> None:
        self._set(self._indexes[candidate], units_of(candidate.weight))

    def pick(self, affinity: str | None) -> C | None:
        count = len(self._candidates)
        if not count:
            return None
        rest = int(self._chance() * self._total)
        position = 0
        step = 1 << (count.bit_length() - 1)
        while step:
            ahead = position + step
            if ahead <= count and self._sums[ahead] <= rest:
                position = ahead
                rest -= self._sums[ahead]
            step >>= 1
        return self._candidates[position]

    def _set(self, index: int, units: int) -> None:
        more = units - self._units[index]
        if not more:
            return
        self._units[index] = units
        self._total += more
        end = index + 1
        while end < len(self._sums):
            self._sums[end] += more
            end += end & -end
