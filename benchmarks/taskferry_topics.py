"""A publisher and subscribers of a topic for the load on a Taskferry broker, in JSON: see `taskferry_peers`."""

from typing import Final

from .event_stream import EventStream
from .load import Load
from .taskferry_wire import JSON
from .websocket_connection import WebSocketConnection, frame

TOPIC: Final = "news"
_EVENT_MARK: Final = b'"type":"event"'
_PUBLISHED_MARK: Final = b'"type":"published"'
_SUBSCRIBED_MARK: Final = b'"type":"subscribed"'


class TaskferrySubscriber(WebSocketConnection):
    """A requester that subscribes to the topic and counts its events, alone or in batches."""

    __slots__ = ("_delivered",)

    def __init__(self, load: Load, stream: EventStream) -> None:
        super().__init__(load, stream, JSON.opcode_octet, JSON.subprotocol)
        self._delivered = stream.delivered

    def upgraded(self) -> None:
        message = JSON.encode({"type": "subscribe", "id": "1", "data": {"topics": [TOPIC]}})
        self.send(frame(self._opcode_octet, message))

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        count = buffer.count(_EVENT_MARK, start, end)
        if count:
            self._delivered(count)
        elif buffer.find(_SUBSCRIBED_MARK, start, end) >= 0:
            self.welcomed()
        else:
            self.fail(f"no event: {bytes(buffer[start : min(end, start + 200)])!r}")


class TaskferryPublisher(WebSocketConnection):
    """A requester that publishes the load's data; the broker answers each event."""

    __slots__ = ("_message",)

    def __init__(self, load: Load, stream: EventStream) -> None:
        super().__init__(load, stream, JSON.opcode_octet, JSON.subprotocol)
        data = b'{"topic":"%b","data":%b}' % (TOPIC.encode(), load.data)
        self._message = frame(self._opcode_octet, JSON.encode({"type": "publish"}, data))

    def publish(self, event_count: int) -> None:
        """Publish so many events in one write."""
        self.send(self._message * event_count)
        self.flush()

    def upgraded(self) -> None:
        self.welcomed()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if buffer.find(_PUBLISHED_MARK, start, end) < 0:
            self.fail(f"not published: {bytes(buffer[start : min(end, start + 200)])!r}")
