"""One request while it lives, and one delivery of it to a worker. Plain state; the rules are in core.py.

Both are msgspec Structs, which are made several times faster than a class with an `__init__`; they compare by identity.
They need no garbage collector: `_finish` cuts the one cycle there is, between a request and its assignment.
"""

from typing import TYPE_CHECKING

from msgspec import Raw, Struct

if TYPE_CHECKING:
    from .commands import Command
    from .requester import Requester
    from .worker import Worker


class Request(Struct, eq=False, gc=False):
    """A requester's call of a command, from its admission to its one outcome.

    Times are seconds of the shell's monotonic clock. `assignment` is set while a worker holds it; `is_waiting` while it
    waits for a free slot; one of the two is true of every live request. `retries_count` counts the assignments that a
    lost worker has cost it.
    """

    request_id: str
    command: "Command"
    data: Raw
    requester: "Requester"
    submitted_at: float
    deadline: float
    idempotent: bool
    priority: int
    affinity: str | None
    trace: str | None
    deadline_tick: int = 0
    assignment: "Assignment | None" = None
    is_waiting: bool = False
    retries_count: int = 0


class Assignment(Struct, eq=False, gc=False):
    """One delivery of a request to a worker. It holds a slot until the worker reports its end or is lost.

    `message_number` tells, against the port's `written_count`, whether it ever left the broker. `request` is None once
    the request has ended without it (timeout, cancel): the slot is still taken.
    """

    msg_id: str
    worker: "Worker"
    assigned_at: float
    message_number: int
    request: Request | None
