"""A run of the whole system on simulated wires, from one seed, and the rules that it must keep."""

import random
from collections import Counter
from typing import Final

from taskferry.broker.access.counts import Limit
from taskferry.broker.access.limits import Limits
from taskferry.broker.access.rights import Action
from taskferry.broker.core.delivery.deadlines import TICK_S
from taskferry.broker.core.settings import CoreSettings
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.protocol.errors import NOT_DELIVERED, REGISTRY

from tests.sim.access import REQUESTER_NAMES, WORKER_NAMES
from tests.sim.broker import TIMER_LATE_S_MAX, SimulatedBroker
from tests.sim.network import LATENCY_S, SILENCE_S, Clock
from tests.sim.peers import Records, SimulatedRequester, SimulatedWorker

ACTIONS: Final = (Action.CALL, Action.TARGET, Action.SERVE)
LIMITS: Final = (Limit.ACCOUNT_CONNECTIONS, Limit.ACCOUNT_MESSAGES)
TRAFFIC_S: Final = 6.0
REQUESTS_COUNT: Final = 30
"""Requests of each requester."""
ANSWER_LATE_S_MAX: Final = 2 * LATENCY_S[1] + TICK_S + TIMER_LATE_S_MAX + 1e-6
"""An answer arrives at most this long after its deadline, by the requester's own clock: the way there, the tick of the
deadline, the lateness of the timer, the way back."""


class RuleBroken(AssertionError):
    """Which rule the run of this seed broke, and how to replay it."""

    def __init__(self, seed: int, what: object) -> None:
        super().__init__(f"seed {seed}: {what}\nreplay it: python -m tests.sim.replay {seed}")


class Simulation:
    """Call `run` once; `records.trace` is then what happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.records = Records()
        chance = random.Random(seed)
        self._clock = Clock()
        self._settings = CoreSettings(
            queue_count_max=chance.choice([2, 10, 1000]),
            queue_size_bytes_max=chance.choice([10, 1000]),
            in_flight_count_max=chance.choice([5, 1000]),
            retries_count_max=chance.randint(0, 2),
            retries_share_max=chance.choice([0.0, 0.2, 1.0]),
            hedges_share_max=chance.choice([0.0, 0.05, 1.0]),
        )
        self._broker = SimulatedBroker(self._clock, chance, chance.choice(list(STRATEGIES)), self._settings)
        ends_at = self._clock.now + TRAFFIC_S + 25.0
        workers_count = chance.randint(2, 6)
        for number in range(workers_count):
            SimulatedWorker(number, self._broker, self.records, chance, ends_at)
        for _ in range(chance.randint(0, 2)):
            self._operate(f"w{chance.randrange(workers_count)}", chance)
        for _ in range(chance.choice([0, 4, 10])):
            self._clock.call_later(chance.uniform(0.5, TRAFFIC_S), self._reload)
        for _ in range(chance.randint(0, 9)):
            self._clock.call_later(chance.uniform(0.5, TRAFFIC_S), self._broker.expire)
        self._requesters = [
            SimulatedRequester(
                number,
                self._broker,
                self.records,
                chance,
                request_count=REQUESTS_COUNT,
                sends_until=ends_at + SILENCE_S[1] - 21.0,
            )
            for number in range(chance.randint(1, 4))
        ]
        # Later than any deadline, 20 s at most: by now every request must have been answered.
        self._clock.call_at(ends_at + SILENCE_S[1], self._retire)
        if chance.random() < 0.15:
            self._clock.call_later(chance.uniform(1, TRAFFIC_S), self._stop_broker)

    def happened(self) -> Counter[str]:
        """How often the rarer things happened in this run."""
        broker, counts = self._broker, self._broker.access.counts
        return Counter(
            {
                "requests that ended with their requester's login": broker.requests_cut_count,
                "assignments that were lost with their worker's login": broker.assignments_cut_count,
                "requests that then went to another worker": broker.recovered_count,
                "requests refused for an account's bound": broker.core.counts.account_refused_count,
                "bytes refused for an account's bound": broker.core.queue.account_refused_count,
                **{f"forbidden to {action.value}": counts.forbidden[action] for action in ACTIONS},
                **{f"over {limit.value}": counts.limited[limit] for limit in LIMITS},
            }
        )

    def run(self) -> None:
        """Raises RuleBroken."""
        try:
            self._clock.run()
            self._check_rules()
        except AssertionError as error:
            raise RuleBroken(self.seed, error) from error

    def _operate(self, worker_id: str, chance: random.Random) -> None:
        drains_in_s = chance.uniform(0, TRAFFIC_S)
        self._clock.call_later(drains_in_s, lambda: self._broker.operate(worker_id, undo=False))
        if chance.random() < 0.7:
            undoes_in_s = drains_in_s + chance.uniform(0, TRAFFIC_S)
            self._clock.call_later(undoes_in_s, lambda: self._broker.operate(worker_id, undo=True))

    def _retire(self) -> None:
        for requester in self._requesters:
            requester.retire()

    def _reload(self) -> None:
        self.records.note(self._clock.now, f"the access file has changed: {self._broker.reload()}")

    def _stop_broker(self) -> None:
        self.records.note(self._clock.now, "the broker stops")
        self._broker.core.stop(self._clock.now)
        self._broker.called()

    def _check_rules(self) -> None:
        for sent in self.records.sent.values():
            assert len(sent.answers) == 1, f"{sent.request_id} was answered {len(sent.answers)} times"
            at, outcome, data, worker_id, delivery = sent.answers[0]
            runs = self.records.runs.get(sent.request_id, [])
            what = f"{sent} ran at {runs}"
            assert at <= sent.sent_at + sent.timeout_s + ANSWER_LATE_S_MAX, f"late: {what}"
            if outcome == "timeout":
                assert at >= sent.sent_at + sent.timeout_s, f"early: {what}"
            if outcome == "success":
                assert data == f'"{sent.request_id} by {worker_id}"', f"a wrong result: {what}"
                assert worker_id in runs
            if outcome == "cancelled":
                assert sent.is_cancelled
            if outcome in REGISTRY and REGISTRY[outcome].retryable:
                assert not runs, f"{outcome} promises that it did not run: {what}"
            if delivery == NOT_DELIVERED:
                assert not runs, f"reported as not delivered: {what}"
        requests = self.records.sent
        for request_id, runs in self.records.runs.items():
            sent_or_none = requests.get(request_id)  # None if its requester has left
            bound = 1
            if sent_or_none is None or sent_or_none.is_idempotent:
                bound += self._settings.retries_count_max
            if sent_or_none is None or sent_or_none.is_hedged:
                bound += 1
            assert len(runs) <= bound, f"{request_id} ran at {runs}"
        core = self._broker.core
        assert core.counts.in_flight_count == core.queue.count == core.queue.size_bytes == 0
        assert not core.requesters
        assert not self._broker.ends
        for name in (*REQUESTER_NAMES, *WORKER_NAMES):
            usage = self._broker.access.usages.of(name, Limits(), self._clock.now)
            assert usage.connections_count == 0
            assert usage.account.in_flight_count == usage.account.waiting_size_bytes == 0
        assert not core.roster.workers
        assert core.deadlines.is_empty
        assert all(command.route.pool is None for command in core.roster.commands.values())
