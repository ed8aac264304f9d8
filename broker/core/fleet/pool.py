"""Workers that serve the same commands, and the strategy that picks among those that can take an assignment now.

Commands that have exactly the same workers and strategy share one pool: a pick depends on a worker's load, which is one
number however many commands the worker serves. So an assignment updates as many strategies as its worker has pools:
one if all workers are alike, and never more than its commands and targets.
"""

from collections.abc import Callable
from typing import Any, Final

from ....loadbalance.strategy import Strategy
from ....protocol.encodings import Encoding
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


class Pool:
    """`members` are all workers that serve its routes, with `slots_count` slots in all; `strategy` holds those that can
    take an assignment now: eligible, with a free slot."""

    __slots__ = ("_states", "is_panicking", "members", "routes", "slots_count", "strategy")

    def __init__(self, strategy: Strategy[Any], routes: list[Route]) -> None:
        self.strategy: Strategy[Worker] = strategy
        self.routes = routes
        self.members: dict[Worker, None] = {}
        self.slots_count = 0
        self.is_panicking = False
        self._states = dict.fromkeys(WorkerState, 0)

    @property
    def may_eject(self) -> bool:
        """One more member may be ejected."""
        count = len(self.members)
        ejected_count = self._states[WorkerState.EJECTED]
        return count > 1 and ejected_count < max(1, int(EJECTED_SHARE_MAX * count))

    def takes(self, worker: Worker) -> bool:
        """Whether a member is eligible, apart from its slots."""
        return worker.state in TRUSTED or (self.is_panicking and worker.state is not WorkerState.JOINING)

    def add(self, worker: Worker) -> list[Worker]:
        """Add a worker. Returns the members that this makes eligible."""
        self.members[worker] = None
        self.slots_count += worker.concurrency
        worker.memberships.append(self)
        self._states[worker.state] += 1
        return self._settle(worker)

    def remove(self, worker: Worker) -> list[Worker]:
        """Remove a member. Returns the members that this makes eligible."""
        if self in worker.pools:
            self.retire(worker)
        del self.members[worker]
        self.slots_count -= worker.concurrency
        worker.memberships.remove(self)
        self._states[worker.state] -= 1
        return self._settle(None)

    def moved(self, worker: Worker, before: WorkerState) -> list[Worker]:
        """A member has changed its state; retire it before. Returns the members that this makes eligible."""
        self._states[before] -= 1
        self._states[worker.state] += 1
        return self._settle(worker)

    def retire(self, worker: Worker) -> None:
        """Make a member ineligible, for now."""
        worker.pools.remove(self)
        if worker.in_flight_count < worker.capacity:
            self.strategy.remove(worker)

    def pick_avoiding(self, worker_ids: tuple[str, ...], affinity: str | None) -> Worker | None:
        """The strategy's pick, but none of `worker_ids` if there is another worker."""
        passed = self._pick_past(lambda worker: worker.worker_id in worker_ids, affinity)
        return passed[-1] or passed[0]

    def pick_reading(self, encoding: Encoding, affinity: str | None) -> Worker | None:
        """The strategy's pick among workers with this `encoding`; None if none is found in PASSED_COUNT_MAX picks."""
        return self._pick_past(lambda worker: worker.port.encoding is not encoding, affinity)[-1]

    def _pick_past(self, is_unwanted: Callable[[Worker], bool], affinity: str | None) -> list[Worker | None]:
        """The strategy's picks in order, up to the first that is wanted; the last is None if none is."""
        strategy = self.strategy
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
        """Update who is eligible, after the members or the state of one have changed. The members that became so."""
        trusted_count = sum(self._states[state] for state in TRUSTED)
        known_count = len(self.members) - self._states[WorkerState.JOINING]
        is_panicking = trusted_count < PANIC_SHARE * known_count
        if is_panicking is not self.is_panicking:
            self.is_panicking = is_panicking
            concerned = list(self.members)
        else:
            concerned = [] if worker is None else [worker]
        entered: list[Worker] = []
        for member in concerned:
            is_in = self in member.pools
            if self.takes(member) and not is_in:
                member.pools.append(self)
                if member.in_flight_count < member.capacity:
                    self.strategy.add(member)
                entered.append(member)
            elif is_in and not self.takes(member):
                self.retire(member)
        return entered
