"""One subscriber: what waits for it, and what was dropped because it did not take it."""

from typing import Final, Literal, Protocol

from ...protocol.encodings import Encoding
from ...protocol.topic_messages import GapMessage, Loss
from .bounds import WAITING_COUNT_MAX, WAITING_SIZE_BYTES_MAX
from .channel import Channel
from .event import Offer

SLOW: Final = "slow"
NOT_REPRESENTABLE: Final = "not_representable"
LossReason = Literal["slow", "not_representable"]


NEVER: Final = 2**61
"""In place of an offset: higher than any. From 2**62 on, a compiled integer is an object."""


class SubscriberPort(Protocol):
    """The way to one subscriber. Must not block, nor call back into the hub."""

    @property
    def encoding(self) -> Encoding:
        """The encoding of its messages."""

    @property
    def has_room(self) -> bool:
        """Its peer takes what is sent; what was sent before does not wait for it."""

    def send(self, payload: bytes) -> object:
        """Send one message."""

    def close_slow(self, reason: str) -> None:
        """Close it: it has taken nothing for too long. `reason` is for people."""


class Subscriber:
    """`channels`: those that it has subscribed to, each with the offset from which on it gets their events.
    `stalled_since`: when it was first found that its peer takes nothing, None if it does."""

    __slots__ = ("_waiting", "channels", "has_lost", "losses", "port", "size_bytes", "stalled_since")

    def __init__(self, port: SubscriberPort) -> None:
        self.port = port
        self.channels: dict[Channel, int] = {}
        self.stalled_since: float | None = None
        self.has_lost = False
        """Events were dropped since it was stalled."""
        self.losses: dict[tuple[str, LossReason], tuple[int, int, int]] = {}
        """By topic or pattern and reason: how many events were dropped, the offset of the last, and its time; not yet
        sent."""
        self.size_bytes = 0
        self._waiting: dict[int | str, tuple[Offer, Channel]] = {}
        """By offset, or by what it is the latest of; in order of offsets."""

    @property
    def waiting_count(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    @property
    def has_something(self) -> bool:
        """Events wait, or it has to be notified of a loss."""
        return bool(self._waiting) or bool(self.losses)

    @property
    def offset_before(self) -> int:
        """The offset before that of the first event that waits; NEVER if none does."""
        for offer, _ in self._waiting.values():
            return offer.event.offset - 1
        return NEVER

    @property
    def is_full(self) -> bool:
        """More waits than may."""
        return len(self._waiting) > WAITING_COUNT_MAX or (
            self.size_bytes > WAITING_SIZE_BYTES_MAX and len(self._waiting) > 1
        )

    def add(self, offer: Offer, channel: Channel) -> bool:
        """Let an event wait, of which `channel` is one. False if it has replaced an earlier one."""
        event = offer.event
        key: int | str = event.offset
        replaced: tuple[Offer, Channel] | None = None
        if event.latest_of is not None:
            key = event.latest_of
            replaced = self._waiting.pop(key, None)
            if replaced is not None:
                self.size_bytes -= replaced[0].event.size_bytes
        self._waiting[key] = (offer, channel)
        self.size_bytes += event.size_bytes
        return replaced is None

    def drop_oldest(self) -> None:
        """Drop what has waited longest, and note it."""
        offer, channel = self._waiting.pop(next(iter(self._waiting)))
        self.size_bytes -= offer.event.size_bytes
        self.has_lost = True
        self.lose(offer, channel, SLOW)

    def lose(self, offer: Offer, channel: Channel, reason: LossReason) -> None:
        """Note an event that it does not get."""
        key = (channel.pattern, reason)
        count = self.losses[key][0] if key in self.losses else 0
        self.losses[key] = (count + 1, offer.event.offset, offer.event.timestamp_ms)

    def take(self, count_max: int) -> list[tuple[Offer, Channel]]:
        """What has waited longest, at most so many; it waits no more."""
        waiting = self._waiting
        if len(waiting) <= count_max:
            taken = list(waiting.values())
            waiting.clear()
            self.size_bytes = 0
            return taken
        keys = [key for key, _ in zip(waiting, range(count_max), strict=False)]
        taken = [waiting.pop(key) for key in keys]
        self.size_bytes -= sum(offer.event.size_bytes for offer, _ in taken)
        return taken

    def take_losses(self) -> list[GapMessage]:
        """What it has to be notified of, once."""
        losses, self.losses = self.losses, {}
        return [
            GapMessage(pattern, offset, timestamp_ms, Loss(count, reason))
            for (pattern, reason), (count, offset, timestamp_ms) in losses.items()
        ]
