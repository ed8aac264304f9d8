"""When requests expire: a timing wheel whose slots are made as they are needed.

Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987). Adding and removing cost one dict
operation each, whatever the number of requests; a heap with lazy deletion would keep millions of ended requests in
memory at a hundred thousand a second with 30 s timeouts. Knows no clock: time is handed in.
"""

from heapq import heappop, heappush
from typing import Final

from .request import Request

TICK_S: Final = 0.01
"""Width of a slot. A request expires at the end of its slot: never early, at most this much late."""

NEVER: Final = float("inf")


class Deadlines:
    """The deadlines of all live requests."""

    __slots__ = ("_slots", "_ticks", "next_at")

    def __init__(self) -> None:
        self._slots: dict[int, dict[Request, None]] = {}
        self._ticks: list[int] = []
        self.next_at = NEVER
        """No request expires before this time (seconds); it may be one at which nothing does."""

    @property
    def is_empty(self) -> bool:
        """No request is watched over."""
        return not any(self._slots.values())

    def add(self, request: Request) -> None:
        """Watch over `request.deadline`."""
        tick = request.deadline_tick = int(request.deadline / TICK_S) + 1
        if tick in self._slots:
            self._slots[tick][request] = None
            return
        self._slots[tick] = {request: None}
        heappush(self._ticks, tick)
        self.next_at = self._ticks[0] * TICK_S

    def remove(self, request: Request) -> None:
        """`request`, added before, has ended."""
        slot = self._slots[request.deadline_tick]
        del slot[request]
        if not slot:
            slot.clear()  # gives back the table of a dict that was large once

    def expired(self, now: float) -> list[Request]:
        """The requests whose time is up, oldest slot first. They stay until removed one by one."""
        expired: list[Request] = []
        ticks = self._ticks
        while ticks and ticks[0] * TICK_S <= now:
            slot = self._slots[ticks[0]]
            if slot:
                expired.extend(slot)
                break
            del self._slots[heappop(ticks)]
        self.next_at = ticks[0] * TICK_S if ticks else NEVER
        return expired
