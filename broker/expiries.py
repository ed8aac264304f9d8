"""What is due when, for things that are mostly rescheduled or removed before: logins that run out.

A heap, and the time that counts for each member. An entry that no longer agrees with it is dropped when it is reached,
or when there are more such entries than others. So nothing is scanned, and memory is bounded by the members.
"""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

STALE_COUNT_MIN: Final = 64
"""Entries that no longer count and may be left at any rate: to rebuild a small heap again and again is useless."""


class Expiries(Generic[T]):
    """The times of members, in seconds of one clock."""

    __slots__ = ("_at", "_heap", "_number")

    def __init__(self) -> None:
        self._at: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0
        """Orders entries of the same time, because members have no order."""

    def __len__(self) -> int:
        return len(self._at)

    @property
    def entries_count(self) -> int:
        """Entries of the heap, those that no longer count included: at most twice the members and STALE_COUNT_MIN."""
        return len(self._heap)

    def set(self, member: T, at: float) -> None:
        """`member` is due at `at`, and at no other time."""
        if self._at.get(member) == at:
            return
        self._at[member] = at
        self._number += 1
        heappush(self._heap, (at, self._number, member))
        self._drop_stale()

    def remove(self, member: T) -> None:
        """`member` is due at no time. It need not be a member."""
        self._at.pop(member, None)
        self._drop_stale()

    def is_due(self, now: float) -> bool:
        """Whether `pop` may have something to return."""
        return bool(self._heap) and self._heap[0][0] <= now

    def pop(self, now: float) -> T | None:
        """Remove and return a member that is due, the earliest first. None if none is."""
        while self._heap and self._heap[0][0] <= now:
            at, _, member = heappop(self._heap)
            if self._at.get(member) == at:
                del self._at[member]
                return member
        return None

    def _drop_stale(self) -> None:
        if len(self._heap) <= 2 * len(self._at) + STALE_COUNT_MIN:
            return
        self._heap = [(at, number, member) for number, (member, at) in enumerate(self._at.items())]
        self._number = len(self._heap)
        heapify(self._heap)
