"""A state machine that does everything to the core that peers, time and operators can do, in any order.

After every step it checks: submitted = ended + in flight, one answer per request, no worker over its slots, no request
run more often than allowed, none answered late, and nothing left once all peers have gone.
"""

from collections import Counter
from types import ModuleType
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from taskferry.broker.core.account import NO_BOUND, Account
from taskferry.broker.core.adopted import Adopted
from taskferry.broker.core.delivery import hedging
from taskferry.broker.core.delivery.deadlines import NEVER, TICK_S
from taskferry.broker.core.explain import explain
from taskferry.broker.core.fleet import directory, lazy, roster
from taskferry.broker.core.fleet import worker as fleet_worker
from taskferry.broker.core.health import outliers
from taskferry.broker.core.offer import PlacesOffer
from taskferry.broker.core.queue import overload, shedding
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NOT_DELIVERED, REGISTRY, NotRepresentable, TooLarge, WorkerIdTaken
from taskferry.protocol.messages import Result

from tests.unit.broker.core.listening import WatchfulListener
from tests.unit.broker.core.world import CANARY, Answer, FakeRequester, FakeWorker, World

COMMANDS = ("a", "b", "c")
NEVER_SERVED = "nobody-serves-this"
TARGETS = (None, None, None, None, None, "v", "w", {"gpu": "yes"}, {"gpu": ["yes", "no"]})
CLOCK_STEP_S = 1e-6

index = st.integers(0, 9)
"""Selects one of the existing items, however many there are."""


SMALL: dict[tuple[ModuleType, str], int] = {
    (overload, "WAITS_COUNT_MIN"): 1,
    (shedding, "OWN_COUNT_MIN"): 2,
    (overload, "OWN_WAITS_COUNT_MIN"): 1,
    (outliers, "RESULTS_COUNT_MIN"): 3,
    (outliers, "WORKERS_COUNT_MIN"): 3,
    (hedging, "DURATIONS_COUNT_MIN"): 3,
}
"""Bounds that are made small enough for short walks to reach."""


def set_bounds(bounds: dict[tuple[ModuleType, str], int]) -> None:
    for (module, name), value in bounds.items():
        setattr(module, name, value)


class Submitted(NamedTuple):
    """A request as its requester knows it."""

    requester: FakeRequester
    request_id: str
    command: str
    deadline: float
    is_idempotent: bool
    is_hedged: bool


class CoreMachine(RuleBasedStateMachine):
    """Peers are in lists; rules select from them by index."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds: dict[tuple[ModuleType, str], int] = {}
        self.accounts: list[Account] = []
        self.requesters: list[FakeRequester] = []
        self.jobs: FakeRequester
        self.workers: list[FakeWorker] = []
        self.all_workers: list[FakeWorker] = []
        self.submitted: dict[str, Submitted] = {}
        self.adopted: set[str] = set()
        """Attempts that a worker had before it joined."""
        self.certain: set[str] = set()
        """Requests that were reported as certainly not run."""
        self.answers_checked_count = 0
        self.request_count = 0

    @initialize(
        strategy=st.sampled_from(list(STRATEGIES)),
        queue_count_max=st.sampled_from([0, 3, 50, 50]),
        queue_size_bytes_max=st.sampled_from([60, 10_000, 10_000]),
        in_flight_count_max=st.sampled_from([4, 50, 50]),
        assigned_size_bytes_max=st.sampled_from([0, 5000, 50_000]),
        retries_count_max=st.integers(0, 2),
        retries_share_max=st.sampled_from([0.0, 0.2, 1.0]),
        hedges_share_max=st.sampled_from([0.0, 0.05, 1.0]),
        start_wait_s=st.sampled_from([0.0, 0.0, 3.0]),
        commands_known_count_max=st.sampled_from([0, 2, 100]),
        targets_count_max=st.sampled_from([1, 2, 100]),
        followed_count_max=st.sampled_from([0, 1, 16]),
        followed_members_count_max=st.sampled_from([0, 500]),
        seen_count_max=st.sampled_from([1, 2, 16]),
        is_listened_to=st.booleans(),
        in_flight=st.sampled_from([1, 5, NO_BOUND]),
        waiting=st.sampled_from([0, 20, NO_BOUND]),
    )
    def begin(
        self,
        *,
        strategy: str,
        commands_known_count_max: int,
        targets_count_max: int,
        followed_count_max: int,
        followed_members_count_max: int,
        seen_count_max: int,
        is_listened_to: bool,
        in_flight: int,
        waiting: int,
        **settings: Any,
    ) -> None:
        bounds = SMALL | {
            (directory, "COMMANDS_KNOWN_COUNT_MAX"): commands_known_count_max,
            (roster, "TARGETS_COUNT_MAX"): targets_count_max,
            (fleet_worker, "FOLLOWED_COUNT_MAX"): followed_count_max,
            (roster, "FOLLOWED_MEMBERS_COUNT_MAX"): followed_members_count_max,
            (lazy, "SEEN_COUNT_MAX"): seen_count_max,
        }
        self.bounds = {(module, name): getattr(module, name) for module, name in bounds}
        set_bounds(bounds)
        self.world = World(strategy, listener=WatchfulListener() if is_listened_to else None, **settings)
        self.world.core.started(self.world.now)
        self.retries_count_max = settings["retries_count_max"]
        bounded = self.world.account("bounded", in_flight=in_flight, waiting=waiting)
        self.accounts = [bounded, self.world.account("other"), bounded]
        self.requesters = [self.world.requester(account) for account in self.accounts]
        self.jobs = self.world.requester()
        self.gatherer = self.world.requester(bounded, names_workers=True)
        for worker_id in ("v", "w", "x"):
            self.worker_joins(worker_id, list(COMMANDS), concurrency=4, labels={"gpu": "yes"})

    # --- requesters ---

    @rule(
        which=index,
        command=st.sampled_from([*COMMANDS, *COMMANDS, *COMMANDS, NEVER_SERVED]),
        timeout=st.sampled_from([None, None, None, 0.001, 3.0, 20.0]),
        idempotent=st.sampled_from([True, True, False]),
        priority=st.sampled_from([None, 0, 5, 9]),
        data=st.sampled_from([b"{}", b'"0123456789"', b'"%s"' % (b"x" * 2000)]),
        asks_for=st.sampled_from(TARGETS),
        hedge=st.sampled_from([None, 0.001, 0.001, 0.3, "p50"]),
        count=st.integers(1, 5),
    )
    def submit(
        self,
        which: int,
        command: str,
        *,
        timeout: float | None = None,
        idempotent: bool = False,
        hedge: float | str | None = None,
        asks_for: str | dict[str, str | list[str]] | None = None,
        count: int = 1,
        **fields: Any,
    ) -> None:
        requester = self.requesters[which % len(self.requesters)]
        hedge = hedge if idempotent else None
        fields |= {"timeout": timeout, "idempotent": idempotent, "hedge": hedge, "target": asks_for}
        for _ in range(count):
            self.request_count += 1
            request_id = f"q{self.request_count}"
            deadline = self.world.now + (timeout or self.world.core.settings.timeout_s)
            self.submitted[request_id] = Submitted(
                requester, request_id, command, deadline, idempotent, hedge is not None
            )
            requester.submit(command, request_id=request_id, **fields)
            self._check_refusal(requester, request_id, len(fields.get("data", b"{}")))
        self.look()

    @rule(
        worker_ids=st.lists(st.sampled_from(["v", "w", "x", "y"]), min_size=1, unique=True),
        command=st.sampled_from([*COMMANDS, NEVER_SERVED]),
        timeout=st.sampled_from([None, 3.0]),
        is_idempotent=st.booleans(),
    )
    def gather_asks(
        self, worker_ids: list[str], command: str, timeout: float | None, is_idempotent: bool
    ) -> None:
        """Some workers are asked by name, each for itself."""
        for worker_id in worker_ids:
            self.request_count += 1
            request_id = f"q{self.request_count}"
            deadline = self.world.now + (timeout or self.world.core.settings.timeout_s)
            requester = self.gatherer
            self.submitted[request_id] = Submitted(
                requester, request_id, command, deadline, is_idempotent, False
            )
            requester.submit(
                command, request_id=request_id, target=worker_id, timeout=timeout, idempotent=is_idempotent
            )
            answer = self.world.answers[-1] if self.world.answers else None
            if answer is not None and answer.request_id == request_id:
                assert "TARGETS_COUNT_MAX" not in answer.text
        self.look()

    def _check_refusal(self, requester: FakeRequester, request_id: str, size_bytes: int) -> None:
        """Nobody is refused at a bound while another client has more waiting than it would have."""
        answer = self.world.answers[-1] if self.world.answers else None
        if answer is None or answer.request_id != request_id or "queue_" not in answer.text:
            return
        by_size = "queue_size_bytes_max" in answer.text
        held: Counter[Account] = Counter()
        for other in self.requesters:
            for request in other.session.requests.values():
                if request.is_waiting and request.call.attempt is None:
                    held[other.account] += len(request.call.data) if by_size else 1
        mine = held.pop(requester.account, 0) + (size_bytes if by_size else 1)
        assert mine >= max(held.values(), default=0), answer.text

    @rule(
        command=st.sampled_from([*COMMANDS, *COMMANDS, NEVER_SERVED]),
        timeout=st.sampled_from([0.001, 3.0, 20.0]),
        priority=st.sampled_from([None, 0, 9]),
        reserves=st.booleans(),
        asks_for=st.sampled_from(TARGETS),
        count=st.integers(1, 5),
    )
    def attempts_are_submitted(
        self, command: str, *, asks_for: str | dict[str, str | list[str]] | None, count: int, **fields: Any
    ) -> None:
        for _ in range(count):
            self.jobs.attempt(command, request_id=self._new_attempt(command), target=asks_for, **fields)
        self.look()

    @rule(number=index, count=st.integers(1, 5))
    def reserved_attempts_are_sent(self, number: int, count: int) -> None:
        """Also some that wait again, have been reserved elsewhere since, or have ended."""
        for request_id, _, msg_id in self.jobs.assignments[-1 - number :][:count]:
            self.jobs.send_reserved(request_id, msg_id)
        self.look()

    @rule(number=index)
    def attempt_is_cancelled(self, number: int) -> None:
        in_flight = list(self.jobs.session.requests)
        if in_flight:
            self.jobs.cancel(in_flight[number % len(in_flight)])
        self.look()

    def _new_attempt(self, command: str) -> str:
        self.request_count += 1
        request_id = f"q{self.request_count}"
        self.submitted[request_id] = Submitted(self.jobs, request_id, command, NEVER, False, False)
        return request_id

    @rule(
        which=index,
        number=st.integers(1, 200),
        what=st.sampled_from(["goes", "cancels", "repeats", "takes none"]),
    )
    def requester_is_bad(self, which: int, number: int, what: str) -> None:
        """It leaves (and another one joins), cancels a request, repeats a request_id, or cannot take a result."""
        requester = self.requesters[which % len(self.requesters)]
        in_flight = list(requester.session.requests)
        match what:
            case "goes":
                self.requesters.remove(requester)
                requester.leave()
                self.requesters.append(self.world.requester(requester.account))
            case "cancels":
                requester.cancel(in_flight[number % len(in_flight)] if in_flight else f"q{number}")
            case "repeats" if in_flight:
                self._submit_again(requester, in_flight[number % len(in_flight)])
            case "takes none":
                requester.refuses = TooLarge("result: too long")
                self.worker_responds(which, number, 3, None)
                requester.refuses = None
        self.look()

    @rule(
        which=index,
        in_flight=st.sampled_from([0, 2, 5, NO_BOUND]),
        waiting=st.sampled_from([0, 12, 50, NO_BOUND]),
    )
    def account_is_reconfigured(self, which: int, in_flight: int, waiting: int) -> None:
        account = self.accounts[which % len(self.accounts)]
        in_use = account.in_flight_count, account.waiting_size_bytes
        account.in_flight_count_max, account.waiting_size_bytes_max = in_flight, waiting
        self.world.check()
        assert (account.in_flight_count, account.waiting_size_bytes) == in_use
        self.look()

    def _submit_again(self, requester: FakeRequester, request_id: str) -> None:
        requester.submit("a", request_id=request_id)
        refusal = requester.answers.pop()
        assert (refusal.request_id, refusal.outcome) == (request_id, "duplicate_request_id")
        # Undo it: the counts are those of requests with unique ids.
        self.world.submitted.pop()
        self.world.answers.pop()
        self.world.core.counts.refused["duplicate_request_id"] -= 1

    # --- workers ---

    @precondition(lambda self: len(self.workers) < 5)
    @rule(
        worker_id=st.sampled_from(["v", "w", "x", "y"]),
        identity=st.sampled_from(["anonymous", "anonymous", "mallory"]),
        instance=st.sampled_from([None, "one", "one", "two"]),
        commands=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=6),
        concurrency=st.integers(1, 3),
        weight=st.sampled_from([0.01, 1.0, 2.0, 100.0]),
        labels=st.sampled_from([{}, {"gpu": "yes"}, {"gpu": "no"}]),
        canary=st.sampled_from([None, None, None, "a"]),
        places=st.sampled_from([None, None, PlacesOffer(frozenset("a"), 1), PlacesOffer(frozenset("ab"), 2)]),
        is_stuck=st.booleans(),
        encoding=st.sampled_from(Encoding),
        claims_count=st.sampled_from([0, 0, 1, 4]),
    )
    def worker_joins(
        self, worker_id: str, commands: list[str], *, claims_count: int = 0, **offer: Any
    ) -> None:
        worker = FakeWorker(self.world, worker_id, tuple(commands), **offer)
        try:
            worker.join(self._claims(worker, claims_count))
        except WorkerIdTaken:
            holder = self.world.core.roster.workers[worker_id]
            is_same = (holder.identity, holder.instance) == (worker.identity, worker.offer.instance)
            assert worker.offer.instance is None or not is_same
            self.world.check()
            return
        assert all(other.identity == worker.identity for other in self.workers if other.is_replaced)
        self.workers = [other for other in self.workers if not other.is_replaced]
        self.workers.append(worker)
        self.all_workers.append(worker)
        self.look()

    def _claims(self, worker: FakeWorker, count: int) -> list[Adopted]:
        """Up to `count` attempts that this worker has over its older connection, or else had before the broker's
        start."""
        holder = self.world.core.roster.workers.get(worker.worker_id)
        if holder is not None:
            if worker.offer.instance is None or worker.offer.instance != holder.instance:
                return []
            held = [
                (assignment.request.call.request_id, msg_id)
                for msg_id, assignment in holder.assignments.items()
                if assignment.request is not None
                and assignment.request.call.attempt is not None
                and not assignment.is_unsent
                and assignment.request.call.command in worker.offer.commands
            ]
            if holder.identity == worker.identity:
                return [worker.adopt(self.jobs, *claim) for claim in held[:count]]
            return []
        claims = []
        for _ in range(count):
            request_id = self._new_attempt(worker.offer.commands[0])
            self.adopted.add(request_id)
            claims.append(
                worker.adopt(self.jobs, request_id, f"old.{request_id}", command=worker.offer.commands[0])
            )
        return claims

    @rule(
        which=index,
        assignment=index,
        count=st.integers(1, 9),
        code=st.sampled_from([None, None, None, None, "own_code", "worker_lost"]),
    )
    def worker_responds(self, which: int, assignment: int, count: int, code: str | None) -> None:
        for _ in range(count):
            holding = [worker for worker in self.workers if worker.holds]
            if not holding:
                return
            worker = holding[which % len(holding)]
            request_id = worker.holds[assignment % len(worker.holds)]
            if code is None:
                worker.succeed(request_id, f'"{request_id} by {worker.worker_id}"'.encode())
            else:
                # What never left the broker cannot have crashed.
                worker.fail(request_id, "no", "own_code" if worker.is_stuck else code)
            self.look()

    @precondition(lambda self: self.workers)
    @rule(
        which=index,
        what=st.sampled_from(
            ["is lost", "is lost", "drains", "is stuck", "is stuck", "flows", "lies", "takes none"]
        ),
    )
    def worker_is_bad(self, which: int, what: str) -> None:
        """It leaves, drains, stops reading for a while, answers an assignment of another worker, or cannot take some
        data."""
        worker = self._busiest(which)
        match what:
            case "is lost":
                self.workers.remove(worker)
                worker.leave()
            case "drains":
                worker.drain()
            case "is stuck":
                worker.is_stuck = True
            case "flows":
                worker.is_stuck = False
                worker.written_count = worker.sent_count
            case "lies":
                others = [
                    msg_id for other in self.workers if other is not worker for msg_id in other.deliveries
                ]
                assert not worker.respond(others[which % len(others)] if others else "never", Result(True))
            case "takes none":
                worker.refuses = NotRepresentable("data: too odd")
                self.worker_responds(which, which, 2, None)
                self.submit(which, "a", idempotent=True)
                worker.refuses = None
        self.look()

    @precondition(lambda self: self.workers)
    @rule(
        which=index,
        what=st.sampled_from(
            ["is drained", "is resumed", "is resumed", "falls silent", "speaks", "speaks", "fails"]
        ),
    )
    def worker_is_doubted(self, which: int, what: str) -> None:
        """An operator drains it or undoes that, its link falls silent, or it fails at everything."""
        worker = self._busiest(which)
        match what:
            case "is drained":
                worker.drain_by_operator()
            case "is resumed":
                worker.resume_by_operator()
            case "falls silent":
                worker.fall_silent()
            case "speaks":
                worker.speak_again()
            case "fails":
                for _ in range(5):
                    if not worker.holds:
                        self.submit(which, worker.offer.commands[0], asks_for=worker.worker_id)
                    if worker.holds:
                        worker.fail(worker.holds[-1], "broken")
        self.look()

    def _busiest(self, which: int) -> FakeWorker:
        return sorted(self.workers, key=lambda worker: len(worker.holds))[-1 - which % len(self.workers)]

    # --- time and shutdown ---

    @rule(seconds=st.sampled_from([0.0005, 0.1, 0.1, 0.5, 0.5, 1.0, 3.0, 6.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.sleep(seconds)
        self.look()

    @rule(seconds=st.sampled_from([1.5, 40.0]))
    def broker_pauses(self, seconds: float) -> None:
        """Whatever may be due next, its caller stands still for longer."""
        if self.world.core.next_at >= self.world.now + seconds:
            return
        everyone = (*self.requesters, self.gatherer)
        live = [request_id for requester in everyone for request_id in requester.session.requests]
        moved_s = self.world.pause(seconds)
        for request_id in live:
            submitted = self.submitted[request_id]
            self.submitted[request_id] = submitted._replace(deadline=submitted.deadline + moved_s)
        self.look()

    @rule()
    def turn_ends(self) -> None:
        self.world.end_turn()
        self.look()

    @rule(
        strategy=st.sampled_from(list(STRATEGIES)),
        patterns=st.dictionaries(
            st.sampled_from([*COMMANDS, "*"]), st.sampled_from(list(STRATEGIES)), max_size=2
        ),
        queue_count_max=st.sampled_from([0, 3, 50]),
        queue_size_bytes_max=st.sampled_from([60, 10_000]),
        in_flight_count_max=st.sampled_from([4, 50]),
        timeout_s=st.sampled_from([1.0, 30.0]),
    )
    def broker_is_reconfigured(self, strategy: str, **settings: Any) -> None:
        held = [worker.holds for worker in self.workers]
        self.world.reconfigure(strategy, **settings)
        assert [worker.holds for worker in self.workers] == held, "running requests are left alone"
        self.look()

    @precondition(lambda self: self.request_count > 150)
    @rule(stops=st.booleans())
    def broker_drains_or_stops(self, stops: bool) -> None:
        self.world.drain()
        if stops:
            self.world.stop()
            assert self.world.core.counts.in_flight_count == 0
        self.look()

    # --- what must hold ---

    def look(self) -> None:
        """Every new answer is allowed, and no request ran more often than allowed."""
        runs = self._runs()
        answers = self.world.answers
        for answer in answers[self.answers_checked_count :]:
            self._check_answer(answer, runs)
        self.answers_checked_count = len(answers)
        assert len({answer.request_id for answer in answers}) == len(answers), "one answer per request"
        for request_id, count in runs.items():
            submitted = self.submitted[request_id]
            bound = 1 + self.retries_count_max + submitted.is_hedged if submitted.is_idempotent else 1
            assert count <= bound, f"{request_id} was run {count} times"
        assert not self.certain & runs.keys(), "reported as certainly not run"
        self._check_workers()
        for requester in (*self.requesters, self.jobs):
            for request_id in list(requester.session.requests)[:1]:
                assert explain(self.world.core, request_id, self.world.now)

    def _runs(self) -> dict[str, int]:
        """How often each request has left the broker."""
        runs: dict[str, int] = {}
        for worker in self.all_workers:
            for delivery in worker.delivered:
                assert delivery.command in worker.offer.commands
                if delivery.number <= worker.written_count:
                    runs[delivery.request_id] = runs.get(delivery.request_id, 0) + 1
        return runs

    def _check_answer(self, answer: Answer, runs: dict[str, int]) -> None:
        submitted = self.submitted[answer.request_id]
        assert answer.at <= submitted.deadline + TICK_S + CLOCK_STEP_S
        match answer.outcome:
            case "timeout" if submitted.deadline != NEVER:
                assert answer.at >= submitted.deadline - CLOCK_STEP_S
            case "success":
                assert answer.data == f'"{answer.request_id} by {answer.worker_id}"'.encode()
            case "worker_lost":
                assert answer.request_id in runs or answer.request_id in self.adopted, (
                    "a request that never left the broker is not lost with a worker"
                )
        if answer.failure is not None and answer.failure.delivery == NOT_DELIVERED:
            self.certain.add(answer.request_id)
        if answer.outcome in REGISTRY and REGISTRY[answer.outcome].retryable:
            self.certain.add(answer.request_id)

    def _check_workers(self) -> None:
        for worker in self.workers:
            cancelled = {msg_id for msg_id, _ in worker.cancels}
            for delivery in worker.deliveries.values():
                if delivery.request_id == CANARY:
                    continue
                requests = self.submitted[delivery.request_id].requester.session.requests
                may_go_on = "." in delivery.msg_id and self.world.core.is_draining
                if delivery.request_id not in requests and not may_go_on:
                    assert delivery.msg_id in cancelled, "its request has ended, but the worker got no cancel"

    def teardown(self) -> None:
        set_bounds(self.bounds)
        if not self.requesters:
            return  # it never started
        for requester in (*self.requesters, self.jobs, self.gatherer):
            requester.leave()
        for worker in self.workers:
            worker.leave()
        self.look()
        self.world.check_nothing_is_left()
