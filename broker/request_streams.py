"""The streams of one requester: what it is sent before the response of its requests, and what it has taken of that.

Progress that its link has not yet passed on gives way to what is newer; the last is sent before the response. A chunk
counts as taken once it has left the broker, or when the requester says so.
"""

import asyncio
from collections import deque

from msgspec import Raw

from ..protocol.chunk_frames import ChunkFrame
from ..protocol.codec import CODECS
from ..protocol.stream_messages import Credit, Progress, Reset
from ..transport.link import PARTS_SIZE_BYTES_MIN, Link
from .core.core import Core
from .core.requester import Requester

BY_CREDIT = "credit"
"""The `stream` of a request whose requester says what it has taken."""

ONLY_PROGRESS = "progress"
"""The `stream` of a request of which no chunks are wanted."""


class _Stream:
    """One request. `unwritten`: its chunks that the link has not passed on, each with its message's number, if they
    count as taken then. `report`: progress that waits until the last one, `reported_number`, is passed on."""

    __slots__ = ("attempt", "frame", "is_by_credit", "report", "reported_number", "sequence", "unwritten")

    def __init__(self, frame: ChunkFrame, *, is_by_credit: bool) -> None:
        self.frame = frame
        self.is_by_credit = is_by_credit
        self.attempt = 1
        self.sequence = 0
        self.unwritten: deque[tuple[int, int]] = deque()
        self.report: Raw | None = None
        self.reported_number = 0


class RequestStreams:
    """By request_id, from a request's arrival to its response."""

    __slots__ = (
        "_by_id",
        "_core",
        "_encode",
        "_is_look_due",
        "_link",
        "_loop",
        "_requester",
        "_seen_count",
        "_unsettled",
    )

    def __init__(self, core: Core, requester: Requester, link: Link) -> None:
        self._core = core
        self._requester = requester
        self._link = link
        self._encode = CODECS[link.encoding].encode
        self._by_id: dict[str, _Stream] = {}
        self._unsettled: dict[str, _Stream] = {}
        """Those of which something has not been passed on."""
        self._is_look_due = False
        self._seen_count = link.written_count
        self._loop = asyncio.get_running_loop()
        link.resumed = self._look

    # --- from the session ---

    def opened(self, request_id: str, stream: bool | str) -> None:
        """A request with `stream` has come."""
        frame = ChunkFrame(self._link.encoding, request_id)
        self._by_id[request_id] = _Stream(frame, is_by_credit=stream == BY_CREDIT)

    def closed(self, request_id: str) -> None:
        """It is about to be answered, and nothing of it may follow: send the progress that still waits."""
        stream = self._by_id.pop(request_id, None)
        if stream is not None and stream.report is not None:
            self._send_report(request_id, stream)
        self._unsettled.pop(request_id, None)

    def taken(self, credit: Credit) -> None:
        """The requester has taken chunks."""
        stream = self._by_id.get(credit.request_id)
        if stream is not None and stream.is_by_credit:
            self._core.taken(self._requester, credit.request_id, credit.sequence, credit.attempt)

    def progress(self, request_id: str, attempt: int, report: Raw) -> None:
        """Send progress now, or when the link has passed on what was sent before."""
        stream = self._by_id[request_id]
        stream.attempt = attempt
        stream.report = report
        if stream.reported_number <= self._link.written_count:
            self._send_report(request_id, stream)
        else:
            self._look_later(request_id, stream)

    def chunk(self, request_id: str, attempt: int, sequence: int, data: Raw) -> None:
        """Send a chunk."""
        stream = self._by_id[request_id]
        stream.attempt = attempt
        stream.sequence = sequence
        head, tail = stream.frame.head(sequence, attempt), stream.frame.tail
        if len(data) < PARTS_SIZE_BYTES_MIN:
            number = self._link.send(b"".join((head, data, tail)))
        else:
            number = self._link.send_parts(head, data, tail)
        if not stream.is_by_credit:
            stream.unwritten.append((number, sequence))
            self._look_later(request_id, stream)

    def reset(self, request_id: str, attempt: int) -> None:
        """An earlier attempt was lost: nothing of it counts any more."""
        stream = self._by_id.get(request_id)
        if stream is None:
            return
        self._unsettled.pop(request_id, None)
        stream.unwritten.clear()
        stream.report = None
        stream.sequence = 0
        stream.attempt = attempt
        self._link.send(self._encode(Reset(request_id, attempt)))

    def wants(self, request_id: str) -> bool:
        """Progress of this request is wanted."""
        return request_id in self._by_id

    # --- inside ---

    def _send_report(self, request_id: str, stream: _Stream) -> None:
        report, stream.report = stream.report, None
        assert report is not None
        message = Progress(
            request_id=request_id, sequence=stream.sequence, attempt=stream.attempt, data=report
        )
        stream.reported_number = self._link.send(self._encode(message))

    def _look_later(self, request_id: str, stream: _Stream) -> None:
        """Look again after this turn's flush; and if the link has not passed it on then, once it takes more."""
        self._unsettled[request_id] = stream
        if not self._is_look_due:
            self._is_look_due = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """See what the link has passed on."""
        self._is_look_due = False
        written_count = self._link.written_count
        if written_count == self._seen_count:  # of what waits nothing can have changed, however much it is
            return
        self._seen_count = written_count
        for request_id, stream in tuple(self._unsettled.items()):
            unwritten, sequence = stream.unwritten, 0
            while unwritten and unwritten[0][0] <= written_count:
                sequence = unwritten.popleft()[1]
            if stream.report is not None and stream.reported_number <= written_count:
                self._send_report(request_id, stream)
            if not unwritten and stream.report is None:
                del self._unsettled[request_id]
            if sequence:
                self._core.taken(self._requester, request_id, sequence, stream.attempt)
