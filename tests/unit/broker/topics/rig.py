"""A hub with subscribers that are lists, and a clock that tests move."""

from collections.abc import Callable
from typing import Any

from msgspec import Raw, json, msgpack
from taskferry.broker.topics.bounds import TopicSettings
from taskferry.broker.topics.hub import Hub
from taskferry.broker.topics.sources import Source
from taskferry.broker.topics.subscriber import Subscriber
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.topic_messages import Since, Subscribe, Subscription, Unsubscribe

EPOCH = "epoch"
DECODE: dict[Encoding, Callable[[bytes], Any]] = {
    Encoding.JSON: json.decode,
    Encoding.MSGPACK: msgpack.decode,
}


class Peer:
    """What it was sent: `payloads`, the same as objects in `messages`, and `flat` without batches around them."""

    def __init__(self, encoding: Encoding = Encoding.JSON) -> None:
        self.encoding = encoding
        self.has_room = True
        self.payloads: list[bytes] = []
        self.messages: list[Any] = []
        self.flat: list[Any] = []
        self.closed: str | None = None

    def send(self, payload: bytes) -> None:
        assert self.has_room or b'"type":"subscribed"' in payload or b'"type":"unsubscribed"' in payload
        self.payloads.append(payload)
        message = DECODE[self.encoding](payload)
        self.messages.append(message)
        self.flat += message["messages"] if message["type"] == "batch" else [message]

    def close_slow(self, reason: str) -> None:
        self.closed = reason

    @property
    def events(self) -> list[Any]:
        return [message for message in self.flat if "id" in message and "offset" in message]

    @property
    def offsets(self) -> list[int]:
        return [event["offset"] for event in self.events]

    @property
    def gaps(self) -> list[Any]:
        return [message for message in self.flat if message["type"] == "gap"]

    def answers(self, type_: str = "subscribed") -> list[Any]:
        return [message["data"] for message in self.flat if message["type"] == type_]


class Rig:
    """`changes`: what was wanted each time that it changed."""

    def __init__(self, batch_count_max: int = 10, batch_s: float = 0.1, epoch: str = EPOCH) -> None:
        self.now = 1000.0
        self.changes: list[set[Source]] = []
        self.hub = Hub(epoch, TopicSettings(batch_count_max, batch_s), self._changed)

    def _changed(self) -> None:
        self.changes.append({source for source in Source if self.hub.wants(source)})

    def join(self, *topics: str, encoding: Encoding = Encoding.JSON) -> tuple[Peer, Subscriber]:
        peer = Peer(encoding)
        subscriber = self.hub.join(peer)
        if topics:
            self.subscribe(subscriber, *topics)
        return peer, subscriber

    def subscribe(
        self, subscriber: Subscriber, *topics: str, since: int | None = None, epoch: str = EPOCH
    ) -> None:
        position = None if since is None else Since(epoch, since)
        self.hub.subscribe(
            subscriber, Subscribe(Subscription(list(topics), position), "s"), self.now, self.timestamp_ms
        )

    def unsubscribe(self, subscriber: Subscriber, *topics: str) -> None:
        self.hub.unsubscribe(
            subscriber, Unsubscribe(Subscription(list(topics)), "u"), self.now, self.timestamp_ms
        )

    @property
    def timestamp_ms(self) -> int:
        return int(self.now * 1000)

    def publish(self, *topics: str, data: Any = None, latest_of: str | None = None) -> int | None:
        raw = Raw(json.encode(data))
        return self.hub.publish("event", topics, raw, Encoding.JSON, self.now, self.timestamp_ms, latest_of)

    def turn(self) -> None:
        """The end of a turn of the event loop."""
        self.hub.flush(self.now)

    def sleep(self, seconds: float) -> None:
        """Let time pass, with what is due in it."""
        self.turn()
        until = self.now + seconds
        while self.hub.next_at <= until:
            self.now = max(self.now, self.hub.next_at)
            self.hub.advance(self.now)
            self.turn()
        self.now = until
