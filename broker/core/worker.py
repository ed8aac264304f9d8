"""One worker as the core sees it, and the table of its states."""

import enum
from typing import TYPE_CHECKING, Final

from ...protocol.messages import Hello
from .ports import WorkerPort
from .request import Assignment

if TYPE_CHECKING:
    from .commands import Command
    from .pool import Pool


class WorkerState(enum.Enum):
    """What a worker may be given. A worker that has not yet said `connect` is not here at all."""

    HEALTHY = "healthy"
    DRAINING = "draining"
    GONE = "gone"


class WorkerEvent(enum.Enum):
    """What can happen to a worker."""

    LEAVING = "leaving"
    LOST = "lost"


TRANSITIONS: Final[dict[tuple[WorkerState, WorkerEvent], WorkerState]] = {
    (WorkerState.HEALTHY, WorkerEvent.LEAVING): WorkerState.DRAINING,
    (WorkerState.DRAINING, WorkerEvent.LEAVING): WorkerState.DRAINING,
    (WorkerState.HEALTHY, WorkerEvent.LOST): WorkerState.GONE,
    (WorkerState.DRAINING, WorkerEvent.LOST): WorkerState.GONE,
}
"""Every transition there is. GONE is final: a worker that comes back is a new Worker."""


class Worker:
    """A connected worker: what it declared, what it holds, what it has done."""

    __slots__ = (
        "assignments",
        "commands",
        "concurrency",
        "connected_at",
        "failed_count",
        "identity",
        "in_flight_count",
        "instance",
        "labels",
        "pools",
        "port",
        "sdk",
        "state",
        "succeeded_count",
        "weight",
        "worker_id",
    )

    def __init__(
        self, worker_id: str, hello: Hello, port: WorkerPort, identity: str, connected_at: float
    ) -> None:
        self.worker_id = worker_id
        self.instance = hello.instance
        self.identity = identity
        self.port = port
        self.concurrency = hello.concurrency
        self.weight = hello.weight
        self.labels = hello.labels
        self.sdk = hello.sdk
        self.connected_at = connected_at
        self.state = WorkerState.HEALTHY
        self.in_flight_count = 0
        self.assignments: dict[str, Assignment] = {}
        self.commands: dict[Command, None] = {}
        self.pools: list[Pool] = []
        self.succeeded_count = 0
        self.failed_count = 0

    def move(self, event: WorkerEvent) -> None:
        """Change state by the table; KeyError where it holds no such transition."""
        self.state = TRANSITIONS[self.state, event]
