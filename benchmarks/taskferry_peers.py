"""Requesters and workers of the load on a Taskferry broker, in JSON or MessagePack: when they send what.

`taskferry_wire` writes the messages.
"""

from typing import Any
from uuid import uuid4

from .load import Load
from .request_stream import Lanes, RequestStream
from .taskferry_wire import REQUEST_ID_LENGTH, WIRES
from .websocket_connection import WebSocketConnection, frame, frame_head, masked

# The last digits of a request_id are its lane; more could not be in flight on one connection by default either.
_LANE_DIGITS = 4


class TaskferryRequester(WebSocketConnection):
    """A requester that keeps the load's number of requests in flight."""

    __slots__ = ("_data_bytes", "_id_mark", "_lanes", "_success_mark", "_wire")

    def __init__(self, load: Load, stream: RequestStream) -> None:
        self._wire = WIRES[load.encoding]
        super().__init__(load, stream, self._wire.opcode_octet, self._wire.subprotocol)
        self._data_bytes = len(self._wire.data(load.data))
        self._id_mark = self._wire.request_id_mark
        self._success_mark = self._wire.success_mark
        self._lanes = Lanes(self._messages(load), stream)

    def start(self) -> None:
        """Sends the first requests of the stream; the rest follow the answers."""
        self._lanes.start(self.send)
        self.flush()

    def send_next(self) -> None:
        """Sends one request outside the closed loop."""
        self._lanes.send_next(self.send)
        self.flush()

    def upgraded(self) -> None:
        self.welcomed()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        id_start = buffer.find(self._id_mark, start, end) + len(self._id_mark)
        succeeded = buffer.find(self._success_mark, start, end) >= 0
        if not succeeded or end - start < self._data_bytes:
            self.fail(
                f"a request was not answered with its data: {bytes(buffer[start : min(end, start + 200)])!r}"
            )
            return
        id_end = id_start + REQUEST_ID_LENGTH
        message = self._lanes.answered(int(buffer[id_end - _LANE_DIGITS : id_end]))
        if message is not None:
            self.send(message)

    def _messages(self, load: Load) -> list[bytes]:
        id_stem = str(uuid4())[:-_LANE_DIGITS]
        options: dict[str, Any] = {} if load.timeout_s is None else {"timeout": load.timeout_s}
        return [
            frame(
                self._opcode_octet,
                self._wire.encode(
                    {
                        "request_id": f"{id_stem}{lane:0{_LANE_DIGITS}}",
                        "command": load.commands[lane % len(load.commands)],
                        **options,
                    },
                    load.data,
                ),
            )
            for lane in range(load.in_flight_count_per_requester)
        ]


class TaskferryWorker(WebSocketConnection):
    """A worker that answers each request with the load's data, from parts made and masked in advance."""

    __slots__ = ("_around_id", "_data_bytes", "_load", "_name", "_request_mark", "_wire")

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        self._wire = WIRES[load.encoding]
        super().__init__(load, stream, self._wire.opcode_octet, self._wire.subprotocol)
        self._load = load
        self._name = name
        self._data_bytes = len(self._wire.data(load.data))
        self._request_mark = self._wire.request_mark
        self._around_id: dict[int, tuple[bytes, bytes]] = {}

    def upgraded(self) -> None:
        hello = {
            "name": self._name,
            "commands": self._load.commands,
            "concurrency": self._load.worker_concurrency,
        }
        message = self._wire.encode({"type": "connect", "msg_id": "1", "timestamp": 0, "data": hello})
        self.send(frame(self._opcode_octet, message))

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if buffer.find(self._request_mark, start, end) < 0:
            self._take_other(bytes(buffer[start:end]))
            return
        if end - start < self._data_bytes:
            self.fail(f"a request arrived without its data: {bytes(buffer[start : min(end, start + 200)])!r}")
            return
        self.take_assignment(self._wire.msg_id(buffer, start, end))

    def take_assignment(self, msg_id: bytearray) -> None:
        """Answer this assignment, now or later."""
        self.answer(msg_id)

    def answer(self, msg_id: bytearray) -> None:
        """Send the load's data as the result of this assignment."""
        before, after = self._around_id.get(len(msg_id)) or self._make_around_id(len(msg_id))
        self.send(before + masked(msg_id) + after)

    def _make_around_id(self, id_bytes: int) -> tuple[bytes, bytes]:
        before, after = self._wire.response_around(id_bytes, self._load.data)
        head = frame_head(self._opcode_octet, len(before) + id_bytes + len(after))
        self._around_id[id_bytes] = (head + masked(before), masked(after))
        return self._around_id[id_bytes]

    def _take_other(self, message: bytes) -> None:
        if self._wire.connect_mark in message:
            self.welcomed()
        elif self._wire.error_mark in message:
            self.fail(f"the broker refused a worker: {message[:200]!r}")
