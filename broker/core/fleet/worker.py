"""One worker as the core sees it, and the table of its states."""

import enum
from typing import TYPE_CHECKING, Final

from ....loadbalance.strategy import Candidate
from ....protocol.messages import Hello
from ..ports import WorkerPort
from ..request import Assignment
from .record import Record
from .tally import Tally

if TYPE_CHECKING:
    from .command import Command
    from .pool import Pool


ALWAYS: Final = 0.0
"""Before any time of the core's clock."""


class WorkerState(enum.Enum):
    """What a worker may be given. A worker that has not yet said `connect` is not here at all.

    JOINING: it declared a canary and has not answered the first one. HEALTHY: everything. SUSPECT: its link is silent,
    or its canary overdue; EJECTED: it failed where others did not; both get something only in a panic. PROBING: its
    ejection is over, and one assignment shall show what it is worth. DRAINING: nothing more. GONE: its link is closed.
    """

    JOINING = "joining"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    EJECTED = "ejected"
    PROBING = "probing"
    DRAINING = "draining"
    GONE = "gone"


class WorkerEvent(enum.Enum):
    """What can happen to a worker."""

    READY = "ready"
    """It has answered its first canary, or declared none."""
    DOUBTED = "doubted"
    """Its link has fallen silent, or a canary is overdue."""
    CLEARED = "cleared"
    """It has been heard of again, or has answered the canary."""
    CONDEMNED = "condemned"
    """It has failed too much."""
    EJECTION_OVER = "ejection over"
    PROBE_SUCCEEDED = "probe succeeded"
    LEAVING = "leaving"
    """It said `disconnect`, or an operator drains it."""
    RESUMED = "resumed"
    """The operator has taken that back."""
    LOST = "lost"


S, E = WorkerState, WorkerEvent
TRANSITIONS: Final[dict[tuple[WorkerState, WorkerEvent], WorkerState]] = {
    (S.JOINING, E.READY): S.HEALTHY,
    (S.JOINING, E.CONDEMNED): S.EJECTED,
    (S.JOINING, E.LEAVING): S.DRAINING,
    (S.JOINING, E.LOST): S.GONE,
    (S.HEALTHY, E.DOUBTED): S.SUSPECT,
    (S.HEALTHY, E.CONDEMNED): S.EJECTED,
    (S.HEALTHY, E.LEAVING): S.DRAINING,
    (S.HEALTHY, E.LOST): S.GONE,
    (S.SUSPECT, E.CLEARED): S.HEALTHY,
    (S.SUSPECT, E.CONDEMNED): S.EJECTED,
    (S.SUSPECT, E.LEAVING): S.DRAINING,
    (S.SUSPECT, E.LOST): S.GONE,
    (S.EJECTED, E.EJECTION_OVER): S.PROBING,
    (S.EJECTED, E.LEAVING): S.DRAINING,
    (S.EJECTED, E.LOST): S.GONE,
    (S.PROBING, E.PROBE_SUCCEEDED): S.HEALTHY,
    (S.PROBING, E.CONDEMNED): S.EJECTED,
    (S.PROBING, E.LEAVING): S.DRAINING,
    (S.PROBING, E.LOST): S.GONE,
    (S.DRAINING, E.RESUMED): S.HEALTHY,
    (S.DRAINING, E.LEAVING): S.DRAINING,
    (S.DRAINING, E.LOST): S.GONE,
}
"""Every transition there is; any other event changes nothing. GONE is final: a worker that comes back is a new Worker,
with its old Record."""

TRUSTED: Final = frozenset({S.HEALTHY, S.PROBING})
"""The states in which a worker is given work."""

SERVING: Final = frozenset({S.JOINING, S.HEALTHY, S.SUSPECT, S.EJECTED, S.PROBING})
"""The states in which a worker counts as one that serves its commands: who waits for these waits on."""
del S, E


class Worker(Candidate):
    """A connected worker: what it declared, what it holds, what it has done and what is thought of it.

    `capacity` is how many assignments it may hold now; `pools` are those whose strategy reckons with it, `memberships`
    all those that it belongs to. What a strategy sees of it is a Candidate's.
    """

    __slots__ = (
        "assignments",
        "canary",
        "canary_due_at",
        "canary_ended_count",
        "canary_msg_id",
        "capacity",
        "commands",
        "concurrency",
        "connected_at",
        "declared_weight",
        "identity",
        "instance",
        "is_leaving",
        "labels",
        "learn_at",
        "learned_at",
        "memberships",
        "pools",
        "port",
        "reason",
        "record",
        "sdk",
        "slowness",
        "state",
        "verdict",
    )

    def __init__(  # noqa: PLR0917  what a worker is, all of it needed
        self,
        worker_id: str,
        hello: Hello,
        port: WorkerPort,
        identity: str,
        connected_at: float,
        record: Record | None = None,
    ) -> None:
        self.worker_id = worker_id
        self.instance = hello.instance
        self.identity = identity
        self.port = port
        self.concurrency = self.capacity = hello.concurrency
        self.weight = self.declared_weight = hello.weight
        self.labels = hello.labels
        self.sdk = hello.sdk
        self.connected_at = connected_at
        self.state = WorkerState.JOINING
        self.reason = ""
        """Why it is in a state other than healthy, for people."""
        self.verdict = ""
        """The same without a handler's own words, which may hold data of requests and are not for a log."""
        self.record = record or Record()
        self.in_flight_count = 0
        self.assignments: dict[str, Assignment] = {}
        self.commands: dict[Command, Tally] = {}
        self.memberships: list[Pool] = []
        self.pools: list[Pool] = []
        self.speed = 1.0
        self.latency = 1.0
        self.slowness = 0.0
        self.learned_at = connected_at
        """See speed.py."""
        self.learn_at = ALWAYS
        """From when on a success is told to health.py: now where it may change an opinion, else a little later."""
        self.canary = hello.canary
        self.canary_msg_id: str | None = None
        self.canary_due_at = connected_at
        self.canary_ended_count = 0
        """See canary.py."""
        self.is_leaving = False
        """It said `disconnect` itself: no operator can take that back."""

    @property
    def succeeded_count(self) -> int:
        """Assignments that it has ended with a result."""
        return self.ended_counts()[0]

    @property
    def failed_count(self) -> int:
        """Assignments that it has ended with an error, or not in time."""
        return self.ended_counts()[1]

    def ended_counts(self) -> tuple[int, int]:
        """The two counts in one walk over its commands."""
        succeeded_count = failed_count = 0
        for tally in self.commands.values():
            succeeded_count += tally.succeeded_count
            failed_count += tally.failed_count + tally.neutral_count
        return succeeded_count, failed_count

    def move(self, event: WorkerEvent, verdict: str = "", words: str = "") -> bool:
        """Change state by the table; `words` are a handler's. False where the event changes nothing in this state."""
        state = TRANSITIONS.get((self.state, event))
        if state is None or state is self.state:
            return False
        self.state = state
        self.verdict = verdict
        self.reason = f"{verdict}: {words}" if words else verdict
        return True
