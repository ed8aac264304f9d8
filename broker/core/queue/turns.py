"""Whose turn it is among parties that wait for the same slots: shares in the long run, a lead in the short run.

The rule is Borrowed Virtual Time (Duda and Cheriton, SOSP 1999). Each party has a clock, and a turn moves it by the
time in which the party should get one turn: the usual time between two turns of all, times all weights, divided by its
own. So the mean of the clocks follows real time, and where all clocks go forward alike, each party gets its share. Next
is the party whose clock, put back by the lead of its priority, is earliest. A lead is borrowed: its party goes first
until its clock is ahead of the others by the lead, and from there on gets its share and no more. So a flood of the
highest priority delays others by its lead, once, and starves none. The weights are Linux's: one nice level is worth a
quarter more (`sched_prio_to_weight`)."""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Generic, TypeVar

from ....protocol.limits import PRIORITY_MAX

PRIORITY_STEP_S: Final = 1.0
"""The lead of one priority class. Far more than a normal wait, so that priorities have an effect; far less than a
normal timeout, so that the lowest class is served before it expires."""

WEIGHTS: Final = tuple(round(100 * 1.25**priority) for priority in range(PRIORITY_MAX + 1))
"""By priority, whole numbers, so that their sum stays exact: from 100 to 745."""

SMOOTHING: Final = 0.25
"""The part of the latest time between two turns in the usual one. Being a share of what has passed, all charges
together are the time that has passed."""

STALE_COUNT_MIN: Final = 32
"""Outdated entries of the heap that are kept in any case; beyond it, as many as there are parties."""

Party = TypeVar("Party")
Other = TypeVar("Other")


class Turn(Generic[Party]):
    """The place of one party. `clock` is in seconds of the caller's clock; `entry` numbers its entry in the heap."""

    __slots__ = ("clock", "entry", "party", "priority")

    def __init__(self, party: Party) -> None:
        self.party = party
        self.clock = 0.0
        self.priority = 0
        self.entry = 0

    @property
    def rank(self) -> float:
        """Lower is sooner."""
        return self.clock - self.priority * PRIORITY_STEP_S


class Turns(Generic[Party]):
    """`count` parties wait. All methods are O(log count), amortised."""

    __slots__ = ("_entry", "_heap", "_interval_s", "_served_at", "_weight", "count")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Turn[Party]]] = []
        self._entry = 0
        self._weight = 0
        self._interval_s = 0.0
        self._served_at = 0.0
        self.count = 0

    def enter(self, turn: Turn[Party], priority: int, since: float, now: float) -> None:
        """A party waits from here on, and has since `since`. What it had borrowed before is forgotten."""
        if not self.count:
            self._interval_s = 0.0
            self._served_at = now
        elif self.count == 1:
            self._push(self.first())
        self.count += 1
        self._weight += WEIGHTS[priority]
        # By so much the clocks of the others lag behind what has passed.
        turn.clock = since - self._interval_s * (1.0 - SMOOTHING) / SMOOTHING
        turn.priority = priority
        self._push(turn)

    def leave(self, turn: Turn[Party]) -> None:
        """A party waits no more."""
        self.count -= 1
        self._weight -= WEIGHTS[turn.priority]
        turn.entry = 0
        if not self.count:
            self._heap.clear()

    def first(self) -> Turn[Party]:
        """The party whose turn it is; there is at least one."""
        heap = self._heap
        while heap[0][1] != heap[0][2].entry:
            heappop(heap)
        return heap[0][2]

    def served(self, turn: Turn[Party], now: float) -> None:
        """The first party takes its turn. Call `place` or `leave` next."""
        self._interval_s += (now - self._served_at - self._interval_s) * SMOOTHING
        self._served_at = now
        turn.clock += self._interval_s * self._weight / WEIGHTS[turn.priority]

    def place(self, turn: Turn[Party], priority: int) -> None:
        """Give a party its place again: its clock or its priority has changed. Of equals, it is the last."""
        self._weight += WEIGHTS[priority] - WEIGHTS[turn.priority]
        turn.priority = priority
        if self.count > 1:  # one that is alone is the first in any case
            self._push(turn)

    def copy(self, turn_of: "dict[Turn[Party], Turn[Other]]") -> "Turns[Other]":
        """The same turns of other parties: `turn_of` has the one for each of these."""
        copied: Turns[Other] = Turns()
        copied.count, copied._weight = self.count, self._weight
        copied._interval_s, copied._served_at = self._interval_s, self._served_at
        for _, entry, turn in sorted(self._heap):
            if entry == turn.entry:
                other = turn_of[turn]
                other.clock, other.priority = turn.clock, turn.priority
                copied._push(other)
        return copied

    def _push(self, turn: Turn[Party]) -> None:
        heap = self._heap
        self._entry += 1
        entry = (turn.clock - turn.priority * PRIORITY_STEP_S, self._entry, turn)
        is_first = bool(heap) and heap[0][2] is turn
        turn.entry = self._entry
        if is_first:
            heapreplace(heap, entry)
            return
        heappush(heap, entry)
        if len(heap) > 2 * self.count + STALE_COUNT_MIN:
            self._heap = [kept for kept in heap if kept[1] == kept[2].entry]
            heapify(self._heap)
