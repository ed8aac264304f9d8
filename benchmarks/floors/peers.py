"""Requesters and workers of the load on the floors: an id and the data, after a length prefix or in a frame.

The id is as long as a UUID, as in the load on a broker, and is sent back in the answer. Workers answer in order.
"""

from abc import abstractmethod

from ..connection import Connection
from ..load import Load
from ..request_stream import Lanes, RequestStream
from ..websocket_connection import BINARY, WebSocketConnection, frame, frame_head, masked
from .tcp_relay import LENGTH_BYTES

_ID_LENGTH = 36


class TcpConnection(Connection):
    """A connection that speaks length-prefixed messages; an empty one is the relay's welcome."""

    __slots__ = ()

    @abstractmethod
    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        """One whole message, buffer[start:end]."""

    def greet(self) -> None:
        return

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0
        while end - position >= LENGTH_BYTES:
            start = position + LENGTH_BYTES
            after = start + int.from_bytes(buffer[position:start], "big")
            if after > end:
                break
            if after == start:
                self.welcomed()
            else:
                self.take_message(buffer, start, after)
            position = after
        return position


class WebSocketRelayConnection(WebSocketConnection):
    """A connection that speaks binary frames; the relay has accepted it once it has upgraded."""

    __slots__ = ()

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream, BINARY)

    def upgraded(self) -> None:
        self.welcomed()


class RelayRequester(Connection):
    """A requester that keeps the load's number of requests in flight, on either wire."""

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        self._message_bytes = _ID_LENGTH + len(load.data)
        ids = [b"%0*d" % (_ID_LENGTH, lane) for lane in range(load.in_flight_count_per_requester)]
        self._lanes = Lanes([self.whole(lane_id + load.data) for lane_id in ids], stream)

    @abstractmethod
    def whole(self, payload: bytes) -> bytes:
        """`payload` as this wire sends it."""

    def start(self) -> None:
        """Sends the first requests of the stream; the rest follow the answers."""
        self._lanes.start(self.send)
        self.flush()

    def send_next(self) -> None:
        """Sends one request outside the closed loop."""
        self._lanes.send_next(self.send)
        self.flush()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        """One answer."""
        if end - start != self._message_bytes:
            self.fail("a request was not answered with its data")
            return
        message = self._lanes.answered(int(buffer[start : start + _ID_LENGTH]))
        if message is not None:
            self.send(message)


class TcpRequester(RelayRequester, TcpConnection):
    """A requester that speaks length-prefixed messages."""

    def whole(self, payload: bytes) -> bytes:
        return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class TcpWorker(TcpConnection):
    """A worker that speaks length-prefixed messages and answers with what it was sent."""

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream)

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        self.send(bytes(buffer[start - LENGTH_BYTES : end]))


class WebSocketRequester(RelayRequester, WebSocketRelayConnection):
    """A requester that speaks binary frames."""

    def whole(self, payload: bytes) -> bytes:
        return frame(BINARY, payload)


class WebSocketWorker(WebSocketRelayConnection):
    """A worker that speaks binary frames and answers with the load's data."""

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream)
        self._head = frame_head(BINARY, _ID_LENGTH + len(load.data))
        self._masked_data = masked(load.data)

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        self.send(self._head + masked(buffer[start : start + _ID_LENGTH]) + self._masked_data)
