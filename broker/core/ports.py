"""What the core asks of the world: the two kinds of peer that it talks to, somebody who listens, and whoever follows.

The shell implements these with sockets, the tests with lists. A call must not call back into the core, and must not
wait.
"""

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Raw, UnsetType

from ...protocol.encodings import Encoding
from ...protocol.errors import TaskferryError

if TYPE_CHECKING:
    from .fleet.route import Route
    from .fleet.worker import Worker, WorkerState
    from .request import Assignment, Request

CancelReason = Literal["timeout", "cancelled", "requester_gone", "shutting_down", "answered"]
"""Why an assignment is given up, as its worker is told; `answered`: by another copy of the request."""


class WorkerPort(Protocol):
    """The link to one worker."""

    @property
    def encoding(self) -> Encoding:
        """How the worker writes its results."""

    @property
    def written_count(self) -> int:
        """Messages handed to the operating system so far; one numbered above this has never left the broker."""

    def welcome(self, worker_id: str) -> None:
        """Tell the worker that it is taken in, and under which id."""

    def assign(self, msg_id: str, request: "Request", timeout_s: float) -> int:
        """Send an assignment; the number of the message.

        Raises NotRepresentable or TooLarge where `request.data` cannot be carried to this worker; nothing was sent
        then.
        """

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        """Send an assignment that nobody asked for, with empty data; the number of the message."""

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        """Tell the worker that nobody waits for this assignment any more."""

    def replaced(self) -> None:
        """The same worker has connected anew: this link is dead."""


class RequesterPort(Protocol):
    """The link to one requester."""

    @property
    def encoding(self) -> Encoding:
        """How the requester writes its data."""

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        """Send a result, which is written in `encoding`; UNSET stands for null.

        Raises NotRepresentable or TooLarge where it cannot be carried to this requester; nothing was sent then.
        """

    def fail(self, request_id: str, error: TaskferryError, worker_id: str | None) -> None:
        """Send a failure; `worker_id` had the request last."""


class Observer(Protocol):
    """Who is told what a person may want to act on. Must not change anything."""

    def worker_moved(self, worker: "Worker", before: "WorkerState") -> None:
        """The opinion of a connected worker has changed; `worker.reason` says why, `worker.verdict`
        without a handler's own words."""

    def overload_changed(self, route: "Route") -> None:
        """`route.overload.is_overloaded` has changed."""


class Follower(Protocol):
    """Who is told each step of each request, where somebody wants to know. Must not change anything."""

    def unserved(self, request_id: str, trace: str | None) -> None:
        """A request has ended where it began: no worker has ever served its command."""

    def admitted(self, request: "Request") -> None:
        """A request's life begins. Told again, it means nothing."""

    def waits(self, request: "Request") -> None:
        """It waits for a free slot, until it is assigned or ends."""

    def assigned(self, request: "Request", assignment: "Assignment", *, is_hedge: bool) -> None:
        """A worker has been sent it; `is_hedge`: while another one has it too."""

    def unassigned(self, request: "Request", assignment: "Assignment", outcome: str) -> None:
        """This assignment is over, and the request is not."""

    def ended(self, request: "Request", outcome: str) -> None:
        """It has ended, as the metrics label it, and with it all of its assignments."""
