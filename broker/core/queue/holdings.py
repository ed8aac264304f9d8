"""Which of many parties holds most of what is short.

Exact, and cheap while nobody asks: a party is noted with a bound that is at least what it holds, and noted again only
when it holds more than that. Whoever asks corrects the bounds that come first, until one is what its party holds. Each
correction is paid for by an earlier note, so both are O(log n), amortised.
"""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Generic, TypeVar

BOUND_MIN: Final = 16
"""The lowest bound, so that small amounts cause no notes."""

NOTES_COUNT_MIN: Final = 32
"""Notes that are kept in any case. Whenever there are twice as many as at the last time, those that are outdated, or of
parties that hold nothing, are dropped."""

Owner = TypeVar("Owner")


class Holding(Generic[Owner]):
    """`owner` holds `amount`. `bound` and `note`: see above; a `note` of 0 is none."""

    __slots__ = ("amount", "bound", "note", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.amount = 0
        self.bound = 0
        self.note = 0


class Holdings(Generic[Owner]):
    """Of the same thing, by many owners."""

    __slots__ = ("_heap", "_note", "_notes_count_max")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Holding[Owner]]] = []
        self._note = 0
        self._notes_count_max = NOTES_COUNT_MIN

    def add(self, holding: Holding[Owner], amount: int) -> None:
        """Its owner holds so much more."""
        holding.amount += amount
        if holding.amount > holding.bound:
            holding.bound = max(2 * holding.amount, BOUND_MIN)
            self._note += 1
            holding.note = self._note
            heappush(self._heap, (-holding.bound, holding.note, holding))
            if len(self._heap) > self._notes_count_max:
                self._tidy()

    def most(self) -> Holding[Owner] | None:
        """The largest; of equals, any. None if all are 0."""
        heap = self._heap
        while heap:
            bound, note, holding = heap[0]
            if note != holding.note:
                heappop(heap)
            elif not holding.amount:
                heappop(heap)
                holding.bound = holding.note = 0
            elif -bound == holding.amount:
                return holding
            else:
                self._note += 1
                holding.bound, holding.note = holding.amount, self._note
                heapreplace(heap, (-holding.bound, holding.note, holding))
        return None

    def _tidy(self) -> None:
        kept: list[tuple[int, int, Holding[Owner]]] = []
        for entry in self._heap:
            holding = entry[2]
            if entry[1] == holding.note:
                if holding.amount:
                    kept.append(entry)
                else:
                    holding.bound = holding.note = 0
        heapify(kept)
        self._heap = kept
        self._notes_count_max = 2 * len(kept) + NOTES_COUNT_MIN


class Holder(Generic[Owner]):
    """What one owner has waiting: `count` requests with `size_bytes` of data."""

    __slots__ = ("count", "size_bytes")

    def __init__(self, owner: Owner) -> None:
        self.count = Holding(owner)
        self.size_bytes = Holding(owner)

    def amount(self, *, by_size: bool) -> int:
        """By either measure."""
        return self.size_bytes.amount if by_size else self.count.amount

    def remove(self, size_bytes: int) -> None:
        """One of the requests waits no more."""
        self.count.amount -= 1
        self.size_bytes.amount -= size_bytes


class Holders(Generic[Owner]):
    """All owners of one kind, and which of them has most, by either measure."""

    __slots__ = ("_counts", "_sizes")

    def __init__(self) -> None:
        self._counts: Holdings[Owner] = Holdings()
        self._sizes: Holdings[Owner] = Holdings()

    def add(self, holder: Holder[Owner], size_bytes: int) -> None:
        """One more request of its owner waits."""
        self._counts.add(holder.count, 1)
        self._sizes.add(holder.size_bytes, size_bytes)

    def most(self, *, by_size: bool) -> Holding[Owner] | None:
        """What the one with most has; None if none has any."""
        return self._sizes.most() if by_size else self._counts.most()
