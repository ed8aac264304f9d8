"""When requests have to be checked, mostly because they expire: a timing wheel whose slots are made as needed.

Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987). Adding and removing cost one dict
operation each, whatever the number of requests; a heap with lazy deletion would keep millions of ended requests in
memory at a hundred thousand a second with 30 s timeouts.
"""

from heapq import heappop, heappush
from typing import Final

from ..request import Request

TICK_S: Final = 0.01
"""Width of a slot. A request is due at the end of its slot: never early, at most this much late."""

NEVER: Final = float("inf")

HORIZON_S: Final = 2.0**40
"""What is due later than this, or never, shares one slot: some 35,000 years after the clock's start."""

YOUNG_S: Final = 0.5
"""How long a request may live before it is put on the wheel. Nearly all have ended by then and cost it nothing."""


class Deadlines:
    """The `due_at` of all live requests.

    A request is young until the next check, unless it is due before that; if it is still live then, it goes on the
    wheel.
    """

    __slots__ = ("_look_at", "_slots", "_ticks", "_young", "next_at")

    def __init__(self) -> None:
        self._slots: dict[int, dict[Request, None]] = {}
        self._ticks: list[int] = []
        self._young: dict[Request, None] = {}
        self._look_at = 0.0
        self.next_at = NEVER
        """`due` need not be called before this time (seconds). There may turn out to be nothing due then."""

    @property
    def is_empty(self) -> bool:
        """No request is live."""
        return not self._young and not any(self._slots.values())

    def add(self, request: Request) -> None:
        """Watch `request.due_at`."""
        look_at = self._look_at
        if request.due_at <= look_at:
            self._put_on_wheel(request)
        else:
            self._young[request] = None
            if look_at < self.next_at:  # noqa: PLR1730  the hot path: a call of min() costs more
                self.next_at = look_at

    def remove(self, request: Request) -> None:
        """`request`, added before, has ended."""
        if request.due_tick:
            del self._slots[request.due_tick][request]
            request.due_tick = 0
        else:
            del self._young[request]

    def postpone(self, request: Request, by_s: float) -> None:
        """Move the deadline of `request`, added before, by `by_s`, and with it when it is due."""
        self.remove(request)
        request.deadline += by_s
        request.due_at += by_s
        self.add(request)

    def move(self, request: Request, deadline: float) -> None:
        """Give `request`, added before, another deadline, which is also when it is due."""
        self.remove(request)
        request.deadline = request.due_at = deadline
        self.add(request)

    def due(self, now: float) -> list[Request]:
        """The requests of the earliest slot that is due; none if no slot is. They stay until removed one by one."""
        if now >= self._look_at:
            for request in self._young:
                self._put_on_wheel(request)
            self._young = {}
            self._look_at = now + YOUNG_S
        due: list[Request] = []
        ticks = self._ticks
        while ticks and ticks[0] * TICK_S <= now:
            slot = self._slots[ticks[0]]
            if slot:
                due.extend(slot)
                break
            del self._slots[heappop(ticks)]
        self.next_at = ticks[0] * TICK_S if ticks else NEVER
        if self._young and self._look_at < self.next_at:
            self.next_at = self._look_at
        return due

    def _put_on_wheel(self, request: Request) -> None:
        tick = request.due_tick = int(min(request.due_at, HORIZON_S) / TICK_S) + 1
        if tick in self._slots:
            self._slots[tick][request] = None
            return
        self._slots[tick] = {request: None}
        heappush(self._ticks, tick)
        self.next_at = min(self.next_at, tick * TICK_S)
