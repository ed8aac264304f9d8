"""What handlers publish to topics: encoded where they run, sent in the event loop.

An event is news: it is worth nothing later. Without a link it is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Raw

from ..protocol.codec import Codec
from ..protocol.errors import TooLarge
from ..protocol.limits import EVENT_SIZE_BYTES_MAX, TOPIC_LENGTH_MAX
from ..protocol.topic_messages import Publication, WorkerPublish
from .failure import CommandError, describe_unencodable

UNSENT_COUNT_MAX: Final = 1_000
"""Events that wait for the next turn of the event loop. Threads that publish more than it can send lose the oldest."""


def event_bytes(codec: Codec, topic: str, data: object) -> bytes:
    """The event's data as it is sent. Raises CommandError if that cannot be written, or is too large; ValueError for a
    topic that no broker takes."""
    if not 1 <= len(topic) <= TOPIC_LENGTH_MAX or "*" in topic:
        raise ValueError(f"topic: {topic[:40]!r} has not 1 to {TOPIC_LENGTH_MAX} characters without a *")
    try:
        written: bytes = codec.encode(data)
    except Exception as error:
        raise describe_unencodable(error, codec.encoding, "event") from None
    if len(written) > EVENT_SIZE_BYTES_MAX:
        text = f"event: {len(written)} bytes, at most {EVENT_SIZE_BYTES_MAX} (EVENT_SIZE_BYTES_MAX)"
        raise CommandError(text, code=TooLarge.code)
    return written


class Publishes(Protocol):
    """Takes what handlers publish."""

    def publish(self, topic: str, data: object) -> None:
        """Send an event, from any thread. Raises as `event_bytes` does."""


class Publisher:
    """Sends events over whichever link there is. Made in the event loop; `publish` may be called in any thread."""

    __slots__ = ("_codec", "_loop", "_send", "_unsent")

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._loop = asyncio.get_running_loop()
        self._send: Callable[[bytes], object] | None = None
        self._unsent: deque[bytes] = deque(maxlen=UNSENT_COUNT_MAX)

    def publish(self, topic: str, data: object) -> None:
        """Send an event. Raises as `event_bytes` does."""
        self.relay(topic, event_bytes(self._codec, topic, data))

    def relay(self, topic: str, data: bytes) -> None:
        """The same with data that is written already."""
        self._unsent.append(self._codec.encode(WorkerPublish(Publication(topic, Raw(data)))))
        try:
            self._loop.call_soon_threadsafe(self._flush)
        except RuntimeError:  # the event loop is closed: the worker has stopped
            return

    def link_opened(self, send: Callable[[bytes], object]) -> None:
        """Send what comes by `send`."""
        self._send = send

    def link_closed(self) -> None:
        """Drop what comes."""
        self._send = None

    def _flush(self) -> None:
        while self._unsent:
            payload = self._unsent.popleft()
            if self._send is not None:
                self._send(payload)
