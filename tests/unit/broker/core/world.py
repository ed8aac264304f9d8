"""The core alone in a fake world: fake links to workers and requesters, and a clock that the test moves.

After every call to the core, its invariants are checked, and that each request submitted here was answered once or is
still in flight. Fake links keep what the core sent; they make no decisions.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec import UNSET, Raw, UnsetType
from taskferry.broker.core.account import NO_BOUND, Account, unlimited
from taskferry.broker.core.adopted import Adopted
from taskferry.broker.core.call import Attempt, Call
from taskferry.broker.core.core import READ_S, Core
from taskferry.broker.core.delivery.delivery import EPOCH_END
from taskferry.broker.core.delivery.ending import SUCCESS
from taskferry.broker.core.delivery.kept_data import RELEASED
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.fleet.route import Route
from taskferry.broker.core.fleet.worker import Worker, WorkerState
from taskferry.broker.core.health.streak import FAILURES_COUNT_MIN
from taskferry.broker.core.invariants import check_invariants
from taskferry.broker.core.offer import Offer
from taskferry.broker.core.ports import CancelReason, Piece
from taskferry.broker.core.request import ADOPTED, Request
from taskferry.broker.core.settings import CoreSettings
from taskferry.loadbalance.choice import StrategyChoice
from taskferry.loadbalance.registry import STRATEGIES, StrategyFactory
from taskferry.loadbalance.strategy import Strategy
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import TaskferryError
from taskferry.protocol.limits import PRIORITY_DEFAULT
from taskferry.protocol.messages import Result

from tests.unit.broker.core.listening import WatchfulListener

START_S: Final = 1000.0
"""The time at which the world starts."""
CROWD_COUNT: Final = 2 * FAILURES_COUNT_MIN
"""Requesters that have nothing to do with each other."""
CANARY: Final = "canary"
"""Stands for a canary among the request_ids that a fake worker holds."""


class Answer(NamedTuple):
    """What a requester received: when, for which request, and how it ended; `outcome` is `success` or a code,
    `request_id` is empty if the core could not read it."""

    at: float
    request_id: str
    outcome: str
    data: bytes = b""
    text: str = ""
    worker_id: str | None = None
    failure: Failure | None = None


class Delivery(NamedTuple):
    """An assignment as its worker got it."""

    msg_id: str
    request_id: str
    command: str
    timeout_s: float
    number: int


class WatchedStrategy:
    """A strategy that checks its callers against the contract, and shows which candidates it holds."""

    def __init__(self, strategy: Strategy[Worker]) -> None:
        self._strategy = strategy
        self.held: set[Worker] = set()

    def add(self, candidate: Worker) -> None:
        assert candidate not in self.held
        self.held.add(candidate)
        self._strategy.add(candidate)

    def remove(self, candidate: Worker) -> None:
        self.held.remove(candidate)
        self._strategy.remove(candidate)

    def changed(self, candidate: Worker) -> None:
        assert candidate in self.held
        self._strategy.changed(candidate)

    def pick(self, affinity: str | None) -> Worker | None:
        picked = self._strategy.pick(affinity)
        assert picked in self.held if self.held else picked is None
        return picked


def watched(factory: StrategyFactory) -> StrategyFactory:
    """Makes the same strategies, watched."""
    return lambda chance: WatchedStrategy(factory(chance))


class Events:
    """Keeps what the core notifies its observer of, except for plain joins and drains.

    For workers `w: healthy -> ejected`, for routes `echo: overloaded`; `verdict` is the last one on a worker."""

    def __init__(self) -> None:
        self.notified: list[str] = []
        self.verdict = ""

    def worker_moved(self, worker: Worker, before: WorkerState) -> None:
        has_plainly_joined = before is WorkerState.JOINING and worker.canary is None
        if worker.state is WorkerState.DRAINING or (
            has_plainly_joined and worker.state is WorkerState.HEALTHY
        ):
            return
        self.notified.append(f"{worker.worker_id}: {before.value} -> {worker.state.value}")
        self.verdict = worker.verdict

    def overload_changed(self, route: Route) -> None:
        state = "overloaded" if route.waiting.is_overloaded else "relieved"
        self.notified.append(f"{route.command.name}: {state}")


class World:
    """One core, its peers, and a clock. `check_interval`: only each such call of the core is checked, where thousands
    of requests wait."""

    def __init__(
        self,
        strategy: str = "least_loaded",
        *,
        seed: int = 1,
        patterns: dict[str, str] | None = None,
        listener: WatchfulListener | None = None,
        check_interval: int = 1,
        **settings: Any,
    ) -> None:
        self._check_interval = check_interval
        self._calls_count = 0
        self._chance = random.Random(seed).random
        self.events = Events()
        choice = self._choice(strategy, patterns)
        self.listener = listener
        self.common = unlimited("anonymous")
        self.core = Core(CoreSettings(**settings), choice, self.events, listener)
        self.now = START_S
        self._crowd: list[FakeRequester] = []
        self.submitted: list[tuple[FakeRequester, str]] = []
        self.answers: list[Answer] = []
        self.abandoned_count = 0
        """Requests that were in flight when their requester left."""

    def _choice(self, strategy: str, patterns: dict[str, str] | None) -> StrategyChoice:
        factories = {name: watched(factory) for name, factory in STRATEGIES.items()}
        return StrategyChoice(strategy, patterns or {}, factories, self._chance)

    def reconfigure(
        self, strategy: str = "least_loaded", *, patterns: dict[str, str] | None = None, **settings: Any
    ) -> None:
        """Change the strategies, and the given settings."""
        numbers = dataclasses.replace(self.core.settings, **settings)
        self.core.reconfigure(numbers, self._choice(strategy, patterns))
        self.check()

    def account(self, name: str = "alice", *, in_flight: int = NO_BOUND, waiting: int = NO_BOUND) -> Account:
        """An account that may have so many requests in flight, and bytes of data waiting."""
        return Account(name, in_flight, waiting)

    def requester(self, account: Account | None = None, *, names_workers: bool = False) -> "FakeRequester":
        """A requester that has connected; without an account of its own, on one that all others share."""
        return FakeRequester(self, account or self.common, names_workers=names_workers)

    def anyone(self) -> "FakeRequester":
        """One of some requesters that have nothing to do with each other, in turn."""
        if not self._crowd:
            self._crowd = [self.requester(self.account(f"number {number}")) for number in range(CROWD_COUNT)]
        self._crowd.append(self._crowd.pop(0))
        return self._crowd[-1]

    def worker(self, worker_id: str = "w", *commands: str, **offer: Any) -> "FakeWorker":
        """A worker of `commands`, by default `echo`, that has joined."""
        worker = FakeWorker(self, worker_id, commands or ("echo",), **offer)
        worker.join()
        return worker

    def sleep(self, seconds: float) -> None:
        """Let time pass; the core is advanced when it asks to be, as the broker's timer does."""
        end = self.now + seconds
        while self.core.next_at <= end:
            self.now = max(self.now, self.core.next_at)
            self.core.advance(self.now)
            self.check()
        self.now = end

    def pause(self, seconds: float) -> float:
        """Stand still for `seconds`, longer than until the core asks to be advanced, and go on as the broker's timer
        does. Returns by how much that moves deadlines."""
        since = max(self.core.next_at, self.now)
        self.now += seconds
        assert since < self.now
        self.core.paused(since, self.now)
        self.check()
        self.core.advance(self.now)
        self.check()
        return self.now - since + READ_S

    def eject(self, worker: "FakeWorker") -> None:
        """Make `worker` fail as often in a row as an ejection takes; its peers must not fail at its first command."""
        command = worker.offer.commands[0]
        for _ in range(FAILURES_COUNT_MIN):
            assert worker.state != "ejected"
            request_id = f"ejecting-{len(self.submitted)}"
            self.anyone().submit(command, request_id=request_id, target=worker.worker_id)
            worker.fail(request_id, "broken")
        assert worker.state == "ejected"

    def probe(self, worker: "FakeWorker", *, succeeds: bool) -> None:
        """Give `worker`, whose ejection is over, the assignment that is its probe."""
        assert worker.state == "probing"
        for _ in range(
            1 if succeeds else FAILURES_COUNT_MIN
        ):  # one failure that was aimed at it proves nothing
            request_id = f"probing-{len(self.submitted)}"
            self.anyone().submit(worker.offer.commands[0], request_id=request_id, target=worker.worker_id)
            if succeeds:
                worker.succeed(request_id)
            else:
                worker.fail(request_id, "still broken")

    def end_turn(self) -> None:
        """What was sent has been passed to the operating system, except for links that are stuck."""
        self.core.turn_ended(self.now, self.now)
        self.check()

    def drain(self) -> None:
        self.core.drain()
        self.check()

    def stop(self) -> None:
        self.core.stop(self.now)
        self.check()

    def check(self) -> None:
        """The books of the core agree with each other, and with what was sent over the links."""
        self._calls_count += 1
        if self._calls_count % self._check_interval:
            return
        check_invariants(self.core)
        if self.listener is not None:
            self.listener.check(self.core)
        for worker in self.core.roster.workers.values():
            is_free = worker.in_flight_count < worker.capacity
            for pool in worker.pools:
                assert isinstance(pool.strategy, WatchedStrategy)
                assert pool.strategy.held <= set(pool.members)
                assert (worker in pool.strategy.held) == is_free, "a strategy holds those with a free slot"
        assert (
            len(self.submitted) == len(self.answers) + self.abandoned_count + self.core.counts.in_flight_count
        )
        refused_count = sum(self.core.counts.refused.values())
        assert self.core.counts.submitted_count == len(self.submitted) - refused_count

    def check_nothing_is_left(self) -> None:
        """All peers have gone: the core holds nothing for them any more."""
        self._check_interval = 1
        self.check()
        core = self.core
        assert core.counts.in_flight_count == core.queue.count == core.queue.size_bytes == 0
        assert core.kept_data.size_bytes == 0
        for account in {requester.account for requester, _ in self.submitted}:
            assert account.in_flight_count == account.waiting_size_bytes == 0
            for by_size in (False, True):
                assert account.holder.amount(by_size=by_size) == 0
                assert account.requesters.most(by_size=by_size) is None
        assert not core.requesters
        assert not core.roster.workers
        assert core.deadlines.is_empty
        for command in core.roster.commands.values():
            for route in (command.route, *command.targeted.values()):
                assert route.pool is None
                assert route.waiting.count == 0
                assert route.waiting.peek() is None

    def outcomes(self) -> Counter[str]:
        """The outcomes of all answered requests."""
        return Counter(answer.outcome for answer in self.answers)


class FakeRequester:
    """A requester's link; connected from the start."""

    def __init__(self, world: World, account: Account, *, names_workers: bool = False) -> None:
        self.world = world
        self.account = account
        self.encoding = Encoding.JSON
        self.answers: list[Answer] = []
        self.encodings: list[Encoding] = []
        """The encoding that was given for each result."""
        self.refuses: TaskferryError | None = None
        """If set, raised for each result, as if it could not be carried."""
        self.assignments: list[tuple[str, str, str]] = []
        """Of each assignment of an attempt that it was notified of: request_id, worker_id, msg_id."""
        self.reports: list[tuple[str, Piece]] = []
        """Progress, by request_id."""
        self.chunks: list[tuple[str, Piece]] = []
        self.takes_at_once = False
        """Whether chunks count as taken when they come."""
        self.resets: list[tuple[str, int]] = []
        self.session = world.core.requester_joined(self, account, names_workers=names_workers)
        self.is_connected = True
        self._count = 0

    # --- what the core calls ---

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        if self.refuses is not None:
            raise type(self.refuses)(self.refuses.text)
        data = b"null" if isinstance(result, UnsetType) else bytes(result)
        self.encodings.append(encoding)
        self._answered(Answer(self.world.now, request_id, SUCCESS, data, "", worker_id))

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        answer = Answer(self.world.now, request_id or "", failure.code, b"", failure.text, worker_id, failure)
        self._answered(answer)

    def assigned(self, request_id: str, worker_id: str, msg_id: str) -> None:
        assert self.session.requests[request_id].call.attempt is not None
        self.assignments.append((request_id, worker_id, msg_id))

    def progress(self, request_id: str, report: Piece) -> None:
        assert request_id in self.session.requests, "nothing comes of a request after its answer"
        self.reports.append((request_id, report))

    def chunk(self, request_id: str, chunk: Piece) -> bool:
        assert self.session.requests[request_id].call.stream
        if self.refuses is not None:
            raise type(self.refuses)(self.refuses.text)
        self.chunks.append((request_id, chunk))
        return self.takes_at_once

    def reset(self, request_id: str, attempt: int) -> None:
        assert request_id in self.session.requests
        self.resets.append((request_id, attempt))

    def _answered(self, answer: Answer) -> None:
        assert self.is_connected, "a requester that has left gets no answer"
        self.answers.append(answer)
        self.world.answers.append(answer)

    # --- what the test calls ---

    def submit(
        self,
        command: str = "echo",
        *,
        request_id: str | None = None,
        data: bytes = b"{}",
        timeout: float | None = None,
        hedge: float | str | None = None,
        priority: int | None = None,
        **fields: Any,
    ) -> str:
        """Send a request. Returns its id, by default `r1`, `r2` and so on."""
        self._count += 1
        request_id = request_id or f"r{self._count}"
        call = Call(
            request_id,
            command,
            Raw(data),
            timeout_s=timeout,
            hedge_after=hedge,
            priority=PRIORITY_DEFAULT if priority is None else priority,
            **fields,
        )
        self.world.submitted.append((self, request_id))
        in_flight_count = self.account.in_flight_count
        is_full = in_flight_count >= self.account.in_flight_count_max
        self.world.core.submit(self.session, call, self.world.now)
        assert not is_full or self.account.in_flight_count <= in_flight_count, "a full account gets no more"
        self.world.check()
        return request_id

    def attempt(
        self,
        command: str = "echo",
        *,
        request_id: str | None = None,
        timeout: float = 3600.0,
        reserves: bool = False,
        **fields: Any,
    ) -> str:
        """Submit the first attempt of a job, by default `r1`, `r2` and so on."""
        self._count += 1
        request_id = request_id or f"r{self._count}"
        attempt = Attempt(request_id, 1, timeout, is_last=False, reserves=reserves)
        return self.submit(command, request_id=request_id, attempt=attempt, **fields)

    def send_reserved(self, request_id: str, msg_id: str | None = None) -> bool:
        """Let an attempt begin for which a slot is reserved; by default under its latest msg_id."""
        if msg_id is None:
            msg_id = [known for other, _, known in self.assignments if other == request_id][-1]
        is_sent = self.world.core.send_reserved(self.session, request_id, msg_id, self.world.now)
        self.world.check()
        return is_sent

    def receive_invalid(self, request_id: str | None, failure: Failure) -> None:
        """Send a message that is not a valid call."""
        self.world.submitted.append((self, request_id or ""))
        self.world.core.refuse(self.session, request_id, failure)
        self.world.check()

    def cancel(self, request_id: str) -> None:
        self.world.core.cancel(self.session, request_id, self.world.now)
        self.world.check()

    def leave(self) -> None:
        self.is_connected = False
        self.world.abandoned_count += len(self.session.requests)
        self.world.core.requester_left(self.session, self.world.now)
        self.world.check()

    def take(self, request_id: str, sequence: int, attempt: int | None = None) -> None:
        """Report chunks as taken."""
        self.world.core.taken(self.session, request_id, sequence, attempt)
        self.world.check()

    def answer(self, request_id: str) -> Answer:
        """The one answer to a request."""
        (answer,) = (answer for answer in self.answers if answer.request_id == request_id)
        return answer

    def outcome(self, request_id: str) -> str | None:
        """How a request ended; None while it is in flight."""
        outcomes = [answer.outcome for answer in self.answers if answer.request_id == request_id]
        assert len(outcomes) <= 1
        return outcomes[0] if outcomes else None


class FakeWorker:
    """A worker's link. What is sent counts as written at once, unless `is_stuck`, which stops `written_count`."""

    def __init__(
        self,
        world: World,
        worker_id: str,
        commands: tuple[str, ...],
        *,
        encoding: Encoding = Encoding.JSON,
        is_stuck: bool = False,
        identity: str = "anonymous",
        **offer: Any,
    ) -> None:
        self.world = world
        self.identity = identity
        self.worker_id = worker_id
        self.offer = Offer(commands, **offer)
        self.encoding = encoding
        self.is_stuck = is_stuck
        self.written_count = 0
        self.sent_count = 0
        self.is_welcome = False
        self.is_replaced = False
        self.deliveries: dict[str, Delivery] = {}
        """Assignments that were sent and not answered, by msg_id, oldest first."""
        self.delivered: list[Delivery] = []
        self.canaries_count = 0
        self.cancels: list[tuple[str, CancelReason]] = []
        self.credits: list[tuple[str, int]] = []
        self.refuses: TaskferryError | None = None
        """If set, raised for each assignment, as if it could not be carried."""

    # --- what the core calls ---

    def welcome(self, worker_id: str) -> None:
        assert not self.is_welcome
        assert worker_id == self.worker_id
        self.is_welcome = True
        self._send()

    def assign(self, msg_id: str, request: Request, timeout_s: float) -> int:
        assert self.is_welcome, "a worker must know its id before it gets assignments"
        assert msg_id not in self.deliveries
        assert request.call.data is not RELEASED
        if request.call.attempt is None:
            assert 0 < timeout_s <= max(0.001, request.deadline - self.world.now + 0.0005)
        else:
            assert timeout_s == request.call.attempt.timeout_s, "an attempt has all of its time"
        if self.refuses is not None:
            raise type(self.refuses)(self.refuses.text)
        number = self._send()
        delivery = Delivery(msg_id, request.call.request_id, request.command.name, timeout_s, number)
        self.deliveries[msg_id] = delivery
        self.delivered.append(delivery)
        self._check_slots()
        return number

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        assert self.is_welcome
        assert msg_id not in self.deliveries
        assert CANARY not in self.holds, "one canary at once"
        number = self._send()
        self.deliveries[msg_id] = Delivery(msg_id, CANARY, command, timeout_s, number)
        self.canaries_count += 1
        self._check_slots()
        return number

    def _check_slots(self) -> None:
        assert len(self.deliveries) <= self.offer.concurrency, "more assignments than slots"
        places = self.offer.places
        if places is not None:
            in_places = [one for one in self.deliveries.values() if one.command in places.commands]
            assert len(in_places) <= places.count_max, "more assignments than places"

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        assert msg_id in self.deliveries, "a cancel for an assignment that this worker does not hold"
        self.cancels.append((msg_id, reason))
        self._send()

    def credit(self, msg_id: str, sequence: int) -> None:
        assert msg_id in self.deliveries, "credit for an assignment that this worker does not hold"
        self.credits.append((msg_id, sequence))
        self._send()

    def replaced(self) -> None:
        self.is_replaced = True

    def _send(self) -> int:
        self.sent_count += 1
        if not self.is_stuck:
            self.written_count = self.sent_count
        return self.sent_count

    # --- what the test calls ---

    def join(self, adopted: Sequence[Adopted] = ()) -> None:
        """Say `connect`, with claims that are adopted. Raises WorkerIdTaken."""
        world = self.world
        for attempt in adopted:
            if attempt.call.command in self.offer.commands:
                request_id = attempt.call.request_id
                delivery = Delivery(
                    attempt.msg_id, request_id, attempt.call.command, attempt.timeout_s, ADOPTED
                )
                self.deliveries[attempt.msg_id] = delivery
        self.session = world.core.worker_joined(
            self.worker_id, self.offer, self, self.identity, world.now, adopted
        )
        world.check()

    def adopt(
        self,
        requester: FakeRequester,
        request_id: str,
        msg_id: str,
        *,
        timeout: float = 60.0,
        command: str = "echo",
    ) -> Adopted:
        """An attempt that it still runs, as its requester judges the claim."""
        known = requester.session.requests.get(request_id)
        if known is None:
            self.world.submitted.append((requester, request_id))
            attempt = Attempt(request_id, 1, 3600.0, is_last=False)
            call = Call(request_id, command, Raw(b"{}"), attempt=attempt)
        else:
            call = known.call
        return Adopted(msg_id, requester.session, call, timeout)

    def report(self, msg_id: str, progress: bytes) -> None:
        """Report the progress of an assignment."""
        self.world.core.notify(self.session, msg_id, Raw(progress))
        self.world.check()

    def chunk(self, request_id: str, sequence: int, data: bytes = b"1") -> str | None:
        """Send a chunk; what is wrong with it."""
        fault = self.world.core.chunk(
            self.session, self.msg_id(request_id), sequence, Raw(data), self.world.now
        )
        self.world.check()
        return fault

    @property
    def state(self) -> str:
        return self.session.state.value

    @property
    def holds(self) -> list[str]:
        """The request_ids of its unanswered assignments, oldest first."""
        return [delivery.request_id for delivery in self.deliveries.values()]

    def msg_id(self, request_id: str) -> str:
        """The msg_id of its assignment of a request."""
        (msg_id,) = (held.msg_id for held in self.deliveries.values() if held.request_id == request_id)
        return msg_id

    def succeed(self, request_id: str, result: bytes | None = b'"done"') -> None:
        """Answer an assignment with success; None means an answer without a result."""
        msg_id = self.msg_id(request_id)
        is_wanted = self._is_wanted(msg_id)
        is_known = self.respond(msg_id, Result(True, UNSET if result is None else Raw(result)))
        assert is_known is is_wanted, "the core knows what it has sent"

    def fail(
        self,
        request_id: str,
        error: str | None = None,
        code: str | None = None,
        retry: float | bool | None = None,
    ) -> None:
        msg_id = self.msg_id(request_id)
        is_wanted = self._is_wanted(msg_id)
        is_known = self.respond(msg_id, Result(False, error=error, code=code, retry=retry))
        assert is_known is is_wanted, "the core knows what it has sent"

    def _is_wanted(self, msg_id: str) -> bool:
        """It is not of an attempt that has ended without it."""
        return EPOCH_END not in msg_id or self.session.assignments[msg_id].request is not None

    def respond(self, msg_id: str, result: Result) -> bool:
        """Answer under any msg_id; False if the core knows no such assignment."""
        self.deliveries.pop(msg_id, None)
        core, now = self.world.core, self.world.now
        if result.success:
            is_known = core.succeeded(self.session, msg_id, result.result, now)
        else:
            is_known = core.failed(self.session, msg_id, result.error, result.code, now, result.retry)
        self.world.check()
        return is_known

    def drain(self) -> None:
        """Say `disconnect`."""
        self.world.core.worker_draining(self.session, self.world.now)
        self.world.check()

    def drain_by_operator(self) -> None:
        self.world.core.drain_worker(self.session, self.world.now)
        self.world.check()

    def resume_by_operator(self) -> None:
        self.world.core.resume_worker(self.session, self.world.now)
        self.world.check()

    def fall_silent(self) -> None:
        """Nothing is received over the link, which is still open."""
        self.world.core.worker_silent(self.session, self.world.now)
        self.world.check()

    def speak_again(self) -> None:
        self.world.core.worker_heard(self.session, self.world.now)
        self.world.check()

    def leave(self) -> None:
        """The link closes."""
        self.world.core.worker_left(self.session, self.world.now)
        self.world.check()
