"""A requester that gathers, for the load on a Taskferry broker, in JSON: see `taskferry_peers`."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

from .load import Load
from .request_stream import RequestStream
from .taskferry_wire import JSON
from .websocket_connection import WebSocketConnection, frame

TIMEOUT_S: Final = 60.0
# An item's own fields, besides the data.
_ITEM_BYTES_MAX: Final = 256
_ITEM_START: Final = b'{"type":"item",'
_COMPLETE_MARK: Final = b'"complete":true'


class TaskferryGatherer(WebSocketConnection):
    """A requester that sends the load's data to all of its workers, again and again, one gather at a time."""

    __slots__ = ("_item_count", "_message", "_sent_at", "_succeeded_count", "_worker_count")

    def __init__(self, load: Load, stream: RequestStream, options: Mapping[str, Any]) -> None:
        """`options`: further fields of the request."""
        super().__init__(load, stream, JSON.opcode_octet, JSON.subprotocol)
        self._own_buffer_bytes += load.worker_count * (len(load.data) + _ITEM_BYTES_MAX)
        self._worker_count = load.worker_count
        self._succeeded_count = 0
        self._sent_at = 0.0
        request = {"request_id": str(uuid4()), "command": load.commands[0], "timeout": TIMEOUT_S, **options}
        self._message = frame(self._opcode_octet, JSON.encode(request, load.data))

    def start(self) -> None:
        """Sends the first gather of the stream; the rest follow the answers."""
        self._stream.unsent_count -= 1
        self._succeeded_count = 0
        self._sent_at = perf_counter()
        self.send(self._message)
        self.flush()

    def upgraded(self) -> None:
        self.welcomed()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        self._succeeded_count += buffer.count(JSON.success_mark, start, end)
        if buffer.startswith(_ITEM_START, start):
            return
        now = perf_counter()
        # The response has succeeded as well.
        is_whole = self._succeeded_count == self._worker_count + 1
        if not is_whole or buffer.find(_COMPLETE_MARK, start, end) < 0:
            self.fail(
                f"{self._succeeded_count - 1} of {self._worker_count} workers have succeeded: "
                f"{bytes(buffer[start : min(end, start + 200)])!r}"
            )
            return
        stream = self._stream
        stream.latencies_s.append(now - self._sent_at)
        stream.unanswered_count -= 1
        if stream.unanswered_count == 0:
            stream.end()
        elif stream.unsent_count:
            self.start()
