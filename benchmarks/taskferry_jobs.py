"""Requesters of durable jobs for the load on a Taskferry broker, in JSON: they submit, or submit and await the result.

Each lane sends its next job once the last one has its receipt, or its result: see `taskferry_peers` for the rest.
"""

from typing import Final
from uuid import uuid4

from .load import Load
from .request_stream import Lanes, RequestStream
from .taskferry_wire import JSON, REQUEST_ID_LENGTH
from .websocket_connection import WebSocketConnection, frame

_LANE_DIGITS: Final = 4
_RECEIPT_MARK: Final = b'"type":"receipt"'
_JOB_ID_MARK: Final = b'"job_id":"'


class JobSubmitter(WebSocketConnection):
    """A requester that keeps the load's number of submissions in flight: each ends with its receipt."""

    __slots__ = ("_lanes",)

    def __init__(self, load: Load, stream: RequestStream) -> None:
        super().__init__(load, stream, JSON.opcode_octet, JSON.subprotocol)
        self._lanes = Lanes(self._messages(load), stream)

    def start(self) -> None:
        """Sends the first submissions of the stream; the rest follow the receipts."""
        self._lanes.start(self.send)
        self.flush()

    def send_next(self) -> None:
        """Sends one submission outside the closed loop."""
        self._lanes.send_next(self.send)
        self.flush()

    def upgraded(self) -> None:
        self.welcomed()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        if buffer.find(_RECEIPT_MARK, start, end) < 0:
            self.fail(f"no receipt: {bytes(buffer[start : min(end, start + 200)])!r}")
            return
        self._ended(buffer, start, end)

    def _ended(self, buffer: bytearray, start: int, end: int) -> None:
        id_end = buffer.find(JSON.request_id_mark, start, end) + len(JSON.request_id_mark) + REQUEST_ID_LENGTH
        message = self._lanes.answered(int(buffer[id_end - _LANE_DIGITS : id_end]))
        if message is not None:
            self.send(message)

    def _messages(self, load: Load) -> list[bytes]:
        id_stem = str(uuid4())[:-_LANE_DIGITS]
        return [
            frame(
                self._opcode_octet,
                JSON.encode(
                    {
                        "type": "submit",
                        "request_id": f"{id_stem}{lane:0{_LANE_DIGITS}}",
                        "command": load.commands[lane % len(load.commands)],
                    },
                    load.data,
                ),
            )
            for lane in range(load.in_flight_count_per_requester)
        ]


class JobRequester(JobSubmitter):
    """A requester that keeps the load's number of jobs in flight: each ends with its result, which it awaits as soon as
    it has the receipt."""

    __slots__ = ()

    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        id_start = buffer.find(JSON.request_id_mark, start, end) + len(JSON.request_id_mark)
        if buffer.find(_RECEIPT_MARK, start, end) >= 0:
            job_start = buffer.find(_JOB_ID_MARK, start, end) + len(_JOB_ID_MARK)
            job_id = bytes(buffer[job_start : buffer.find(b'"', job_start, end)])
            request_id = bytes(buffer[id_start : id_start + REQUEST_ID_LENGTH])
            message = b'{"type":"await","request_id":"%b","job_id":"%b"}' % (request_id, job_id)
            self.send(frame(self._opcode_octet, message))
        elif buffer.find(JSON.success_mark, start, end) >= 0:
            self._ended(buffer, start, end)
        else:
            self.fail(f"a job was not done: {bytes(buffer[start : min(end, start + 200)])!r}")
