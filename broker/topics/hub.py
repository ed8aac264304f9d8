"""The hub: what is published comes in, and goes to each subscriber of one of its topics once, in order.

Each event gets the next offset. A subscriber that comes back says how far it had got, and gets what it has missed from
the rings of its topics, or hears that there is a gap. One that does not take what it is sent holds nobody up: its
progress is conflated, then the oldest events are dropped, of which it is told, then it is closed.

Events for one subscriber are joined: the first after a quiet time is sent with the turn, the next ones together. Calls
take `now` (seconds, monotonic), which must not go backwards, and must not be nested.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Raw

from ...protocol import errors
from ...protocol.codec import CODECS
from ...protocol.encodings import Encoding
from ...protocol.limits import TOPICS_COUNT_MAX
from ...protocol.topic_messages import (
    BatchMessage,
    Position,
    Recovery,
    Since,
    Subscribe,
    Subscribed,
    TopicNames,
    Unsubscribe,
    Unsubscribed,
)
from .bounds import (
    LOOK_INTERVAL_S,
    RING_S_MAX,
    RINGS_SIZE_BYTES_MAX,
    STALLED_S_MAX,
    STALLED_SIZE_BYTES_MAX,
    SUBSCRIBERS_COUNT_MAX,
    TopicSettings,
)
from .channel import Channel
from .channels import Channels
from .counts import TopicCounts
from .event import Event, Offer
from .sources import Source, sources_of
from .subscriber import NEVER as NO_OFFSET
from .subscriber import NOT_REPRESENTABLE, Subscriber, SubscriberPort

NEVER: Final = float("inf")

RETRY_S_MIN: Final = 0.05
"""How soon a subscriber that takes nothing is tried again, if events are not joined at all."""


class Hub:
    """`epoch`: random, so that offsets of an earlier run of the broker are not taken for new ones. `offset`: that of
    the last event. `wanted`: the sources that somebody has subscribed to; `changed` is called when these change. After
    each turn in which `is_ready`, call `flush`; call `advance` at `next_at`."""

    __slots__ = (
        "_batch",
        "_batch_payloads",
        "_changed",
        "_channels",
        "_lingering",
        "_look_at",
        "_ready",
        "_resting",
        "_rings_size_bytes",
        "_source_counts",
        "_stalled_size_bytes",
        "counts",
        "epoch",
        "offset",
        "settings",
        "subscribers",
    )

    def __init__(self, epoch: str, settings: TopicSettings, changed: Callable[[], None]) -> None:
        self.epoch = epoch
        self.offset = 0
        self.settings = settings
        self.counts = TopicCounts()
        self.subscribers: dict[Subscriber, None] = {}
        self._changed = changed
        self._channels = Channels()
        self._lingering: dict[Channel, float] = {}
        """Channels without subscribers, and since when, in that order."""
        self._ready: dict[Subscriber, None] = {}
        self._resting: dict[Subscriber, float] = {}
        """To whom something was sent, or tried to be, a moment ago, and when, in that order."""
        self._batch: list[tuple[Offer, Channel]] = []
        """What was sent last, since most subscribers of a topic are sent the same; and its message, by encoding."""
        self._batch_payloads: dict[Encoding, bytes] = {}
        self._rings_size_bytes = 0
        self._stalled_size_bytes = 0
        self._source_counts: dict[Source, int] = dict.fromkeys(Source, 0)
        self._look_at = NEVER

    # --- what is asked of it ----------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Something is to be sent at the end of this turn."""
        return bool(self._ready)

    @property
    def next_at(self) -> float:
        """When to call `advance` next."""
        for sent_at in self._resting.values():
            return min(self._look_at, sent_at + self._rest_s)
        return self._look_at

    @property
    def channels_count(self) -> int:
        """Topics and patterns that there are subscriptions to, or were a minute ago."""
        return len(self._channels.all)

    @property
    def kept_size_bytes(self) -> int:
        """All rings together."""
        return self._rings_size_bytes

    @property
    def stalled_size_bytes(self) -> int:
        """What waits for all that take nothing."""
        return self._stalled_size_bytes

    def wants(self, source: Source) -> bool:
        """There is a subscription that this source has events for, or was one in the last minute."""
        return self._source_counts[source] > 0

    def has_topic(self, topic: str) -> bool:
        """An event of this topic would be sent, or kept."""
        return bool(self._channels.of(topic))

    # --- subscribers ------------------------------------------------------------------------------------------------

    def join(self, port: SubscriberPort) -> Subscriber:
        """A connection wants to subscribe to something. Raises Overloaded."""
        if len(self.subscribers) >= SUBSCRIBERS_COUNT_MAX:
            raise errors.Overloaded(f"{SUBSCRIBERS_COUNT_MAX} connections subscribe (SUBSCRIBERS_COUNT_MAX)")
        subscriber = Subscriber(port)
        self.subscribers[subscriber] = None
        return subscriber

    def leave(self, subscriber: Subscriber, now: float) -> None:
        """Its connection has closed. May be called again."""
        if subscriber not in self.subscribers:
            return
        del self.subscribers[subscriber]
        self._ready.pop(subscriber, None)
        self._resting.pop(subscriber, None)
        if subscriber.stalled_since is not None:
            self._stalled_size_bytes -= subscriber.size_bytes
        for channel in subscriber.channels:
            self._leave(channel, subscriber, now)
        subscriber.channels.clear()

    def subscribe(self, subscriber: Subscriber, message: Subscribe, now: float, timestamp_ms: int) -> None:
        """Send it the events of these topics, after the answer. Raises Overloaded; nothing has changed then."""
        if subscriber.waiting_count:
            self._send(subscriber, now)
        patterns = list(dict.fromkeys(message.data.topics))
        own = {channel.pattern: channel for channel in subscriber.channels}
        count = len(own) + sum(pattern not in own for pattern in patterns)
        if count > TOPICS_COUNT_MAX:
            raise errors.Overloaded(f"topics: {count}, at most {TOPICS_COUNT_MAX} (TOPICS_COUNT_MAX)")
        lack = self._channels.lack_of_room(patterns)
        if lack is not None:
            raise errors.Overloaded(f"topics: {lack}")
        since = message.data.since
        before = dict(subscriber.channels)
        recovery: dict[str, Recovery] = {}
        missed: dict[int, tuple[Offer, Channel]] = {}
        for pattern in patterns:
            channel = own.get(pattern) or self._joined(pattern, subscriber)
            offset = before.get(channel, self.offset)
            if since is not None:
                if self._is_whole(channel, since, before):
                    recovery[pattern] = "recovered"
                    for offer in channel.after(since.offset):
                        missed[offer.event.offset] = (offer, channel)
                    offset = min(offset, since.offset)
                else:
                    recovery[pattern] = "gap"
            subscriber.channels[channel] = offset
        self.counts.recovered_count += sum(told == "recovered" for told in recovery.values())
        self.counts.unrecovered_count += sum(told == "gap" for told in recovery.values())
        missed = {
            offset: pair for offset, pair in missed.items() if not self._was_sent(pair[0].event, before)
        }
        # Below all that is still to be sent: it may say so if the connection is lost meanwhile.
        offset = min([self.offset, subscriber.offset_before, *[one - 1 for one in missed]])
        position = Position(patterns, self.epoch, offset, recovery)
        self._answer(subscriber, Subscribed(message.id, timestamp_ms, position))
        self._send_missed(subscriber, missed, now)

    def unsubscribe(
        self, subscriber: Subscriber, message: Unsubscribe, now: float, timestamp_ms: int
    ) -> None:
        """Send it no more events of these topics; those that it has not subscribed to are ignored."""
        own = {channel.pattern: channel for channel in subscriber.channels}
        left = [own[pattern] for pattern in dict.fromkeys(message.data.topics) if pattern in own]
        for channel in left:
            del subscriber.channels[channel]
        self._change(subscriber, lambda: self._unwait(subscriber))
        for channel in left:
            self._leave(channel, subscriber, now)
        self._answer(
            subscriber, Unsubscribed(message.id, timestamp_ms, TopicNames([one.pattern for one in left]))
        )

    # --- events -----------------------------------------------------------------------------------------------------

    def publish(  # noqa: PLR0917  an event is all of these
        self,
        type: str,
        topics: tuple[str, ...],
        data: Raw,
        encoding: Encoding,
        now: float,
        timestamp_ms: int,
        latest_of: str | None = None,
    ) -> int | None:
        """Something has happened. See Event. Returns its offset; None if nobody has subscribed to any of its topics."""
        found: dict[Channel, str] = {}
        for topic in topics:
            for channel in self._channels.of(topic):
                found.setdefault(channel, topic)
        if not found:
            return None
        self.offset = offset = self.offset + 1
        self.counts.published_count += 1
        event = Event(f"{self.epoch}-{offset}", offset, type, topics, data, encoding, timestamp_ms, latest_of)
        seen: set[Subscriber] | None = set() if len(found) > 1 else None
        offers = {topic: Offer(event, topic) for topic in found.values()}
        for channel, topic in found.items():
            offer = offers[topic]
            self._keep(channel, offer, now)
            for subscriber in channel.subscribers:
                if seen is not None:
                    if subscriber in seen:
                        continue
                    seen.add(subscriber)
                self._offer(subscriber, offer, channel, now)
        return offset

    def flush(self, now: float) -> None:
        """Send what is ready."""
        ready, self._ready = self._ready, {}
        for subscriber in ready:
            self._send(subscriber, now)
        self._forget_batch()

    def advance(self, now: float) -> None:
        """Send what has waited long enough, close who takes nothing, and drop what is too old."""
        rest_s = self._rest_s
        resting = self._resting
        # Not one by one: to find the first of a dict takes longer with each that was removed before it.
        due: list[Subscriber] = []
        for subscriber, sent_at in resting.items():
            if now < sent_at + rest_s:
                break
            due.append(subscriber)
        for subscriber in due:
            del resting[subscriber]
            if not subscriber.has_something:
                subscriber.stalled_since = None  # what waited is not wanted any more
                continue
            if self._is_lost(subscriber, now):
                self._close(subscriber, now)
            else:
                self._ready.pop(subscriber, None)
                self._send(subscriber, now)
        if due:
            self._forget_batch()
        if now >= self._look_at:
            self._look(now)

    # --- inside: channels -------------------------------------------------------------------------------------------

    @property
    def _rest_s(self) -> float:
        return self.settings.batch_s or RETRY_S_MIN

    def _joined(self, pattern: str, subscriber: Subscriber) -> Channel:
        channel = self._channels.all.get(pattern)
        if channel is None:
            # What happened before was not counted. So whoever had it earlier, and comes back, has a lower offset.
            self.offset += 1
            channel = self._channels.add(pattern, self.offset)
            self._count_sources(pattern, 1)
        self._lingering.pop(channel, None)
        channel.subscribers[subscriber] = None
        return channel

    def _leave(self, channel: Channel, subscriber: Subscriber, now: float) -> None:
        del channel.subscribers[subscriber]
        if not channel.subscribers:
            self._lingering[channel] = now
            self._look_at = min(self._look_at, now + LOOK_INTERVAL_S)

    def _count_sources(self, pattern: str, by: int) -> None:
        is_changed = False
        for source in sources_of(pattern):
            before = self._source_counts[source]
            self._source_counts[source] = before + by
            is_changed |= not before or not before + by
        if is_changed:
            self._changed()

    def _keep(self, channel: Channel, offer: Offer, now: float) -> None:
        before = channel.size_bytes
        channel.keep(offer, now)
        self._rings_size_bytes += channel.size_bytes - before
        while self._rings_size_bytes > RINGS_SIZE_BYTES_MAX and len(channel) > 1:
            self._rings_size_bytes -= channel.size_bytes
            channel.drop_oldest()
            self._rings_size_bytes += channel.size_bytes
        self._look_at = min(self._look_at, now + LOOK_INTERVAL_S)

    def _look(self, now: float) -> None:
        for channel in self._channels:
            before = channel.size_bytes
            channel.drop_old(now)
            self._rings_size_bytes += channel.size_bytes - before
        while self._lingering:
            channel, since = next(iter(self._lingering.items()))
            if now - since <= RING_S_MAX:
                break
            del self._lingering[channel]
            self._rings_size_bytes -= channel.size_bytes
            self._channels.remove(channel)
            self._count_sources(channel.pattern, -1)
        self._look_at = now + LOOK_INTERVAL_S if self._rings_size_bytes or self._lingering else NEVER

    # --- inside: who comes back -------------------------------------------------------------------------------------

    def _is_whole(self, channel: Channel, since: Since, before: dict[Channel, int]) -> bool:
        """All events of it after `since` are in the ring, or were sent on this connection."""
        if since.epoch != self.epoch or since.offset > self.offset:
            return False
        return since.offset >= min(channel.whole_since, before.get(channel, channel.whole_since))

    def _send_missed(
        self, subscriber: Subscriber, missed: dict[int, tuple[Offer, Channel]], now: float
    ) -> None:
        """Send events that it missed, in order with what waits already."""
        if not missed:
            return
        before = subscriber.size_bytes
        for offer, channel in subscriber.take(subscriber.waiting_count):
            missed[offer.event.offset] = (offer, channel)
        if subscriber.stalled_since is not None:
            self._stalled_size_bytes -= before
        for offset in sorted(missed):
            self._offer(subscriber, *missed[offset], now)

    def _was_sent(self, event: Event, before: dict[Channel, int]) -> bool:
        """On this connection, because of what it had subscribed to `before`; or it waits for that."""
        return any(
            event.offset > before.get(channel, self.offset)
            for topic in event.topics
            for channel in self._channels.of(topic)
        )

    def _unwait(self, subscriber: Subscriber) -> None:
        """Drop what waits only because of what it has left."""
        channels = subscriber.channels
        for offer, channel in subscriber.take(subscriber.waiting_count):
            if channel in channels:
                subscriber.add(offer, channel)
                continue
            event = offer.event
            for topic in event.topics:
                others = [
                    one for one in self._channels.of(topic) if event.offset > channels.get(one, NO_OFFSET)
                ]
                if others:
                    subscriber.add(Offer(event, topic), others[0])
                    break
        patterns = {channel.pattern for channel in channels}
        for loss in [loss for loss in subscriber.losses if loss[0] not in patterns]:
            del subscriber.losses[loss]

    # --- inside: sending --------------------------------------------------------------------------------------------

    def _offer(self, subscriber: Subscriber, offer: Offer, channel: Channel, now: float) -> None:
        before = subscriber.size_bytes
        if not subscriber.add(offer, channel):
            self.counts.conflated_count += 1
        if subscriber.stalled_since is not None:
            self._stalled_size_bytes += subscriber.size_bytes - before
            while subscriber.waiting_count > 1 and (
                subscriber.is_full or self._stalled_size_bytes > STALLED_SIZE_BYTES_MAX
            ):
                self._drop_oldest(subscriber)
            return
        if subscriber not in self._resting or subscriber.waiting_count >= self.settings.batch_count_max:
            self._ready[subscriber] = None
        if subscriber.is_full:
            self._send(subscriber, now)
            while subscriber.is_full:
                self._drop_oldest(subscriber)

    def _drop_oldest(self, subscriber: Subscriber) -> None:
        self._change(subscriber, subscriber.drop_oldest)
        self.counts.dropped_count += 1

    def _change(self, subscriber: Subscriber, change: Callable[[], None]) -> None:
        """Do something to what waits for it."""
        before = subscriber.size_bytes
        change()
        if subscriber.stalled_since is not None:
            self._stalled_size_bytes += subscriber.size_bytes - before

    def _send(self, subscriber: Subscriber, now: float) -> None:
        """Send what waits, as long as there is room."""
        port = subscriber.port
        if not port.has_room:
            if subscriber.stalled_since is None:
                subscriber.stalled_since = now
                self._stalled_size_bytes += subscriber.size_bytes
            self._rest(subscriber, now)
            return
        if subscriber.stalled_since is not None:
            subscriber.stalled_since = None
            subscriber.has_lost = False
            self._stalled_size_bytes -= subscriber.size_bytes
        while subscriber.has_something and port.has_room:
            if subscriber.losses:
                self._send_losses(subscriber)
            else:
                self._send_batch(subscriber, subscriber.take(self.settings.batch_count_max))
        if self.settings.batch_s or subscriber.has_something:
            self._rest(subscriber, now)

    def _rest(self, subscriber: Subscriber, now: float) -> None:
        self._resting.pop(subscriber, None)
        self._resting[subscriber] = now

    def _send_batch(self, subscriber: Subscriber, batch: list[tuple[Offer, Channel]]) -> None:
        port = subscriber.port
        encoding = port.encoding
        is_last = batch == self._batch
        payload = self._batch_payloads.get(encoding) if is_last else None
        if payload is not None:
            self.counts.delivered_count += len(batch)
            port.send(payload)
            return
        payloads: list[bytes] = []
        for offer, channel in batch:
            single = offer.payload(encoding)
            if single is None:
                subscriber.lose(offer, channel, NOT_REPRESENTABLE)
                self.counts.dropped_count += 1
            else:
                payloads.append(single)
        if not payloads:
            return
        self.counts.delivered_count += len(payloads)
        payload = payloads[0]
        if len(payloads) > 1:
            payload = CODECS[encoding].encode(BatchMessage([Raw(one) for one in payloads]))
        if len(payloads) == len(batch):
            if not is_last:
                self._batch = batch
                self._batch_payloads = {}
            self._batch_payloads[encoding] = payload
        port.send(payload)

    def _forget_batch(self) -> None:
        self._batch = []
        self._batch_payloads = {}

    def _send_losses(self, subscriber: Subscriber) -> None:
        for message in subscriber.take_losses():
            self._answer(subscriber, message)

    def _answer(self, subscriber: Subscriber, message: object) -> None:
        port = subscriber.port
        port.send(CODECS[port.encoding].encode(message))

    def _is_lost(self, subscriber: Subscriber, now: float) -> bool:
        """It takes nothing, has lost events because of that, and had long enough."""
        since = subscriber.stalled_since
        return (
            since is not None
            and subscriber.has_lost
            and now - since >= STALLED_S_MAX
            and not subscriber.port.has_room
        )

    def _close(self, subscriber: Subscriber, now: float) -> None:
        self.counts.closed_count += 1
        self.leave(subscriber, now)
        subscriber.port.close_slow(f"subscriber took nothing for {STALLED_S_MAX:g} s (STALLED_S_MAX)")
