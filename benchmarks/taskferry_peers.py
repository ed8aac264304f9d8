"""Requesters and workers of the load that speak to a Taskferry broker, JSON without a sub-protocol (PROTOCOL.md).

Knows as much of the messages as it takes to find ids; what a message means is left to the broker's own tests.
"""

from uuid import uuid4

from .load import IN_FLIGHT_COUNT_PER_REQUESTER, WORKER_CONCURRENCY, Load
from .request_stream import Lanes, RequestStream
from .websocket_connection import TEXT, WebSocketConnection, frame_head, masked, text_frame

_REQUEST_ID = b'"request_id":"'
_MSG_ID = b'"msg_id":"'
_LANE_DIGITS = 4
# The length of a UUID, what most callers use; the last digits are the lane.
_ID_LENGTH = 36


class TaskferryRequester(WebSocketConnection):
    """A requester with IN_FLIGHT_COUNT_PER_REQUESTER requests of `echo` in flight."""

    __slots__ = ("_data_bytes", "_lanes")

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream)
        self._data_bytes = len(load.data)
        id_stem = str(uuid4())[:-_LANE_DIGITS]
        request_ids = [f"{id_stem}{lane:0{_LANE_DIGITS}}" for lane in range(IN_FLIGHT_COUNT_PER_REQUESTER)]
        messages = [
            text_frame(b'{"request_id":"%b","command":"echo","data":%b}' % (request_id.encode(), load.data))
            for request_id in request_ids
        ]
        self._lanes = Lanes(messages, stream)

    def start(self) -> None:
        """Sends the first requests of the stream; the rest follow the answers."""
        self._lanes.start(self.send)
        self.flush()

    def upgraded(self) -> None:
        self.welcomed()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        id_start = buffer.find(_REQUEST_ID, start, end) + len(_REQUEST_ID)
        succeeded = buffer.find(b'"success":true', start, end) >= 0
        if not succeeded or end - start < self._data_bytes:
            self.fail(
                f"a request was not answered with its data: {bytes(buffer[start : min(end, start + 200)])!r}"
            )
            return
        id_end = id_start + _ID_LENGTH
        message = self._lanes.answered(int(buffer[id_end - _LANE_DIGITS : id_end]))
        if message is not None:
            self.send(message)


class TaskferryWorker(WebSocketConnection):
    """A worker that answers each `echo` with the load's data, from parts made and masked before."""

    __slots__ = ("_after_id", "_before_id", "_data_bytes", "_heads", "_name")

    def __init__(self, load: Load, stream: RequestStream, name: str) -> None:
        super().__init__(load, stream)
        self._data_bytes = len(load.data)
        self._name = name
        self._before_id = masked(b'{"type":"response","msg_id":"')
        self._after_id = masked(b'","timestamp":0,"data":{"success":true,"result":%b}}' % load.data)
        self._heads: dict[int, bytes] = {}

    def upgraded(self) -> None:
        self.send(
            text_frame(
                b'{"type":"connect","msg_id":"1","timestamp":0,'
                b'"data":{"name":"%b","commands":["echo"],"concurrency":%d}}'
                % (self._name.encode(), WORKER_CONCURRENCY)
            )
        )

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if buffer.find(b'"type":"request"', start, end) < 0:
            self._take_other(bytes(buffer[start:end]))
            return
        if end - start < self._data_bytes:
            self.fail(f"a request came without its data: {bytes(buffer[start : min(end, start + 200)])!r}")
            return
        id_start = buffer.find(_MSG_ID, start, end) + len(_MSG_ID)
        msg_id = buffer[id_start : buffer.find(b'"', id_start, end)]
        head = self._heads.get(len(msg_id)) or self._make_head(len(msg_id))
        self.send(head + masked(msg_id) + self._after_id)

    def _make_head(self, id_bytes: int) -> bytes:
        payload_bytes = len(self._before_id) + id_bytes + len(self._after_id)
        head = frame_head(TEXT, payload_bytes) + self._before_id
        self._heads[id_bytes] = head
        return head

    def _take_other(self, message: bytes) -> None:
        if b'"type":"connect"' in message:
            self.welcomed()
        elif b'"type":"error"' in message:
            self.fail(f"the broker refused a worker: {message[:200]!r}")
