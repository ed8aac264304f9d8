"""One request while it lives, and one delivery of it to a worker. Plain state; the rules are in core.py."""

from typing import TYPE_CHECKING

from msgspec import Raw

if TYPE_CHECKING:
    from .commands import Command
    from .requester import Requester
    from .worker import Worker


class Request:
    """A requester's call of a command, from its admission to its one outcome.

    Times are seconds of the shell's monotonic clock. `assignment` is set while a worker holds it; `is_waiting` while it
    waits for a free slot; one of the two is true of every live request. `retries_count` counts the assignments that a
    lost worker has cost it.
    """

    __slots__ = (
        "affinity",
        "assignment",
        "command",
        "data",
        "deadline",
        "deadline_tick",
        "idempotent",
        "is_waiting",
        "priority",
        "request_id",
        "requester",
        "retries_count",
        "submitted_at",
        "trace",
    )

    def __init__(
        self,
        request_id: str,
        command: "Command",
        data: Raw,
        requester: "Requester",
        submitted_at: float,
        deadline: float,
        idempotent: bool,
        priority: int,
        affinity: str | None,
        trace: str | None,
    ) -> None:
        self.request_id = request_id
        self.command = command
        self.data = data
        self.requester = requester
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.deadline_tick = 0
        self.idempotent = idempotent
        self.priority = priority
        self.affinity = affinity
        self.trace = trace
        self.assignment: Assignment | None = None
        self.is_waiting = False
        self.retries_count = 0


class Assignment:
    """One delivery of a request to a worker. It holds a slot until the worker reports its end or is lost.

    `request` is None once the request has ended without it (timeout, cancel): the slot is still taken.
    `message_number` tells, against the port's `written_count`, whether it ever left the broker.
    """

    __slots__ = ("assigned_at", "message_number", "msg_id", "request", "worker")

    def __init__(self, msg_id: str, request: Request, worker: "Worker", assigned_at: float) -> None:
        self.msg_id = msg_id
        self.request: Request | None = request
        self.worker = worker
        self.assigned_at = assigned_at
        self.message_number = 0
