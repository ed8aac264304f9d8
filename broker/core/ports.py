"""The interfaces that the core calls: the two kinds of peer that it talks to, an observer, and a listener of steps.

The broker implements them with sockets, the tests with lists. An implementation must not call back into the core, and
must not block.
"""

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from msgspec import Raw, UnsetType

from ...protocol.encodings import Encoding
from .failure import Failure

if TYPE_CHECKING:
    from .fleet.route import Route
    from .fleet.worker import Worker, WorkerState
    from .request import Assignment, Request

CancelReason = Literal["timeout", "cancelled", "requester_gone", "shutting_down", "answered"]
"""Why an assignment is cancelled, as sent to its worker; `answered`: another copy of the request was answered."""


class Piece(NamedTuple):
    """Something that comes of an attempt of a call before its end, in the worker's encoding: progress, or a chunk.
    `sequence`: the chunk's, or that of the last chunk before, 0 if there was none."""

    worker_id: str
    attempt: int
    sequence: int
    data: Raw
    encoding: Encoding


class WorkerPort(Protocol):
    """The link to one worker."""

    @property
    def encoding(self) -> Encoding:
        """The encoding of the worker's results."""

    @property
    def written_count(self) -> int:
        """Messages handed to the operating system so far; a message with a higher number has not left the broker."""

    def welcome(self, worker_id: str) -> None:
        """Send the worker confirmation that it has joined, with its id."""

    def assign(self, msg_id: str, request: "Request", timeout_s: float) -> int:
        """Send an assignment. Returns the message's number.

        Raises NotRepresentable or TooLarge, and sends nothing, if `request.call.data` cannot be carried to this worker.
        """

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        """Send an assignment without a request, with empty data. Returns the message's number."""

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        """Send a cancel: the result of this assignment is no longer needed."""

    def credit(self, msg_id: str, sequence: int) -> None:
        """Report that the chunks of this assignment up to `sequence` were taken."""

    def replaced(self) -> None:
        """The same worker has connected again: close this link."""


class RequesterPort(Protocol):
    """The way back to one requester."""

    @property
    def encoding(self) -> Encoding:
        """The encoding of the data of its calls."""

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        """Send a result, which is in `encoding`; UNSET stands for null.

        Raises NotRepresentable or TooLarge, and sends nothing, if it cannot be carried to this requester.
        """

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        """Send a failure. `request_id` is None if it could not be read; `worker_id` is that of the last worker."""

    def assigned(self, request_id: str, worker_id: str, msg_id: str) -> None:
        """A call with an `attempt` was sent to a worker, or has reserved a slot there. Not called for other calls."""

    def progress(self, request_id: str, report: Piece) -> None:
        """A worker reports progress. Called for every request, whether it wants it or not."""

    def chunk(self, request_id: str, chunk: Piece) -> bool:
        """A worker sends a chunk of a call with `stream`; `sequence` is 1, 2, 3 ... in each attempt. True if it counts
        as taken at once; otherwise report it to `Core.taken`, not from here.

        Raises NotRepresentable or TooLarge, and sends nothing, if it cannot be carried to this requester.
        """

    def reset(self, request_id: str, attempt: int) -> None:
        """An earlier attempt of a call was lost, and this one begins; what came of that one counts no more."""


class Observer(Protocol):
    """Notified of what an operator may want to act on. Must not change anything."""

    def worker_moved(self, worker: "Worker", before: "WorkerState") -> None:
        """A connected worker has changed its state. `worker.reason` says why; `worker.verdict` also, but without the
        handler's text."""

    def overload_changed(self, route: "Route") -> None:
        """`route.waiting.is_overloaded` has changed."""


class Steps(Protocol):
    """Notified of each step of each request, once and in order. Must not change anything.

    `admitted`, then any number of `waits`, `assigned` and `unassigned`, then `ended`.
    """

    def admitted(self, request: "Request") -> None:
        """A call was admitted, as this request."""

    def waits(self, request: "Request") -> None:
        """It waits for a free slot, until it is assigned or ends."""

    def assigned(self, request: "Request", assignment: "Assignment", *, is_hedge: bool) -> None:
        """It was sent to a worker; with `is_hedge`, while another worker already has it."""

    def unassigned(self, request: "Request", assignment: "Assignment", outcome: str) -> None:
        """This assignment is over, but the request is not."""

    def ended(self, request: "Request", outcome: str) -> None:
        """It has ended with this outcome label, and so have all of its assignments."""
