"""A topic or pattern that somebody has subscribed to: its subscribers, and the ring of its last events."""

from collections import deque
from typing import TYPE_CHECKING

from .bounds import RING_COUNT_MAX, RING_S_MAX, RING_SIZE_BYTES_MAX
from .event import Offer

if TYPE_CHECKING:
    from .subscriber import Subscriber


class Channel:
    """`whole_since`: all events of it with a higher offset are in its ring. `size_bytes`: of the ring."""

    __slots__ = ("_ring", "pattern", "size_bytes", "subscribers", "whole_since")

    def __init__(self, pattern: str, offset: int) -> None:
        """`offset`: that of the last event before it was made."""
        self.pattern = pattern
        self.whole_since = offset
        self.size_bytes = 0
        self.subscribers: dict[Subscriber, None] = {}
        self._ring: deque[tuple[float, Offer]] = deque()

    def keep(self, offer: Offer, now: float) -> None:
        """Add an event, and drop those that are too many, too large, or too old."""
        self._ring.append((now, offer))
        self.size_bytes += offer.event.size_bytes
        while len(self._ring) > RING_COUNT_MAX or self.size_bytes > RING_SIZE_BYTES_MAX:
            self.drop_oldest()
        self.drop_old(now)

    def drop_old(self, now: float) -> None:
        """Drop what is too old."""
        ring = self._ring
        while ring and now - ring[0][0] > RING_S_MAX:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Drop one event; there must be one."""
        event = self._ring.popleft()[1].event
        self.size_bytes -= event.size_bytes
        self.whole_since = event.offset

    def after(self, offset: int) -> list[Offer]:
        """The events of the ring with a higher offset, in order."""
        return [offer for _, offer in self._ring if offer.event.offset > offset]

    def __len__(self) -> int:
        return len(self._ring)
