"""One request while it lives, and one delivery of it to a worker: plain state, without rules.

Plain classes, which the compiled core makes and reads fastest; they compare by identity. `Ending` cuts the cycles
between a request and its assignments, so that neither has to wait for the garbage collector.
"""

from typing import TYPE_CHECKING

from .call import BUDGET_S_MIN, Call

if TYPE_CHECKING:
    from .fleet.command import Command
    from .fleet.route import Route
    from .fleet.worker import Worker
    from .measures.turn import Batch
    from .requester import Requester


class Request:
    """A call from its admission to its one outcome.

    Times are seconds of the shell's monotonic clock; `timeout_s` lies between admission and deadline. `due_at` is when
    the request is to be looked at next: its deadline, or before that the moment for a second copy. `assignment` is set
    while a worker holds it, `hedge` while a second one does; `is_waiting` while it waits for a free slot, since
    `waiting_since`, beside the `waited_s` of earlier waits. `retries_count` counts the assignments that lost workers
    have cost it, `failed_ids` names those workers.
    """

    __slots__ = (
        "assignment",
        "call",
        "command",
        "deadline",
        "due_at",
        "due_tick",
        "failed_ids",
        "hedge",
        "is_waiting",
        "requester",
        "retries_count",
        "route",
        "submitted_at",
        "timeout_s",
        "waited_s",
        "waiting_since",
    )

    def __init__(  # noqa: PLR0917  names would cost the hot path
        self,
        call: Call,
        command: "Command",
        route: "Route",
        requester: "Requester",
        submitted_at: float,
        timeout_s: float,
        due_at: float,
    ) -> None:
        self.call = call
        self.command = command
        self.route = route
        self.requester = requester
        self.submitted_at = submitted_at
        self.timeout_s = timeout_s
        self.deadline = submitted_at + timeout_s
        self.due_at = due_at
        self.due_tick = 0
        self.assignment: Assignment | None = None
        self.hedge: Assignment | None = None
        self.is_waiting = False
        self.waiting_since = 0.0
        self.waited_s = 0.0
        self.retries_count = 0
        self.failed_ids: tuple[str, ...] = ()

    @property
    def may_have_run(self) -> bool:
        """A worker has it, or was lost that had it. What a link has not written it may still write, until it is
        lost."""
        return self.assignment is not None or bool(self.failed_ids)

    def remaining_s(self, now: float) -> float:
        """The time left before a deadline that has not passed, as a worker is told: whole milliseconds, at least
        one."""
        # `round` writes the number as text and reads it again, which is more than all else that waiting costs.
        return max(BUDGET_S_MIN, int((self.deadline - now) * 1000.0 + 0.5) / 1000.0)


class Assignment:
    """One delivery of a request to a worker. It holds a slot until the worker reports its end or is lost.

    `message_number` tells, against the port's `written_count`, whether it ever left the broker. `request` is None once
    the request has ended without it (timeout, cancel, another copy's answer): the slot is still taken. A canary has no
    request from the start. `batch` holds the assignments of the same command sent in the same turn; a canary has none.
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
