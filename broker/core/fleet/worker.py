"""One worker as the core sees it, and the table of its states."""

import enum
from typing import TYPE_CHECKING, Final, Protocol

from ....loadbalance.strategy import Candidate
from ..offer import Offer
from ..ports import WorkerPort
from ..request import Assignment
from .places import Places
from .record import Record
from .tally import Tally

if TYPE_CHECKING:
    from .changes import Changes
    from .command import Command
    from .pool import Pool


FOLLOWED_COUNT_MAX: Final = 16
"""Pools of a worker whose strategies are updated with each of its assignments: more than well-ordered fleets have, and
some microseconds. Others are brought up to date when something is to be picked from them."""

ALWAYS: Final = 0.0
"""Earlier than any time of the core's clock."""


class WorkerState(enum.Enum):
    """Whether a worker gets assignments. A worker that has not yet said `connect` is unknown here.

    JOINING: it declared a canary and has not answered the first one. HEALTHY: it gets assignments. SUSPECT: its link is
    silent, or its canary failed or is overdue. EJECTED: it failed while others did not. Both of these get assignments
    only in a panic. PROBING: its ejection is over, and one assignment decides whether it is readmitted. DRAINING: it
    gets nothing new. GONE: its link is closed.
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
    """Its link is silent, or its canary failed or is overdue."""
    CLEARED = "cleared"
    """Its link is no longer silent, or an assignment or canary has succeeded."""
    CONDEMNED = "condemned"
    """It has failed too often."""
    EJECTION_OVER = "ejection over"
    PROBE_SUCCEEDED = "probe succeeded"
    LEAVING = "leaving"
    """It said `disconnect`, or an operator drains it."""
    RESUMED = "resumed"
    """An operator has undone the drain: it continues as if it had just joined."""
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
    (S.DRAINING, E.RESUMED): S.JOINING,
    (S.DRAINING, E.LEAVING): S.DRAINING,
    (S.DRAINING, E.LOST): S.GONE,
}
"""All transitions; any other event changes nothing. GONE is final: a worker that reconnects is a new Worker, with its
old Record."""

TRUSTED: Final = frozenset({S.HEALTHY, S.PROBING})
"""The states in which a worker gets assignments even if there is no panic."""

SERVING: Final = frozenset({S.JOINING, S.HEALTHY, S.SUSPECT, S.EJECTED, S.PROBING})
"""The states in which a worker serves its commands: requests for them wait instead of failing."""
del S, E


class Follower(Protocol):
    """A strategy, or whatever else is notified of a worker's assignments."""

    def add(self, candidate: "Worker") -> None:
        """See Strategy."""

    def remove(self, candidate: "Worker") -> None:
        """See Strategy."""

    def changed(self, candidate: "Worker") -> None:
        """See Strategy."""


class Worker(Candidate):
    """A connected worker: what it declared, its assignments, its results and its health.

    `capacity` is how many assignments it may hold now. `followed` are the pools that it belongs to, but for lazy ones;
    `pools` are those of them in which it is eligible, and `strategies` are theirs. If it belongs to lazy pools, too, or
    did a moment ago, `changes` is there and one of the `strategies`. Strategies see the attributes of Candidate.
    """

    __slots__ = (
        "_marks",
        "assignments",
        "canary",
        "canary_due_at",
        "canary_ended_count",
        "canary_msg_id",
        "capacity",
        "changes",
        "commands",
        "concurrency",
        "connected_at",
        "declared_weight",
        "followed",
        "identity",
        "instance",
        "is_leaving",
        "is_proven",
        "labels",
        "learn_at",
        "learned_at",
        "places",
        "pools",
        "port",
        "reason",
        "record",
        "sdk",
        "slowness",
        "state",
        "strategies",
        "verdict",
    )

    def __init__(  # noqa: PLR0917  a worker is all of these
        self,
        worker_id: str,
        offer: Offer,
        port: WorkerPort,
        identity: str,
        connected_at: float,
        record: Record | None = None,
        number: int = 0,
    ) -> None:
        self._marks = (
            hash((number, number)),
            hash((number, number, 1)),
        )  # of a tuple: that of a number is the number
        self.worker_id = worker_id
        self.instance = offer.instance
        self.identity = identity
        self.port = port
        self.concurrency = self.capacity = offer.concurrency
        self.weight = self.declared_weight = offer.weight
        self.labels = offer.labels
        self.sdk = offer.sdk
        self.places = None if offer.places is None else Places(offer.places)
        """See places.py."""
        self.connected_at = connected_at
        self.state = WorkerState.JOINING
        self.reason = ""
        """Why it is not healthy, for people."""
        self.verdict = ""
        """The same without a handler's text, which may contain data of requests and must not be logged."""
        self.record = record or Record()
        self.in_flight_count = 0
        self.assignments: dict[str, Assignment] = {}
        self.commands: dict[Command, Tally] = {}
        self.followed: dict[Pool, None] = {}
        self.pools: dict[Pool, None] = {}
        self.strategies: list[Follower] = []
        self.changes: Changes | None = None
        self.speed = 1.0
        self.latency = 1.0
        self.slowness = 0.0
        self.learned_at = connected_at
        """See speed.py."""
        self.learn_at = ALWAYS
        """From when on a success is reported to health.py: at once if it may change the worker's state, else a little
        later."""
        self.canary = offer.canary
        self.canary_msg_id: str | None = None
        self.canary_due_at = connected_at
        self.canary_ended_count = 0
        """See canary.py."""
        self.is_proven = offer.canary is None
        """It has succeeded at a canary, or declared none."""
        self.is_leaving = False
        """It said `disconnect` itself: an operator cannot undo that."""

    # --- slots: the hot path ---

    def occupy(self, msg_id: str, command: str) -> None:
        """One more slot is taken by an assignment of `command`, after a strategy has picked the worker."""
        count = self.in_flight_count = self.in_flight_count + 1
        if count < self.capacity:
            for strategy in self.strategies:
                strategy.changed(self)
        else:
            for strategy in self.strategies:
                strategy.remove(self)
        if self.places is not None and self.places.take(msg_id, command):
            self._review_pools()

    def release(self, msg_id: str) -> None:
        """The slot of an assignment is free again, unless the worker had adopted more than it has slots."""
        count = self.in_flight_count
        self.in_flight_count = count - 1
        if count < self.capacity:
            for strategy in self.strategies:
                strategy.changed(self)
        elif count == self.capacity:
            for strategy in self.strategies:
                strategy.add(self)
        if self.places is not None and self.places.free(msg_id):
            self._review_pools()

    def reposition(self) -> None:
        """Its weight or speed has changed; or it was picked but could not take the request. In that case its equals go
        first, because a worker that stayed first in line would attract and fail every request that it cannot be
        sent."""
        if self.in_flight_count < self.capacity:
            for strategy in self.strategies:
                strategy.changed(self)

    def _review_pools(self) -> None:
        """Its last place was taken, or is free again."""
        for pool in self.followed:
            pool.review(self)

    # --- its pools ---

    @property
    def may_follow(self) -> bool:
        """It has room for one more pool that it follows."""
        return len(self.followed) < FOLLOWED_COUNT_MAX

    def memberships(self) -> list["Pool"]:
        """All pools that it belongs to; the lazy ones are found by its commands."""
        if self.changes is None:
            return list(self.followed)
        pools = self.followed.copy()
        for command in self.commands:
            for route in (command.route, *command.targeted.values()):
                pool = route.pool
                if pool is not None and pool.lazy is not None and self in pool.members:
                    pools[pool] = None
        return list(pools)

    # --- its places ---

    def needs_place_for(self, command: str) -> bool:
        """An assignment of this command takes a place."""
        return self.places is not None and self.places.are_for(command)

    def has_place_for(self, command: str) -> bool:
        """There is a free place for an assignment of this command, or it needs none."""
        return self.places is None or not self.places.is_full or not self.places.are_for(command)

    def slots_for(self, command: str) -> int:
        """How many assignments of this command it can run at once."""
        if self.places is None or not self.places.are_for(command):
            return self.concurrency
        return min(self.concurrency, self.places.count_max)

    def mark_for(self, command: str) -> int:
        """A number like a hash, as good as unique to this worker, and to whether the command needs a place."""
        return self._marks[self.needs_place_for(command)]

    # --- its results ---

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

    def move(self, event: WorkerEvent, verdict: str = "", words: str = "") -> None:
        """Change state by the table; `words` are a handler's text."""
        state = TRANSITIONS.get((self.state, event))
        if state is None or state is self.state:
            return
        self.state = state
        self.verdict = verdict
        self.reason = f"{verdict}: {words}" if words else verdict
