"""One request while it lives, and one delivery of it to a worker. Plain state; the rules are in core.py.

Plain classes, which the compiled core makes and reads fastest; they compare by identity. `_finish` cuts the cycles
there are between a request and its assignments, so that neither has to wait for the garbage collector.
"""

from typing import TYPE_CHECKING

from msgspec import Raw

if TYPE_CHECKING:
    from .fleet.command import Command
    from .fleet.route import Route
    from .fleet.worker import Worker
    from .measures.turn import Batch
    from .requester import Requester


class Request:
    """A requester's call of a command, from its admission to its one outcome.

    Times are seconds of the shell's monotonic clock. `due_at` is when it is to be looked at next: its deadline, or
    before that the moment for a second copy (`hedge_after`, see hedging.py). `assignment` is set while a worker holds
    it, `hedge` while a second one does; `is_waiting` while it waits for a free slot, since `waiting_since`, beside the
    `waited_s` of earlier waits. `retries_count` counts the assignments that a lost worker has cost it, `failed_ids`
    names those workers.
    """

    __slots__ = (
        "affinity",
        "assignment",
        "command",
        "data",
        "deadline",
        "due_at",
        "due_tick",
        "failed_ids",
        "hedge",
        "hedge_after",
        "idempotent",
        "is_waiting",
        "priority",
        "request_id",
        "requester",
        "retries_count",
        "route",
        "submitted_at",
        "trace",
        "waited_s",
        "waiting_since",
    )

    def __init__(  # noqa: PLR0917  names would cost the hot path
        self,
        request_id: str,
        command: "Command",
        route: "Route",
        data: Raw,
        requester: "Requester",
        submitted_at: float,
        deadline: float,
        due_at: float,
        idempotent: bool,
        priority: int,
        affinity: str | None,
        trace: str | None,
        hedge_after: "float | str | None" = None,
    ) -> None:
        self.request_id = request_id
        self.command = command
        self.route = route
        self.data = data
        self.requester = requester
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.due_at = due_at
        self.idempotent = idempotent
        self.priority = priority
        self.affinity = affinity
        self.trace = trace
        self.hedge_after = hedge_after
        self.due_tick = 0
        self.assignment: Assignment | None = None
        self.hedge: Assignment | None = None
        self.is_waiting = False
        self.waiting_since = 0.0
        self.waited_s = 0.0
        self.retries_count = 0
        self.failed_ids: tuple[str, ...] = ()


class Assignment:
    """One delivery of a request to a worker. It holds a slot until the worker reports its end or is lost.

    `message_number` tells, against the port's `written_count`, whether it ever left the broker. `request` is None once
    the request has ended without it (timeout, cancel, another copy's answer): the slot is still taken. A canary has no
    request from the start. `batch` are those that were sent with it, a request's.
    """

    __slots__ = ("assigned_at", "batch", "message_number", "msg_id", "request", "worker")

    def __init__(  # noqa: PLR0917  names would cost the hot path
        self,
        msg_id: str,
        worker: "Worker",
        assigned_at: float,
        message_number: int,
        request: Request | None,
        batch: "Batch | None",
    ) -> None:
        self.msg_id = msg_id
        self.worker = worker
        self.assigned_at = assigned_at
        self.message_number = message_number
        self.request = request
        self.batch = batch

    @property
    def was_written(self) -> bool:
        """It has left the broker, so that the command may have run."""
        return self.message_number <= self.worker.port.written_count
