"""A request in flight, and an assignment of it to a worker: plain state, without rules.

These are plain classes, because the compiled core creates and reads them fastest; they compare by identity. `Ending`
breaks the cycles between a request and its assignments, so that reference counting frees them at once.
"""

from math import inf
from typing import TYPE_CHECKING, Final

from ...protocol.stream_window import StreamWindow
from .call import BUDGET_S_MIN, Call

if TYPE_CHECKING:
    from .fleet.command import Command
    from .fleet.route import Route
    from .fleet.worker import Worker
    from .measures.turn import Batch
    from .requester import Requester


ADOPTED: Final = 0
"""The message number of an assignment that was sent over an older connection: earlier than any of this one."""


UNSENT: Final = 2**61
"""The message number of an assignment that only reserves its slot: later than any that is ever written. See NO_BOUND
for its size."""


class Request:
    """A call from its admission to its one outcome.

    Times are in seconds of the caller's monotonic clock; `timeout_s` is the time from admission to deadline, of an
    attempt from when it is sent: before that its `deadline` is infinite. `due_at` is when the request has to be checked
    next: at its deadline, or earlier if a hedge may be due. `assignment` is set while a worker holds the request,
    `hedge` while a second worker does too. `is_waiting` is true while it waits for a free slot, since `waiting_since`;
    `waited_s` is the sum of earlier waits. `failed_ids` are the workers that were lost while they may have run it,
    `retries_count` is how often it was assigned again because of that. `kept_size_bytes` of its data are kept while
    it is assigned; see kept_data.py. `stream`: of the chunks of its assignment, from the first one on; there is no
    hedge beside it.
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
        "kept_size_bytes",
        "requester",
        "retries_count",
        "route",
        "stream",
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
        self.kept_size_bytes = 0
        self.failed_ids: tuple[str, ...] = ()
        self.stream: StreamWindow | None = None

    @property
    def may_have_run(self) -> bool:
        """A worker has it, or one that may have run it was lost. An assignment that is not yet written counts, because
        the link may still write it."""
        return self.assignment is not None or bool(self.failed_ids)

    @property
    def attempt_number(self) -> int:
        """How often it has been begun, from 1: of an attempt, that of its job."""
        attempt = self.call.attempt
        return self.retries_count + 1 if attempt is None else attempt.number

    def leave_out(self, pause_s: float) -> None:
        """Count `pause_s` neither as its wait for a slot nor as time that its workers have had."""
        self.waiting_since += pause_s
        for assignment in (self.assignment, self.hedge):
            if assignment is not None:
                assignment.assigned_at += pause_s

    def remaining_s(self, now: float) -> float:
        """The time left before a deadline that has not passed, as sent to a worker: whole milliseconds, at least
        one. An attempt that waits has all of its time."""
        if self.deadline == inf:
            return self.timeout_s
        # `round` formats the number and parses it again, which costs more than everything else about a wait.
        return max(BUDGET_S_MIN, int((self.deadline - now) * 1000.0 + 0.5) / 1000.0)


class Assignment:
    """A request given to one worker. It takes a slot until the worker reports its end or is lost.

    `message_number`, compared with the port's `written_count`, says whether it ever left the broker. `request` is None
    once the request has ended without it (timeout, cancel, another copy was answered), but the slot is still taken. A
    canary has no request from the start. `batch` is that of the assignments of the same command that were sent in the
    same turn; a canary has none.
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
        """It has left the broker, so the command may have run."""
        return self.message_number <= self.worker.port.written_count

    @property
    def is_unsent(self) -> bool:
        """It only reserves its slot."""
        return self.message_number == UNSENT

    @property
    def was_adopted(self) -> bool:
        """The worker had it before it connected: there may have been no free slot for it."""
        return self.message_number == ADOPTED
