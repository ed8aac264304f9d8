"""One request while it lives, and one delivery of it to a worker. Plain state; the rules are in core.py.

Both are msgspec Structs, which are made several times faster than a class with an `__init__`; they compare by identity.
They need no garbage collector: `_finish` cuts the cycles there are, between a request and its assignments.
"""

from typing import TYPE_CHECKING

from msgspec import Raw, Struct

if TYPE_CHECKING:
    from .commands import Command
    from .requester import Requester
    from .route import Route
    from .worker import Worker


class Request(Struct, eq=False, gc=False):
    """A requester's call of a command, from its admission to its one outcome.

    Times are seconds of the shell's monotonic clock. `due_at` is when it is to be looked at next: its deadline, or
    before that the moment for a second copy (`hedge_after`, see hedging.py). `assignment` is set while a worker holds
    it, `hedge` while a second one does; `is_waiting` while it waits for a free slot, since `waiting_since`, beside the
    `waited_s` of earlier waits. `retries_count` counts the assignments that a lost worker has cost it, `failed_ids`
    names those workers.
    """

    request_id: str
    command: "Command"
    route: "Route"
    data: Raw
    requester: "Requester"
    submitted_at: float
    deadline: float
    due_at: float
    idempotent: bool
    priority: int
    affinity: str | None
    trace: str | None
    hedge_after: "float | str | None" = None
    due_tick: int = 0
    assignment: "Assignment | None" = None
    hedge: "Assignment | None" = None
    is_waiting: bool = False
    waiting_since: float = 0.0
    waited_s: float = 0.0
    retries_count: int = 0
    failed_ids: tuple[str, ...] = ()


class Assignment(Struct, eq=False, gc=False):
    """One delivery of a request to a worker. It holds a slot until the worker reports its end or is lost.

    `message_number` tells, against the port's `written_count`, whether it ever left the broker. `request` is None once
    the request has ended without it (timeout, cancel, another copy's answer): the slot is still taken. A canary has no
    request from the start.
    """

    msg_id: str
    worker: "Worker"
    assigned_at: float
    message_number: int
    request: Request | None

    @property
    def was_written(self) -> bool:
        """It has left the broker, so that the command may have run."""
        return self.message_number <= self.worker.port.written_count
