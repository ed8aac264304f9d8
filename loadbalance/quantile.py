"""A quantile of whole numbers that come and go one at a time, always up to date."""

from bisect import bisect_left, bisect_right, insort
from typing import Final

SPARE_NUMBERS_COUNT: Final = 64
"""Numbers kept though their count is 0, in addition to as many as there are numbers in: in-flight counts recur all the
time."""


class RunningQuantile:
    """The number at the share `quantile`, in [0, 1), of all numbers in, in ascending order.

    One number more or less moves that position by at most one, so it is followed step by step over the distinct
    numbers: in-flight counts are few and close together. Every call is O(1), apart from a binary search among those for
    a number that is new.
    """

    __slots__ = ("_below_count", "_counts", "_numbers", "_quantile", "_total", "_value")

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._counts: dict[int, int] = {}
        """How often each number is in; 0 for those only kept."""
        self._numbers: list[int] = []
        """The keys of `_counts`, sorted."""
        self._total = 0
        self._value = 0
        self._below_count = 0
        """How many of the numbers in are below `_value`."""

    def add(self, number: int) -> None:
        """Add `number` once."""
        counts = self._counts
        if number in counts:
            counts[number] += 1
        else:
            self._remember(number)
        self._total += 1
        if number < self._value:
            self._below_count += 1

    def remove(self, number: int) -> None:
        """Remove `number`, which is in, once."""
        self._counts[number] -= 1
        self._total -= 1
        if number < self._value:
            self._below_count -= 1

    def change(self, before: int, after: int) -> None:
        """The same as `remove(before)` and `add(after)`."""
        counts = self._counts
        counts[before] -= 1
        if after in counts:
            counts[after] += 1
        else:
            self._remember(after)
        value = self._value
        if before < value:
            self._below_count -= 1
        if after < value:
            self._below_count += 1

    def value(self) -> int:
        """The quantile; at least one number must be in."""
        rank = int(self._quantile * self._total)
        counts = self._counts
        while rank < self._below_count:
            self._value = self._numbers[bisect_left(self._numbers, self._value) - 1]
            self._below_count -= counts[self._value]
        while rank >= (up_to_count := self._below_count + counts.get(self._value, 0)):
            self._below_count = up_to_count
            self._value = self._numbers[bisect_right(self._numbers, self._value)]
        return self._value

    def _remember(self, number: int) -> None:
        if len(self._numbers) > 2 * self._total + SPARE_NUMBERS_COUNT:
            self._counts = {number: count for number, count in self._counts.items() if count}
            self._numbers = sorted(self._counts)
        self._counts[number] = 1
        insort(self._numbers, number)
