"""Jobs on a real core in a fake world: a journal in memory, fake peers, and clocks that the test moves.

A broker can be killed at any moment: then the journal has what it had committed, workers what they run, and requesters
what they were told.
"""

import functools
import random
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw
from taskferry.broker.core.adopted import Adopted
from taskferry.broker.core.call import Call
from taskferry.broker.core.core import Core
from taskferry.broker.core.delivery.failures import LOST
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.fleet.route import Route
from taskferry.broker.core.fleet.worker import Worker, WorkerState
from taskferry.broker.core.invariants import check_invariants as check_core
from taskferry.broker.core.offer import Offer
from taskferry.broker.core.ports import CancelReason, Piece
from taskferry.broker.core.request import Request
from taskferry.broker.core.settings import CoreSettings
from taskferry.broker.jobs.invariants import check_invariants
from taskferry.broker.jobs.jobs import Jobs
from taskferry.broker.jobs.ports import JournalError
from taskferry.broker.jobs.settings import JobSettings
from taskferry.loadbalance.choice import StrategyChoice
from taskferry.loadbalance.registry import STRATEGIES
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import MAY_HAVE_RUN, TaskferryError
from taskferry.protocol.job_messages import (
    Await,
    Changed,
    Filter,
    JobAnswer,
    JobView,
    ListJobs,
    Receipt,
    Remove,
    Retry,
    Submit,
)
from taskferry.protocol.job_messages import Job as ViewJob
from taskferry.protocol.job_messages import Jobs as Page
from taskferry.protocol.messages import Cancel, Claim, Defaults
from taskferry.protocol.stream_messages import Chunk, Progress

from tests.unit.broker.jobs.journal import FakeJournal
from tests.unit.broker.storage.model import Model

START: Final = 1_800_000_000.0
"""The time at which the world starts: seconds since 1970. The core's clock is START_CORE then."""
START_CORE: Final = 1000.0

WINDOW_COUNT_MIN = 4
"""A small window is often full."""


class FakeAsker:
    """A requester's connection: keeps what it was sent."""

    def __init__(
        self, owner: str = "anna", *, sees_all: bool = False, encoding: Encoding = Encoding.JSON
    ) -> None:
        self.owner = owner
        self.sees_all = sees_all
        self.encoding = encoding
        self.has_left = False
        self.sent: list[Any] = []
        """Messages, and (request_id, what) for responses: bytes of a result, or a Failure."""
        self.refuses: TaskferryError | None = None

    def answer(self, message: object) -> None:
        self.sent.append(message)

    def follow(self, job_id: str, piece: Piece, *, is_chunk: bool) -> None:
        kind = Chunk if is_chunk else Progress
        self.sent.append(kind(job_id=job_id, sequence=piece.sequence, attempt=piece.attempt, data=piece.data))

    def succeed(self, request_id: str, result: Raw, encoding: Encoding, worker_id: str) -> None:
        del encoding, worker_id
        if self.refuses is not None:
            raise self.refuses
        self.sent.append((request_id, bytes(result)))

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        del worker_id
        self.sent.append((request_id, failure))

    def take(self) -> Any:
        """The one thing that it was sent since it was last looked at."""
        assert len(self.sent) == 1, self.sent
        return self.sent.pop()

    def take_code(self) -> str:
        """The code of the failure that it was sent."""
        _, failure = self.take()
        assert isinstance(failure, Failure)
        return failure.code


class FakeWorker:
    """A worker program: it keeps attempts of jobs through lost connections, until they are settled."""

    def __init__(self, world: "World", name: str, commands: tuple[str, ...], concurrency: int) -> None:
        self.world = world
        self.name = name
        self.commands = commands
        self.concurrency = concurrency
        self.encoding = Encoding.MSGPACK
        self.written_count = 0
        self.running: dict[str, Call] = {}
        """By msg_id: what it runs."""
        self.ended: dict[str, tuple[Call, Any]] = {}
        """By msg_id: what has ended and is not settled, with its outcome: bytes, or (code, text, retry)."""
        self.cancelled: list[str] = []
        self.settled: list[str] = []
        self.credits: list[tuple[str, int]] = []
        self.link: Worker | None = None
        self.labels: dict[str, str] = {}
        self.defaults: dict[str, Defaults] = {}
        self.is_unwritten = False
        self.connection = 0
        """The number of its connection, of one that is being judged as well."""

    # --- what the core calls ----------------------------------------------------------------------------------------

    def welcome(self, worker_id: str) -> None:
        assert worker_id == self.name

    def assign(self, msg_id: str, request: Request, timeout_s: float) -> int:
        del timeout_s
        call = request.call
        if self.world.refuses_data is not None:
            raise self.world.refuses_data
        assert call.attempt is not None
        self.world.began(self, call)
        if self.is_unwritten:
            return self.written_count + 1
        self.running[msg_id] = call
        self.written_count += 1
        return self.written_count

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        raise AssertionError

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        del reason
        self.cancelled.append(msg_id)

    def credit(self, msg_id: str, sequence: int) -> None:
        self.credits.append((msg_id, sequence))

    def replaced(self) -> None:
        self.link = None

    # --- what it does -----------------------------------------------------------------------------------------------

    def msg_id_of(self, job_id: str) -> str:
        return next(msg_id for msg_id, call in self.running.items() if call.request_id == job_id)

    def succeed(self, job_id: str, result: object = None) -> None:
        msg_id = self.msg_id_of(job_id)
        self.ended[msg_id] = (self.running.pop(msg_id), msgspec.msgpack.encode(result))
        self.respond(msg_id)

    def fail(
        self, job_id: str, code: str | None = None, text: str = "broken", retry: float | bool | None = None
    ) -> None:
        msg_id = self.msg_id_of(job_id)
        self.ended[msg_id] = (self.running.pop(msg_id), (code, text, retry))
        self.respond(msg_id)

    def progress(self, job_id: str, progress: object) -> None:
        assert self.link is not None
        raw = Raw(msgspec.msgpack.encode(progress))
        self.world.core.notify(self.link, self.msg_id_of(job_id), raw)
        self.world.turn()

    def chunk(self, job_id: str, sequence: int, data: object) -> str | None:
        """Send a chunk; what is wrong with it."""
        assert self.link is not None
        raw = Raw(msgspec.msgpack.encode(data))
        fault = self.world.core.chunk(self.link, self.msg_id_of(job_id), sequence, raw, self.world.core_now)
        self.world.turn()
        return fault

    def respond(self, msg_id: str) -> None:
        """Send the response of an attempt that has ended, if there is a connection."""
        if self.link is None:
            return
        core, now = self.world.core, self.world.core_now
        outcome = self.ended[msg_id][1]
        assignment = self.link.assignments.get(msg_id)
        is_wanted = assignment is not None and assignment.request is not None
        if isinstance(outcome, bytes):
            core.succeeded(self.link, msg_id, Raw(outcome), now)
        else:
            code, text, retry = outcome
            core.failed(self.link, msg_id, text, code, now, retry)
        if not is_wanted:  # as the worker's session does
            self.settle(msg_id)
            self.world.jobs.answered_late(msg_id, self.world.now)
        self.world.turn()

    def settle(self, msg_id: str) -> None:
        self.settled.append(msg_id)
        self.running.pop(msg_id, None)
        self.ended.pop(msg_id, None)

    # --- its connection ---------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, claim what it runs, and send again what has ended."""
        world = self.world
        kept = {**self.running, **{msg_id: call for msg_id, (call, _) in self.ended.items()}}
        claims = [Claim(m, c.request_id, c.attempt.number) for m, c in kept.items() if c.attempt is not None]
        self.connection += 1
        join = functools.partial(self._join, self.connection, claims)
        answered = world.jobs.claim(self.name, self._offer, claims, join, world.now)
        if answered is not None:
            join(answered)
        world.turn()

    def _join(self, connection: int, claims: list[Claim], adopted: list[Adopted]) -> None:
        world = self.world
        if connection != self.connection:  # as the job desk does
            failure = LOST._replace(delivery=MAY_HAVE_RUN)
            for one in adopted:
                if one.call.request_id not in one.requester.requests:
                    one.requester.port.fail(one.call.request_id, failure, self.name)
            return
        goes_on = {one.msg_id for one in adopted}
        for claim in claims:
            if claim.msg_id not in goes_on:
                self.settle(claim.msg_id)
        self.link = world.core.worker_joined(self.name, self._offer, self, self.name, world.core_now, adopted)
        world.jobs.worker_joined(self.name, self.commands, self.defaults, world.now)
        for msg_id in tuple(self.ended):
            self.respond(msg_id)

    @property
    def _offer(self) -> Offer:
        return Offer(self.commands, concurrency=self.concurrency, labels=self.labels, instance=self.name)

    def leave(self) -> None:
        """Say `disconnect`."""
        assert self.link is not None
        self.world.jobs.worker_leaving(self.name)
        self.world.core.worker_draining(self.link, self.world.core_now)
        self.world.turn()

    def lose_link(self) -> None:
        """Its connection breaks; what it runs goes on."""
        self.connection += 1
        link, self.link = self.link, None
        if link is not None:
            self.world.core.worker_left(link, self.world.core_now)
            self.world.jobs.worker_left(self.name, self.world.now)
            self.world.turn()

    def kill(self) -> None:
        """`kill -9`: nothing of it is left."""
        self.running.clear()
        self.ended.clear()
        self.lose_link()


class Observed:
    """What an operator would hear of."""

    def __init__(self) -> None:
        self.dead: list[tuple[str, str]] = []

    def worker_moved(self, worker: Worker, before: WorkerState) -> None: ...

    def overload_changed(self, route: Route) -> None: ...

    def job_dead(self, job_id: str, command: str, code: str, attempts_count: int) -> None:
        del command, attempts_count
        self.dead.append((job_id, code))

    def schedule_skipped(self, name: str, reason: str) -> None: ...


class World:
    """One broker with its peers. `turn` is one turn of its loop; `settle` goes on until nothing is left to do."""

    def __init__(self, *, is_lazy: bool = False, chance: float = 0.0, **settings: Any) -> None:
        self.disk = Model()
        self.settings = JobSettings(**settings)
        self.now = START
        self.core_now = START_CORE
        self.chance = chance
        self.is_lazy = is_lazy
        """The journal answers only when it is told to."""
        self.workers: dict[str, FakeWorker] = {}
        self.observed = Observed()
        self.begun: list[tuple[str, int, str]] = []
        """Every attempt that a worker was given: job_id, its number, the worker."""
        self.refuses_data: TaskferryError | None = None
        self._epoch = 0
        self._ids_count = 0
        self.asker = FakeAsker()
        self.checks_core = True
        self.paused_s = 0.0
        self.start()

    # --- the broker -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a broker on the journal as it is."""
        self._epoch += 1
        choice = StrategyChoice("least_loaded", {}, STRATEGIES, random.Random(1).random)
        self.core = Core(CoreSettings(), choice, self.observed)
        self.core.epoch = f"e{self._epoch}"
        self.journal = FakeJournal(self.disk)
        self.is_awake = False
        self.jobs = Jobs(
            self.core,
            self.journal,
            self,
            self.observed,
            self.settings,
            chance=lambda: self.chance,
            make_id=self._make_id,
            wake=self._wake,
        )
        self.jobs.windows.count_min = WINDOW_COUNT_MIN
        self.jobs.open(self.now)
        self.turn()

    def kill(self) -> None:
        """`kill -9`, and a new start; connections are lost."""
        for worker in self.workers.values():
            worker.link = None
        self.start()

    def stop(self) -> None:
        """Stop in order, and start again; connections are lost."""
        self.jobs.drain(self.now)
        self.turn()
        self.core.drain()
        self.core.stop(self.core_now)
        self.turn()
        self.jobs.close(self.now)
        self.settle()
        self.kill()

    def _make_id(self) -> str:
        self._ids_count += 1
        return f"job-{self._ids_count}"

    def _wake(self) -> None:
        self.is_awake = True

    def settled(self, worker_id: str, msg_id: str) -> None:
        """Jobs says that an attempt is over."""
        worker = self.workers.get(worker_id)
        if worker is not None and worker.link is not None:
            worker.settle(msg_id)

    def began(self, worker: FakeWorker, call: Call) -> None:
        assert call.attempt is not None
        self.begun.append((call.request_id, call.attempt.number, worker.name))

    # --- time -------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Let the broker do all that it can without the journal, or with it unless the world is lazy."""
        while True:
            if self.is_awake:
                self.is_awake = False
                self.jobs.turn_ended(self.now, self.core_now)
                self.check()
            elif self.is_lazy or not (self.journal.work() | self.journal.answer()):
                return

    def settle(self) -> None:
        """Let everything come to rest, the journal too, without moving the clock."""
        is_lazy, self.is_lazy = self.is_lazy, False
        self.turn()
        self.is_lazy = is_lazy

    def check(self) -> None:
        check_invariants(self.jobs)
        if self.checks_core:
            check_core(self.core)

    def sleep(self, seconds: float) -> None:
        """Move the clocks, and do what is due in between."""
        end = self.now + seconds
        while True:
            due = min(self.jobs.next_at, self.core.next_at - self.core_now + self.now)
            at = max(self.now, min(end, due))
            self.core_now += at - self.now
            self.now = at
            if due <= at:
                self.core.advance(self.core_now)
                if self.jobs.next_at <= self.now:
                    self.jobs.advance(self.now)
                self.turn()
            if at >= end:
                return
            if due <= at:
                self.core_now += 0.001
                self.now += 0.001

    def pause(self, seconds: float) -> None:
        """The broker stands still. It has not noticed yet: see `wake_up`."""
        self.paused_s = seconds
        self.now += seconds
        self.core_now += seconds

    def wake_up(self) -> None:
        """The broker notices that it has stood still, as its timers do before anything is judged."""
        self.core.paused(self.core_now - self.paused_s, self.core_now)
        self.jobs.clock_stepped(self.paused_s, self.now)
        self.turn()

    # --- peers ------------------------------------------------------------------------------------------------------

    def worker(
        self,
        name: str = "w1",
        *commands: str,
        concurrency: int = 10,
        labels: dict[str, str] | None = None,
        defaults: dict[str, Defaults] | None = None,
    ) -> FakeWorker:
        """A worker that connects."""
        worker = self.workers[name] = FakeWorker(self, name, commands or ("echo",), concurrency)
        worker.labels = labels or {}
        worker.defaults = defaults or {}
        worker.connect()
        return worker

    def leave(self, asker: FakeAsker) -> None:
        """Its connection closes."""
        asker.has_left = True
        self.jobs.asker_left(asker)

    def submit(
        self, command: str = "echo", data: object = None, asker: FakeAsker | None = None, **options: Any
    ) -> str:
        """Submit a job, and get its receipt; returns its job_id."""
        asker = asker or self.asker
        self.send(command, data, asker, **options)
        receipt = asker.take()
        assert isinstance(receipt, Receipt), receipt
        return receipt.job_id

    def send(
        self, command: str = "echo", data: object = None, asker: FakeAsker | None = None, **options: Any
    ) -> None:
        """Submit a job, without waiting for its receipt."""
        asker = asker or self.asker
        encode = msgspec.json.encode if asker.encoding is Encoding.JSON else msgspec.msgpack.encode
        message = Submit(command=command, request_id="r", **options)
        self.jobs.submit(asker, message, Raw(encode(data)), self.now)
        self.turn()

    def view(self, job_id: str, asker: FakeAsker | None = None, *, receipts: bool = False) -> JobView:
        asker = asker or FakeAsker(sees_all=True)
        self.jobs.view(asker, ViewJob(job_id, "v", receipts), self.now)
        self.settle()
        answer = asker.take()
        assert isinstance(answer, JobAnswer), answer
        return answer.job

    def state(self, job_id: str) -> str:
        return self.view(job_id).state

    def wait_for(self, job_id: str, asker: FakeAsker, timeout: float | None = None) -> None:
        self.jobs.await_end(asker, Await(job_id, "a", timeout), self.now)
        self.turn()

    def page(self, asker: FakeAsker, count: int = 100, cursor: str | None = None, **filter: Any) -> Page:
        self.jobs.list(asker, ListJobs("l", Filter(**filter), cursor, count), self.now)
        self.settle()
        page = asker.take()
        assert isinstance(page, Page), page
        return page

    def change(self, kind: Any, asker: FakeAsker | None = None, **options: Any) -> Any:
        """Cancel, Retry or Remove; returns the count, or the code of the failure."""
        asker = asker or FakeAsker(sees_all=True)
        asks: dict[Any, Any] = {Cancel: self.jobs.cancel, Retry: self.jobs.retry, Remove: self.jobs.remove}
        ask = asks[kind]
        ask(asker, kind(request_id="c", **options), self.now)
        self.settle()
        answer = asker.take()
        return answer.count if isinstance(answer, Changed) else answer[1].code


__all__ = ["START", "UNSET", "FakeAsker", "FakeWorker", "JournalError", "World"]
