"""Workers that send chunks and requesters that take them, for the load on a Taskferry broker, in JSON: see
`taskferry_peers`."""

from dataclasses import replace
from typing import Final
from uuid import uuid4

import msgspec

from .chunk_stream import JOIN_BYTES_MAX, ChunkStreams, Sending
from .load import Load
from .taskferry_peers import TaskferryWorker
from .taskferry_wire import JSON
from .websocket_connection import WebSocketConnection, frame, frame_head, masked

COMMAND: Final = "stream"
TIMEOUT_S: Final = 120.0
_CHUNK_START: Final = b'{"type":"chunk",'
_CREDIT_MARK: Final = b'"type":"credit"'
_SEQUENCE_MARK: Final = b'"sequence":'


class TaskferryChunkWorker(TaskferryWorker):
    """A worker that sends the load's data as chunks, as many as the request says, as fast as it has credit."""

    __slots__ = ("_before", "_chunk_size_bytes", "_data_after", "_msg_id", "_sending")

    def __init__(self, load: Load, stream: ChunkStreams, name: str) -> None:
        super().__init__(replace(load, data=b"null", worker_concurrency=1), stream, name)
        self._chunk_size_bytes = len(load.data)
        self._data_after = masked(b',"data":%b}' % load.data)
        self._sending = Sending(0, 1)
        self._before = b""
        self._msg_id = bytearray()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if buffer.find(_CREDIT_MARK, start, end) >= 0:
            number_start = buffer.find(_SEQUENCE_MARK, start, end) + len(_SEQUENCE_MARK)
            self._sending.taken_count = int(buffer[number_start : buffer.find(b"}", number_start, end)])
            self._send_more()
        elif buffer.find(self._wire.request_mark, start, end) >= 0:
            request = msgspec.json.decode(bytes(buffer[start:end]))
            msg_id = request["msg_id"].encode()
            self._msg_id = bytearray(msg_id)
            self._before = masked(b'{"type":"chunk","msg_id":"%b","sequence":' % msg_id)
            self._sending = Sending(request["data"]["params"]["chunks"], self._chunk_size_bytes)
            self._send_more()
        else:
            self._take_other(bytes(buffer[start:end]))

    def _send_more(self) -> None:
        sending, before, data_after = self._sending, self._before, self._data_after
        sequences = sending.next()
        if not sequences:
            return
        pieces: list[bytes] = []
        for sequence in sequences:
            number = masked(b"%d" % sequence)
            head = frame_head(self._opcode_octet, len(before) + len(number) + len(data_after))
            pieces += (head + before + number, data_after)
        if len(data_after) > JOIN_BYTES_MAX:
            self._transport.writelines(pieces)
        else:
            self._transport.write(b"".join(pieces))
        if sending.sent_count == sending.count:
            self.answer(self._msg_id)
            self.flush()


class TaskferryChunkRequester(WebSocketConnection):
    """A requester that takes the chunks of one request, and says so once for all that were read together."""

    __slots__ = ("_before_sequence", "_count", "_credited_count", "_request_id", "_streams", "_taken_count")

    def __init__(self, load: Load, stream: ChunkStreams) -> None:
        super().__init__(load, stream, JSON.opcode_octet, JSON.subprotocol)
        self._streams = stream
        self._before_sequence = b""
        self._count = self._taken_count = self._credited_count = 0

    def start(self, chunk_count: int) -> None:
        """Request a stream of so many chunks."""
        self._count, self._taken_count, self._credited_count = chunk_count, 0, 0
        request_id = str(uuid4())
        self._before_sequence = b'{"type":"credit","request_id":"%b","sequence":' % request_id.encode()
        request = {"request_id": request_id, "command": COMMAND, "stream": "credit", "timeout": TIMEOUT_S}
        self.send(frame(self._opcode_octet, JSON.encode(request, b'{"chunks":%d}' % chunk_count)))
        self.flush()

    def upgraded(self) -> None:
        self.welcomed()

    def receive(self, buffer: bytearray, end: int) -> int:
        after = super().receive(buffer, end)
        if self._taken_count != self._credited_count:
            self._credited_count = self._taken_count
            self.send(frame(self._opcode_octet, self._before_sequence + b"%d}" % self._taken_count))
        return after

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if buffer.startswith(_CHUNK_START, start):
            self._taken_count += 1
        elif self._taken_count == self._count and buffer.find(JSON.success_mark, start, end) >= 0:
            self._credited_count = self._taken_count
            self._streams.ended()
        else:
            self.fail(
                f"{self._taken_count} of {self._count} chunks, then "
                f"{bytes(buffer[start : min(end, start + 200)])!r}"
            )
