"""Workers that serve the same commands, and the strategy that picks among those that can take an assignment now.

Commands that have exactly the same workers and strategy share one pool: a pick depends on a worker's load, which is one
number however many commands the worker serves. So an assignment updates as many strategies as its worker has pools:
one if all workers are alike, and never more than `FOLLOWED_COUNT_MAX`. Any further pool of a worker is lazy (lazy.py).
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from ....loadbalance.strategy import Strategy
from ....protocol.encodings import Encoding
from .changes import Changes
from .lazy import Lazy
from .route import Route
from .worker import TRUSTED, Worker, WorkerState

PANIC_SHARE: Final = 0.5
"""Below this share of trusted members, health is ignored: so many workers do not fail by themselves, so the cause is
elsewhere, and the few that are left would be overwhelmed. Source: Envoy's healthy_panic_threshold, also 50 %."""

EJECTED_SHARE_MAX: Final = 0.3
"""The share of members that may be ejected at once; at least one member. Envoy's max_ejection_percent is 10 %, but
fleets of ten workers are usual here, and three of them may share a broken machine."""

PASSED_COUNT_MAX: Final = 32
"""Workers that one pick may skip: more than a request can have lost, and a bound if hundreds do not qualify."""

NO_STATES: Final = dict.fromkeys(WorkerState, 0)


class Picker(Protocol):
    """A strategy, or a lazy one."""

    def pick(self, affinity: str | None) -> Worker | None:
        """See Strategy."""


class Pool:
    """`members` are all workers that serve its routes, with `slots_count` slots in all; `strategy` picks among those
    that can take an assignment now: eligible, with a free slot. If the pool is lazy, `lazy` is what picks, and its
    members do not know of the pool. `mark` is equal for pools with the same members, of which the same need a place."""

    __slots__ = (
        "_balanced",
        "_changes",
        "_states",
        "is_panicking",
        "lazy",
        "mark",
        "members",
        "routes",
        "slots_count",
        "strategy",
    )

    def __init__(self, strategy: Strategy[Any], routes: list[Route], changes: Changes) -> None:
        self._changes = changes
        self._balanced: Strategy[Worker] = strategy
        self.strategy: Picker = strategy
        self.lazy: Lazy | None = None
        self.routes = routes
        self.mark = 0
        self.members: dict[Worker, None] = {}
        self.slots_count = 0
        self.is_panicking = False
        self._states = NO_STATES.copy()

    @property
    def is_targeted(self) -> bool:
        """It is of one target, and no other pool's."""
        return self.routes[0].target is not None

    @property
    def may_eject(self) -> bool:
        """One more member may be ejected."""
        count = len(self.members)
        ejected_count = self._states[WorkerState.EJECTED]
        return count > 1 and ejected_count < max(1, int(EJECTED_SHARE_MAX * count))

    def takes(self, worker: Worker) -> bool:
        """Whether a member is eligible, apart from its slots."""
        return self.trusts(worker) and worker.has_place_for(self.routes[0].command.name)

    def trusts(self, worker: Worker) -> bool:
        """Whether the state of a member allows that it gets assignments."""
        return worker.state in TRUSTED or (self.is_panicking and worker.state is not WorkerState.JOINING)

    def holds(self, worker: Worker) -> bool:
        """Whether a worker is an eligible member, with a free slot or without."""
        if self.lazy is None:
            return self in worker.pools
        return worker in self.members and self.takes(worker)

    def add(self, worker: Worker) -> list[Worker]:
        """Add a worker. Returns the members that this makes eligible."""
        if self.lazy is None and not worker.may_follow:
            self._become_lazy()
        self.members[worker] = None
        command = self.routes[0].command.name
        self.mark ^= worker.mark_for(command)
        self.slots_count += worker.slots_for(command)
        if self.lazy is None:
            worker.followed[self] = None
        else:
            self._changes.watch(worker)
            self._changes.changed(worker)
        self._states[worker.state] += 1
        return self._settle(worker)

    def remove(self, worker: Worker) -> list[Worker]:
        """Remove a member. Returns the members that this makes eligible."""
        if self.lazy is not None:
            self.lazy.remove(worker)
        else:
            if self in worker.pools:
                self.retire(worker)
            del worker.followed[self]
        del self.members[worker]
        command = self.routes[0].command.name
        self.mark ^= worker.mark_for(command)
        self.slots_count -= worker.slots_for(command)
        self._states[worker.state] -= 1
        return self._settle(None)

    def moved(self, worker: Worker, before: WorkerState) -> list[Worker]:
        """A member has changed its state; retire it before. Returns the members that this makes eligible."""
        self._states[before] -= 1
        self._states[worker.state] += 1
        return self._settle(worker)

    def retire(self, worker: Worker) -> None:
        """Make a member ineligible, for now. Not for lazy pools."""
        del worker.pools[self]
        worker.strategies.remove(self._balanced)
        if worker.in_flight_count < worker.capacity:
            self._balanced.remove(worker)

    def divide(self, routes: list[Route], strategy: Strategy[Any]) -> "Pool":
        """Hand over some of its routes to a new pool, of the same members. That is lazy, so that it costs no work for
        each of them before something is picked from it."""
        moved = set(routes)
        self.routes = [route for route in self.routes if route not in moved]
        other = Pool(strategy, routes, self._changes)
        for route in routes:
            route.pool = other
        other.mark, other.slots_count, other.is_panicking = self.mark, self.slots_count, self.is_panicking
        other.members = self.members.copy()
        other._states = self._states.copy()
        other.strategy = other.lazy = Lazy(other, strategy, self._changes)
        other.lazy.outdate()
        if self.lazy is None:
            for member in self.members:
                self._changes.watch(member)
        return other

    def absorb(self, twin: "Pool") -> None:
        """Take over the routes of a pool with the same members and the same strategy, which ends."""
        for route in twin.routes:
            route.pool = self
        self.routes += twin.routes
        twin.routes = []
        if twin.lazy is None:
            for member in twin.members:
                if twin in member.pools:
                    twin.retire(member)
                del member.followed[twin]
        twin.members.clear()

    @property
    def may_follow(self) -> bool:
        """Each member has room for one more pool that it follows."""
        return all(member.may_follow for member in self.members)

    def follow(self) -> None:
        """Be lazy no more, if that may be."""
        lazy = self.lazy
        if lazy is None or not self.may_follow:
            return
        lazy.refresh()
        self.strategy, self.lazy = self._balanced, None
        for member in self.members:
            member.followed[self] = None
            if self.takes(member):
                member.pools[self] = None
                member.strategies.append(self._balanced)

    def _become_lazy(self) -> None:
        lazy = Lazy(self, self._balanced, self._changes)
        for member in self.members:
            self._changes.watch(member)
            del member.followed[self]
            if self in member.pools:
                del member.pools[self]
                member.strategies.remove(self._balanced)
                if member.in_flight_count < member.capacity:
                    lazy.take_over(member)
        self.strategy = self.lazy = lazy

    def pick_avoiding(self, worker_ids: tuple[str, ...], affinity: str | None) -> Worker | None:
        """The strategy's pick, but none of `worker_ids` if there is another worker."""
        passed = self._pick_past(lambda worker: worker.worker_id in worker_ids, affinity)
        return passed[-1] or passed[0]

    def pick_reading(self, encoding: Encoding, affinity: str | None) -> Worker | None:
        """The strategy's pick among workers with this `encoding`; None if none is found in PASSED_COUNT_MAX picks."""
        return self._pick_past(lambda worker: worker.port.encoding is not encoding, affinity)[-1]

    def _pick_past(self, is_unwanted: Callable[[Worker], bool], affinity: str | None) -> list[Worker | None]:
        """The strategy's picks in order, up to the first that is wanted; the last is None if none is."""
        if self.lazy is not None:
            self.lazy.refresh()
        strategy = self._balanced
        passed: list[Worker] = []
        while (worker := strategy.pick(affinity)) is not None and is_unwanted(worker):
            passed.append(worker)
            strategy.remove(worker)
            if len(passed) == PASSED_COUNT_MAX:
                worker = None
                break
        for other in passed:
            strategy.add(other)
        return [*passed, worker]

    def _settle(self, worker: Worker | None) -> list[Worker]:
        """Update who is eligible, after the members or the state of one have changed. The members that became so; of a
        lazy pool those that are, and only if requests wait for them."""
        trusted_count = sum(self._states[state] for state in TRUSTED)
        known_count = len(self.members) - self._states[WorkerState.JOINING]
        is_panicking = trusted_count < PANIC_SHARE * known_count
        has_turned = is_panicking is not self.is_panicking
        self.is_panicking = is_panicking
        if self.lazy is not None:
            if has_turned:
                self.lazy.outdate()
            if not any(route.waiting.count for route in self.routes):
                return []
        concerned = list(self.members) if has_turned else [] if worker is None else [worker]
        if self.lazy is not None:
            return [member for member in concerned if self.takes(member)]
        return [member for member in concerned if self.review(member)]

    def review(self, member: Worker) -> bool:
        """Make a member eligible, or not, if that has changed. True if it has become so. Not for lazy pools."""
        is_in = self in member.pools
        is_taken = self.takes(member)
        if is_in and not is_taken:
            self.retire(member)
        if is_in or not is_taken:
            return False
        member.pools[self] = None
        member.strategies.append(self._balanced)
        if member.in_flight_count < member.capacity:
            self._balanced.add(member)
        return True
