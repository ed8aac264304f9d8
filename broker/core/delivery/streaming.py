"""Streams: which chunks and progress of a worker are passed on, and how many chunks it may send.

A request has a stream from its first chunk on. The chunks of an attempt are passed on in order, none twice and none
left out: a worker that breaks that, or sends more than was taken, fails its request.
"""

from msgspec import Raw

from ....protocol import errors
from ....protocol.errors import TaskferryError
from ....protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX
from ....protocol.stream_window import StreamWindow
from ..failure import Failure, failure_of
from ..fleet.worker import Worker
from ..health.health import Health
from ..ports import Piece
from ..request import Assignment, Request
from .ending import Ending
from .hedging import Hedging


class Streaming:
    """The rules; the state of each stream is that of its request."""

    __slots__ = ("_ending", "_health", "_hedging")

    def __init__(self, hedging: Hedging, ending: Ending, health: Health) -> None:
        self._hedging = hedging
        self._ending = ending
        self._health = health

    def notify(self, worker: Worker, msg_id: str, progress: Raw) -> None:
        """A worker reports progress. It is passed on unless the request is over, or this is its hedge: of two copies
        the first is shown."""
        assignment = worker.assignments.get(msg_id)
        request = None if assignment is None else assignment.request
        if request is None or request.assignment is not assignment:
            return
        stream = request.stream
        sequence = 0 if stream is None else stream.sent
        report = Piece(worker.worker_id, request.attempt_number, sequence, progress, worker.port.encoding)
        request.requester.port.progress(request.call.request_id, report)

    def chunk(self, worker: Worker, msg_id: str, sequence: int, data: Raw, now: float) -> str | None:
        """A worker sends a chunk. It is ignored if its request is over, or wants none. What is wrong with it, for
        people, if its request has failed because of that."""
        assignment = worker.assignments.get(msg_id)
        request = None if assignment is None else assignment.request
        if assignment is None or request is None or not request.call.stream:
            return None
        if request.hedge is not None:
            self._hedging.settle(request, assignment)
        stream = request.stream
        if stream is None:
            stream = request.stream = StreamWindow()
            if assignment.was_adopted:  # it goes on counting over another connection
                stream.sent = stream.taken = sequence - 1
        fault = _fault(stream, sequence, len(data))
        if fault is not None:
            self._break(request, assignment, Failure(errors.HandlerError.code, fault), now)
            return fault
        stream.send(len(data))
        chunk = Piece(worker.worker_id, request.attempt_number, sequence, data, worker.port.encoding)
        try:
            is_taken = request.requester.port.chunk(request.call.request_id, chunk)
        except TaskferryError as error:
            self._ending.fail(request, failure_of(error), now, cancel="cancelled")
            return None
        if is_taken:
            self._take(stream, assignment, sequence)
        return None

    def refuse(self, worker: Worker, msg_id: str, failure: Failure, now: float) -> None:
        """A chunk cannot be passed on, whatever its request: fail that."""
        assignment = worker.assignments.get(msg_id)
        request = None if assignment is None else assignment.request
        if assignment is None or request is None or not request.call.stream:
            return
        if request.hedge is not None:
            self._hedging.settle(request, assignment)
        self._break(request, assignment, failure, now)

    def taken(self, request: Request, sequence: int, attempt: int | None) -> None:
        """The chunks of a request up to this one were taken; of this attempt, or of the latest. What was not sent is
        not counted."""
        stream, assignment = request.stream, request.assignment
        if stream is None or (attempt is not None and attempt != request.attempt_number):
            return
        assert assignment is not None, "a stream ends with its assignment"
        self._take(stream, assignment, min(sequence, stream.sent))

    def _take(self, stream: StreamWindow, assignment: Assignment, sequence: int) -> None:
        if stream.take(sequence):
            assignment.worker.port.credit(assignment.msg_id, sequence)

    def _break(self, request: Request, assignment: Assignment, failure: Failure, now: float) -> None:
        """The worker has not kept to the rules: it is to blame, and stops."""
        self._ending.fail(request, failure, now, cancel="cancelled", is_answer=True)
        self._health.failed(assignment.worker, request, failure.code, failure.text, now, is_deliberate=False)


def _fault(window: StreamWindow, sequence: int, size_bytes: int) -> str | None:
    """What is wrong with a chunk, for people."""
    if sequence != window.sent + 1:
        return f"sequence: chunk {sequence} came after chunk {window.sent}"
    if not window.has_room(size_bytes):
        return (
            f"data: chunk {sequence} came while {window.sent - window.taken} of {window.untaken_size_bytes} bytes were "
            f"untaken, at most {STREAM_CHUNKS_COUNT_MAX} of {STREAM_SIZE_BYTES_MAX} bytes (STREAM_CHUNKS_COUNT_MAX, "
            "STREAM_SIZE_BYTES_MAX)"
        )
    return None
