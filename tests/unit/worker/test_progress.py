"""Progress: the latest word of each handler, soon but not too often, and never after its response."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from taskferry.worker import Context, Worker, limits
from taskferry.worker.assignment import Assignment
from taskferry.worker.progress import Progress, Word

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker, welcome


@dataclass
class Stage:
    """A worker with two handlers that only wait; the test speaks in their name, through their contexts."""

    worker: Worker
    contexts: dict[str, Context] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, context: Context) -> None:
        self.contexts[context.request_id] = context
        self.came.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.may_end.wait()

    async def context(self, msg_id: str) -> Context:
        async with asyncio.timeout(PATIENCE_S):
            while f"r-{msg_id}" not in self.contexts:
                self.came.clear()
                await self.came.wait()
        return self.contexts[f"r-{msg_id}"]


@pytest.fixture
async def stage() -> Stage:
    stage = Stage(Worker(name="w", encoding="msgpack"))
    stage.worker.command()(stage.wait)
    return stage


@pytest.fixture
async def connection(stage: Stage, broker: FakeBroker) -> AsyncIterator[Connection]:
    async with broker.serve(stage.worker) as connection:
        yield connection


async def word_of(msg_id: str, connection: Connection) -> Any:
    message = await connection.receive(
        lambda message: message["type"] == "notification" and message["msg_id"] == msg_id
    )
    return message["data"]


async def test_the_latest_word_of_each_is_sent_at_most_ten_times_a_second(
    stage: Stage, connection: Connection
) -> None:
    connection.send_attempt("wait", msg_id="e.1")
    connection.send_request("wait", msg_id="7")
    one, seven = await stage.context("e.1"), await stage.context("7")
    began_at = time.monotonic()
    for number in range(100):
        one.progress(number / 100, f"page {number} of 100")
    seven.progress(0.5)
    assert await word_of("e.1", connection) == {"progress": 0.99, "text": "page 99 of 100"}
    assert await word_of("7", connection) == {"progress": 0.5}
    for round_number in range(2):
        for number in range(100):
            one.progress(number / 100, f"round {round_number}")
        assert await word_of("e.1", connection) == {"progress": 0.99, "text": f"round {round_number}"}
    assert time.monotonic() - began_at >= 2 * limits.PROGRESS_INTERVAL_S
    stage.may_end.set()
    await connection.response_to("e.1")
    assert connection.messages[-1]["type"] != "notification"


async def test_it_may_be_reported_from_a_thread(stage: Stage, connection: Connection) -> None:
    connection.send_request("wait", msg_id="7")
    context = await stage.context("7")

    def speak() -> None:
        for number in range(1001):
            context.progress(number / 1000)

    thread = threading.Thread(target=speak)
    thread.start()
    async with asyncio.timeout(PATIENCE_S):
        while (await word_of("7", connection))["progress"] < 1:
            pass
    thread.join()


async def test_what_is_reported_is_made_to_fit(
    stage: Stage, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROGRESS_INTERVAL_S", 0.001)
    connection.send_request("wait", msg_id="7")
    context = await stage.context("7")
    for share, expected in ((-1, 0.0), (1.5, 1.0), (float("nan"), 0.0), (float("inf"), 1.0), (True, 1.0)):
        context.progress(share)
        assert await word_of("7", connection) == {"progress": expected}
    for text, expected_text in (
        ("", ""),
        ("\ud800", "?"),
        ("é" * 256, "é" * 256),
        ("x" * 257, "x" * 252 + " ..."),
    ):
        context.progress(1, text)
        assert await word_of("7", connection) == {"progress": 1.0, "text": expected_text}
    with pytest.raises(TypeError):
        context.progress("half")  # type: ignore[arg-type]


async def test_a_word_of_an_attempt_waits_for_the_next_link(
    stage: Stage, connection: Connection, broker: FakeBroker
) -> None:
    connection.send_attempt("wait", msg_id="e.1")
    connection.send_request("wait", msg_id="7")
    one, seven = await stage.context("e.1"), await stage.context("7")
    broker.answer = lambda hello: None
    connection.link.abort("gone")
    connection = await broker.connection()
    one.progress(0.2)
    one.progress(0.4, "without a link")
    seven.progress(0.9)
    connection.send(welcome(connection.hello))
    assert await word_of("e.1", connection) == {"progress": 0.4, "text": "without a link"}
    one.progress(0.6)
    assert await word_of("e.1", connection) == {"progress": 0.6}
    assert [message for message in connection.messages if message["type"] == "notification"] == []


async def test_a_link_that_comes_back_at_once_makes_it_no_more_often() -> None:
    progress = Progress()
    assignment = Assignment("e.1", "r", "wait", None, 0.0)
    sent: asyncio.Queue[float | None] = asyncio.Queue()
    times: list[float] = []

    def send(_: Assignment, word: Word) -> None:
        times.append(time.monotonic())
        sent.put_nowait(word.progress)

    progress.link_opened(send)
    progress.report(assignment, Word(0.1))
    assert await sent.get() == 0.1
    progress.report(assignment, Word(0.2))
    progress.link_closed()
    progress.link_opened(send)
    assert await sent.get() == 0.2
    assert times[1] - times[0] >= limits.PROGRESS_INTERVAL_S * 0.9


async def test_after_the_end_nothing_is_sent(stage: Stage, connection: Connection) -> None:
    connection.send_attempt("wait", msg_id="e.1")
    context = await stage.context("e.1")
    stage.may_end.set()
    await connection.response_to("e.1")
    context.progress(1)
    await connection.failure("unheard of")
    await connection.failure("unheard of")
    assert connection.messages == []


def test_a_word_after_the_worker_has_stopped_is_harmless() -> None:
    async def scenario() -> Context:
        stage = Stage(Worker())
        stage.worker.command()(stage.wait)
        broker = FakeBroker()
        await broker.start()
        async with broker.serve(stage.worker) as connection:
            connection.send_request("wait", msg_id="7")
            context = await stage.context("7")
        await broker.close()
        return context

    asyncio.run(scenario()).progress(0.5)


async def test_counts_are_sent_and_give_the_share(
    stage: Stage, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROGRESS_INTERVAL_S", 0.001)
    connection.send_request("wait", msg_id="7")
    context = await stage.context("7")
    for given, expected in (
        ({"current": 4, "total": 10}, {"progress": 0.4, "current": 4, "total": 10}),
        ({"current": 12, "total": 10}, {"progress": 1.0, "current": 12, "total": 10}),
        ({"current": 0.5, "total": 2.0}, {"progress": 0.25, "current": 0.5, "total": 2}),
        ({"share": 0.9, "current": 4, "total": 10}, {"progress": 0.9, "current": 4, "total": 10}),
        ({"current": 4}, {"current": 4}),
        ({"total": 10, "text": "counted"}, {"total": 10, "text": "counted"}),
        ({"current": 4, "total": 0}, {"current": 4, "total": 0}),
        ({"current": -1, "total": float("nan"), "text": "lost"}, {"text": "lost"}),
        ({"current": True, "total": float("inf")}, {"current": 1}),
        ({"current": 2**53, "total": 2**54}, {"progress": 0.5, "current": 2**53, "total": 2.0**54}),
        ({"text": "only words"}, {"text": "only words"}),
    ):
        context.progress(**given)
        assert await word_of("7", connection) == expected
    with pytest.raises(TypeError, match="a share, a text, or current and total are missing"):
        context.progress()
    with pytest.raises(TypeError):
        context.progress(current="4", total=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("executor", ["coroutine", "thread", "process"])
async def test_the_last_word_comes_before_the_response(broker: FakeBroker, executor: Any) -> None:
    worker = Worker(name="w", process_count=1)
    if executor == "coroutine":

        @worker.command()
        async def report_often(count: int, seconds: float, context: Context) -> None:
            for number in range(count):
                await context.progress(current=number + 1, total=count)
                await asyncio.sleep(seconds)
    else:
        worker.command(executor=executor)(process_handlers.report_often)
    async with broker.serve(worker) as connection:
        for count, seconds in ((1000, 0), (30, 0.01), (1, 0)):
            connection.messages.clear()
            began_at = time.monotonic()
            msg_id = connection.send_request(
                "report_often", {"count": count, "seconds": seconds}, timeout=60.0
            )
            assert (await connection.response_to(msg_id))["success"]
            words = [message["data"] for message in connection.messages]
            assert words[-1] == {"progress": 1.0, "current": count, "total": count}
            shares = [word["progress"] for word in words]
            assert shares == sorted(shares)
            assert len(words) <= 2 + (time.monotonic() - began_at) / limits.PROGRESS_INTERVAL_S
