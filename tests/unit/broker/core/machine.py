"""A state machine that does to the core whatever peers, time and operators can do, in any order.

The law it holds the core to, after every step: submitted = ended + in flight, one answer a request, no worker over its
slots, no request run more often than it may, none answered late, and once all peers have gone nothing is left.
"""

from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from taskferry.broker.core import roster
from taskferry.broker.core.deadlines import TICK_S
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import REGISTRY, NotRepresentable, TooLarge, WorkerIdTaken
from taskferry.protocol.messages import Result

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World

COMMANDS = ("a", "b", "c")
NEVER_SERVED = "nobody-serves-this"
CLOCK_STEP_S = 1e-6

index = st.integers(0, 9)
"""Points at one of those that are there, whatever their number."""


class Submitted(NamedTuple):
    """A request as its requester knows it."""

    requester: FakeRequester
    request_id: str
    command: str
    deadline: float
    is_idempotent: bool


class CoreMachine(RuleBasedStateMachine):
    """Peers are lists; a rule points into them."""

    def __init__(self) -> None:
        super().__init__()
        self.commands_known_count_max = roster.COMMANDS_KNOWN_COUNT_MAX
        self.requesters: list[FakeRequester] = []
        self.workers: list[FakeWorker] = []
        self.all_workers: list[FakeWorker] = []
        self.submitted: dict[str, Submitted] = {}
        self.answers_checked_count = 0
        self.request_count = 0

    @initialize(
        strategy=st.sampled_from(list(STRATEGIES)),
        queue_count_max=st.sampled_from([0, 2, 50]),
        queue_size_bytes_max=st.sampled_from([60, 10_000]),
        in_flight_count_max=st.sampled_from([4, 50]),
        retries_count_max=st.integers(0, 2),
        commands_known_count_max=st.sampled_from([0, 2, 100]),
    )
    def begin(self, strategy: str, commands_known_count_max: int, **settings: int) -> None:
        roster.COMMANDS_KNOWN_COUNT_MAX = commands_known_count_max  # type: ignore[misc]  # Final, and made small for the walk
        self.world = World(strategy, **settings)
        self.retries_count_max = settings["retries_count_max"]
        self.requesters = [self.world.requester(), self.world.requester()]
        for worker_id in ("v", "w"):
            self.worker_joins(worker_id, list(COMMANDS), concurrency=2)

    # --- requesters ---

    @rule(
        which=index,
        command=st.sampled_from([*COMMANDS, *COMMANDS, *COMMANDS, NEVER_SERVED]),
        timeout=st.sampled_from([None, None, None, 0.001, 3.0, 20.0]),
        idempotent=st.booleans(),
        priority=st.sampled_from([None, 0, 5, 9]),
        data=st.sampled_from([b"{}", b'"0123456789"']),
        count=st.integers(1, 5),
    )
    def submit(
        self, which: int, command: str, timeout: float | None, idempotent: bool, count: int, **fields: Any
    ) -> None:
        requester = self.requesters[which % len(self.requesters)]
        for _ in range(count):
            self.request_count += 1
            request_id = f"q{self.request_count}"
            deadline = self.world.now + (timeout or self.world.core.settings.timeout_s)
            self.submitted[request_id] = Submitted(requester, request_id, command, deadline, idempotent)
            requester.submit(command, request_id=request_id, timeout=timeout, idempotent=idempotent, **fields)
        self.look()

    @rule(
        which=index,
        number=st.integers(1, 200),
        what=st.sampled_from(["goes", "cancels", "repeats", "takes none"]),
    )
    def requester_is_bad(self, which: int, number: int, what: str) -> None:
        """It goes (and another comes), cancels something, repeats a request_id, or cannot take a result."""
        requester = self.requesters[which % len(self.requesters)]
        in_flight = list(requester.session.requests)
        match what:
            case "goes":
                self.requesters.remove(requester)
                requester.leave()
                self.requesters.append(self.world.requester())
            case "cancels":
                requester.cancel(in_flight[number % len(in_flight)] if in_flight else f"q{number}")
            case "repeats" if in_flight:
                self._submit_again(requester, in_flight[number % len(in_flight)])
            case "takes none":
                requester.refuses = TooLarge("result: too long")
                self.worker_responds(which, number, 3, True)
                requester.refuses = None
        self.look()

    def _submit_again(self, requester: FakeRequester, request_id: str) -> None:
        requester.submit("a", request_id=request_id)
        refusal = requester.answers.pop()
        assert (refusal.request_id, refusal.outcome) == (request_id, "duplicate_request_id")
        # As if it had never been: the counts are of requests with an id of their own.
        self.world.submitted.pop()
        self.world.answers.pop()
        self.world.core.refused["duplicate_request_id"] -= 1

    # --- workers ---

    @precondition(lambda self: len(self.workers) < 5)
    @rule(
        worker_id=st.sampled_from(["v", "w", "x", "y"]),
        instance=st.sampled_from([None, "one", "one", "two"]),
        commands=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=6),
        concurrency=st.integers(1, 3),
        weight=st.sampled_from([0.01, 1.0, 2.0, 100.0]),
        is_stuck=st.booleans(),
        encoding=st.sampled_from(Encoding),
    )
    def worker_joins(self, worker_id: str, commands: list[str], **hello: Any) -> None:
        worker = FakeWorker(self.world, worker_id, tuple(commands), **hello)
        try:
            worker.join()
        except WorkerIdTaken:
            assert worker_id in self.world.core.roster.workers
            self.world.check()
            return
        self.workers = [other for other in self.workers if not other.is_replaced]
        self.workers.append(worker)
        self.all_workers.append(worker)
        self.look()

    @rule(which=index, assignment=index, count=st.integers(1, 4), succeeds=st.booleans())
    def worker_responds(self, which: int, assignment: int, count: int, succeeds: bool) -> None:
        for _ in range(count):
            holding = [worker for worker in self.workers if worker.holds]
            if not holding:
                return
            worker = holding[which % len(holding)]
            request_id = worker.holds[assignment % len(worker.holds)]
            if succeeds:
                worker.succeed(request_id, f'"{request_id} by {worker.worker_id}"'.encode())
            else:
                worker.fail(request_id, "no", "own_code")
            self.look()

    @precondition(lambda self: self.workers)
    @rule(
        which=index,
        what=st.sampled_from(
            ["is lost", "is lost", "drains", "is stuck", "is stuck", "flows", "lies", "takes none"]
        ),
    )
    def worker_is_bad(self, which: int, what: str) -> None:
        """It goes, drains, reads nothing for a while, answers what it does not hold, or cannot take some data."""
        worker = sorted(self.workers, key=lambda worker: len(worker.holds))[-1 - which % len(self.workers)]
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
                self.worker_responds(which, which, 2, True)
                self.submit(which, "a", None, True, 1)
                worker.refuses = None
        self.look()

    # --- time and the end ---

    @rule(seconds=st.sampled_from([0.0005, 0.1, 0.5, 3.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.sleep(seconds)
        self.look()

    @precondition(lambda self: self.request_count > 60)
    @rule(stops=st.booleans())
    def broker_drains_or_stops(self, stops: bool) -> None:
        self.world.drain()
        if stops:
            self.world.stop()
            assert self.world.core.in_flight_count == 0
        self.look()

    # --- the law ---

    def look(self) -> None:
        """Every new answer is one that may have been given, and nothing ran more often than it may."""
        answers = self.world.answers
        for answer in answers[self.answers_checked_count :]:
            submitted = self.submitted[answer.request_id]
            assert answer.at <= submitted.deadline + TICK_S + CLOCK_STEP_S
            if answer.outcome == "timeout":
                assert answer.at >= submitted.deadline - CLOCK_STEP_S
            if answer.outcome == "success":
                assert answer.data == f'"{answer.request_id} by {answer.worker_id}"'.encode()
        new_answers = answers[self.answers_checked_count :]
        self.answers_checked_count = len(answers)
        assert len({answer.request_id for answer in answers}) == len(answers), "one answer a request"
        runs: dict[str, int] = {}
        for worker in self.all_workers:
            for delivery in worker.delivered:
                assert delivery.command in worker.hello.commands
                if delivery.number <= worker.written_count:
                    runs[delivery.request_id] = runs.get(delivery.request_id, 0) + 1
        for request_id, count in runs.items():
            bound = 1 + self.retries_count_max if self.submitted[request_id].is_idempotent else 1
            assert count <= bound, f"{request_id} was run {count} times"
        for answer in new_answers:
            if answer.outcome == "worker_lost":
                assert answer.request_id in runs, "what never left the broker is not lost with a worker"
            if answer.outcome in REGISTRY and REGISTRY[answer.outcome].retryable:
                assert answer.request_id not in runs, f"{answer.outcome} says that it certainly did not run"
        for worker in self.workers:
            told = {msg_id for msg_id, _ in worker.cancels}
            for delivery in worker.deliveries.values():
                is_awaited = (
                    delivery.request_id in self.submitted[delivery.request_id].requester.session.requests
                )
                assert is_awaited or delivery.msg_id in told, "nobody waits, and the worker is not told"

    def teardown(self) -> None:
        roster.COMMANDS_KNOWN_COUNT_MAX = self.commands_known_count_max  # type: ignore[misc]  # Final, and made small for the walk
        if not self.requesters:
            return  # it never began
        for requester in self.requesters:
            requester.leave()
        for worker in self.workers:
            worker.leave()
        self.look()
        self.world.check_nothing_is_left()
