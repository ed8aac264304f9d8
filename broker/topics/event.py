"""One event, and how it is sent: encoded once for each encoding and topic, however many subscribers get it."""

from typing import Final

from msgspec import Raw

from ...protocol.codec import CODECS
from ...protocol.encodings import Encoding
from ...protocol.errors import NotRepresentable
from ...protocol.topic_messages import EventMessage
from ...protocol.transcode import transcode

EVENT_OVERHEAD_SIZE_BYTES: Final = 512
"""What an event takes besides its data, in memory and encoded: the objects, its id and its topics."""


class Event:
    """`type`: what `data` is, which is in `encoding`. `topics`: all that it belongs to, the first of them is its own.
    `timestamp_ms`: since 1970. `latest_of`: while it waits for a slow reader, a later event with the same one, and
    the same topics, replaces it; None: all are sent."""

    __slots__ = ("data", "encoding", "id", "latest_of", "offset", "timestamp_ms", "topics", "type")

    def __init__(  # noqa: PLR0917  an event is all of these
        self,
        id: str,
        offset: int,
        type: str,
        topics: tuple[str, ...],
        data: Raw,
        encoding: Encoding,
        timestamp_ms: int,
        latest_of: str | None = None,
    ) -> None:
        self.id = id
        self.offset = offset
        self.type = type
        self.topics = topics
        self.data = data
        self.encoding = encoding
        self.timestamp_ms = timestamp_ms
        self.latest_of = latest_of

    @property
    def size_bytes(self) -> int:
        """What it counts for against bounds: its data, and the same as it is sent."""
        return 2 * len(self.data) + EVENT_OVERHEAD_SIZE_BYTES


class Offer:
    """An event under one of its topics. It knows its event, and not the other way round: a cycle would keep the data
    until the garbage collector finds it."""

    __slots__ = ("_payloads", "event", "topic")

    def __init__(self, event: Event, topic: str) -> None:
        self.event = event
        self.topic = topic
        self._payloads: dict[Encoding, bytes | None] = {}

    def payload(self, encoding: Encoding) -> bytes | None:
        """The whole message; None if the data cannot be carried in this encoding."""
        try:
            return self._payloads[encoding]
        except KeyError:
            payload = self._payloads[encoding] = self._encoded(encoding)
            return payload

    def _encoded(self, encoding: Encoding) -> bytes | None:
        event = self.event
        try:
            data = transcode(event.data, event.encoding, encoding)
        except NotRepresentable:
            return None
        message = EventMessage(event.type, event.id, event.timestamp_ms, data, self.topic, event.offset)
        return CODECS[encoding].encode(message)
