"""Weighted random: any candidate, as likely as its weight says.

Source of the structure: Fenwick, "A New Data Structure for Cumulative Frequency Tables" (1994): prefix sums that can be
changed and searched in O(log n). Weights are held as integers, so that no rounding error builds up over years.
"""

from typing import Final, Generic

from .strategy import C, Chance

WEIGHT_SCALE: Final = 10_000
"""Integer units of weight 1. The lightest weight allowed, 0.01, is 100 of them, so steps of 1 % can be told apart."""


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
        units = max(1, round(candidate.weight * WEIGHT_SCALE))
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
        removed_units = self._units[index]
        self._total -= removed_units
        self._candidates[index] = last
        self._indexes[last] = index
        self._units[index] = last_units
        end = index + 1
        while end < len(self._sums):
            self._sums[end] += last_units - removed_units
            end += end & -end

    def changed(self, candidate: C) -> None:
        """Load does not matter here."""

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
