"""A broker that keeps jobs, in the test's event loop, and a requester that submits some without a connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from msgspec import Raw
from taskferry.broker.broker import Broker
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.fleet.worker import Worker
from taskferry.broker.core.offer import Offer
from taskferry.broker.core.ports import Piece
from taskferry.broker.job_desk import JobDesk
from taskferry.broker.settings import BrokerSettings
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.job_messages import Receipt, Submit

from tests.unit.transport.waiting import until


class Submitter:
    """Asks `Jobs` as a requester does. `answers`: what it was sent; `failures`: by request_id."""

    encoding = Encoding.JSON
    owner = "me"
    sees_all = False
    has_left = False

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.failures: dict[str | None, Failure] = {}

    def answer(self, message: object) -> None:
        self.answers.append(message)

    def follow(self, job_id: str, piece: Piece, *, is_chunk: bool) -> None:
        raise AssertionError("it follows nothing")

    def succeed(self, request_id: str, result: Raw, encoding: Encoding, worker_id: str) -> None:
        self.answers.append(result)

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        self.failures[request_id] = failure


class Link:
    """A worker's link to nowhere: it keeps what it is assigned."""

    encoding = Encoding.JSON
    written_count = 1  # whatever was sent may have arrived

    def __init__(self) -> None:
        self.msg_ids: dict[str, str] = {}

    def assign(self, msg_id: str, request: Any, timeout_s: float) -> int:
        self.msg_ids[request.call.request_id] = msg_id
        return 1

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


class Keeper:
    """The broker, and what the tests do to it."""

    def __init__(self, broker: Broker) -> None:
        assert broker.job_desk is not None
        assert broker.read_model.jobs is not None
        self.broker = broker
        self.desk: JobDesk = broker.job_desk
        self.reading = broker.read_model.jobs
        self.submitter = Submitter()
        self.links: dict[str, Link] = {}

    async def submit(self, job_id: str, command: str = "resize", **terms: Any) -> Receipt:
        """The receipt of a new job."""
        count = len(self.submitter.answers)
        message = Submit(command=command, request_id=job_id, job_id=job_id, **terms)
        self.desk.jobs.submit(self.submitter, message, Raw(b'{"secret":1}'), self.desk.now())
        await until(lambda: len(self.submitter.answers) > count)
        receipt = self.submitter.answers[-1]
        assert isinstance(receipt, Receipt)
        return receipt

    def worker(self, name: str, *commands: str, slots_count: int = 1, **labels: str) -> Worker:
        """A worker that joins."""
        link = self.links[name] = Link()
        offer = Offer(list(commands), concurrency=slots_count, labels=labels)
        worker = self.broker.core.worker_joined(name, offer, cast(Any, link), "", self.now)
        self.desk.jobs.worker_joined(name, commands, {}, self.desk.now())
        return worker

    async def assigned(self, job_id: str, name: str) -> str:
        """The msg_id of its attempt, once this worker has it."""
        await until(lambda: job_id in self.links[name].msg_ids)
        return self.links[name].msg_ids[job_id]

    @property
    def now(self) -> float:
        """The core's time."""
        return self.broker._loop.time()


@asynccontextmanager
async def keeping_jobs(folder: Path, **settings: Any) -> AsyncIterator[Keeper]:
    """A broker with its journal in `folder`."""
    journal = str(folder / "journal.db")
    broker = Broker(BrokerSettings(worker_port=0, requester_port=0, api_port=0, journal=journal, **settings))
    await broker.start()
    try:
        yield Keeper(broker)
    finally:
        await broker.stop(0.0)
