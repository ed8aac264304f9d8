"""One connection's messages about topics: whether it may, and which call of the hub each means.

The same for requesters and browsers: a connection needs a Gate and a SubscriberPort.
"""

import time
from typing import Final

from msgspec import UNSET, Raw

from ..protocol import errors
from ..protocol.codec import CODECS
from ..protocol.errors import TaskferryError
from ..protocol.limits import EVENT_SIZE_BYTES_MAX
from ..protocol.topic_messages import (
    FromSubscriber,
    Offset,
    Publication,
    Publish,
    Published,
    Subscribe,
    TopicError,
    TopicFault,
    Unsubscribe,
)
from ..transport.link import Link
from .access.gate import Gate
from .access.rights import Action
from .topic_desk import TopicDesk
from .topic_sources import own_data
from .topics.channels import ANY
from .topics.sources import is_of_broker
from .topics.subscriber import Subscriber, SubscriberPort

EVENT: Final = "event"
"""The `type` of what is published by others than the broker."""

UNSENT_SIZE_BYTES_MAX: Final = 1024 * 1024
"""What may wait in a link for the end of the turn before it has no room for more events."""


def has_room(link: Link) -> bool:
    """Its peer takes what is sent."""
    return not link.is_blocked and link.unsent_size_bytes < UNSENT_SIZE_BYTES_MAX


class TopicRequests:
    """`port`: the way back to the connection."""

    __slots__ = ("_desk", "_gate", "_port", "_subscriber")

    def __init__(self, desk: TopicDesk, gate: Gate, port: SubscriberPort) -> None:
        self._desk = desk
        self._gate = gate
        self._port = port
        self._subscriber: Subscriber | None = None

    def take(self, message: FromSubscriber) -> None:
        """Do what it asks for, or say why not."""
        try:
            match message:
                case Subscribe():
                    self._subscribe(message)
                case Unsubscribe():
                    self._unsubscribe(message)
                case Publish():
                    self._publish(message)
        except TaskferryError as error:
            self.refuse(message.id, error)

    def refuse(self, id: str | None, error: TaskferryError) -> None:
        """Send an error about the message with this id."""
        details: dict[str, float | str] = {}
        if error.retry_after_s is not None:
            details["retry_after"] = error.retry_after_s
        fault = TopicFault(error.code, error.text, details)
        self._send(TopicError(id, _timestamp_ms(), fault))

    def left(self) -> None:
        """Its link has closed, or its login has ended."""
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            self._desk.hub.leave(subscriber, time.monotonic())
            self._desk.wake()

    def _subscribe(self, message: Subscribe) -> None:
        refusal = self._gate.watch(message.data.topics)
        if refusal is not None:
            raise errors.Forbidden(refusal.text)
        hub = self._desk.hub
        if self._subscriber is None:
            self._subscriber = hub.join(self._port)
        hub.subscribe(self._subscriber, message, time.monotonic(), _timestamp_ms())
        self._gate.watched.update(dict.fromkeys(message.data.topics))
        self._desk.wake()

    def _unsubscribe(self, message: Unsubscribe) -> None:
        hub = self._desk.hub
        if self._subscriber is None:
            self._subscriber = hub.join(self._port)
        hub.unsubscribe(self._subscriber, message, time.monotonic(), _timestamp_ms())
        for topic in message.data.topics:
            self._gate.watched.pop(topic, None)
        self._desk.wake()

    def _publish(self, message: Publish) -> None:
        publication = message.data
        check(publication, self._gate)
        encoding = self._port.encoding
        data = own_data(publication.data, encoding)
        offset = self._desk.publish_raw(EVENT, (publication.topic,), data, encoding)
        self._send(Published(message.id, _timestamp_ms(), Offset(publication.topic, offset)))

    def _send(self, message: object) -> None:
        port = self._port
        port.send(CODECS[port.encoding].encode(message))


def check(publication: Publication, gate: Gate) -> None:
    """Whether this may be published. Raises Forbidden, BadRequest, TooLarge."""
    topic = publication.topic
    if is_of_broker(topic):
        text = f"data.topic: {topic!r} is one of the broker's own; publish to another"
        raise errors.Forbidden(text)
    if ANY in topic:
        raise errors.BadRequest("data.topic: a topic that is published to has no *")
    refusal = gate.refusal(Action.PUBLISH, topic)
    if refusal is not None:
        raise errors.Forbidden(refusal.text)
    size_bytes = len(publication.data) if isinstance(publication.data, Raw) else 0
    if publication.data is not UNSET and size_bytes > EVENT_SIZE_BYTES_MAX:
        text = f"data.data: {size_bytes} bytes, at most {EVENT_SIZE_BYTES_MAX} (EVENT_SIZE_BYTES_MAX)"
        raise errors.TooLarge(text)


def _timestamp_ms() -> int:
    return int(time.time() * 1000)
