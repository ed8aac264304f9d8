"""The receipts of a job: each step once and in order, whatever becomes of links meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import pytest
from taskferry.protocol.job_messages import FailedAttempt, JobAnswer, JobAssigned, JobEnded, JobView
from taskferry.protocol.messages import Failure
from taskferry.requester import BlockingRequester, Cancelled, Forbidden, JobReceipt, Requester, UnknownJob
from taskferry.requester import FailedAttempt as SeenAttempt
from taskferry.requester import JobView as SeenView
from taskferry.requester.jobs import feed as feed_module
from taskferry.requester.jobs.receipts import Steps
from taskferry.transport.admission import Refusal, RefusalReason

from tests.each_case import each_case
from tests.unit.requester.fake_broker import FakeBroker, FakeBrokerThread
from tests.unit.requester.waiting import until


class Desk:
    """Answers what is asked about its one job, `view`, with what that is now."""

    def __init__(self, broker: FakeBroker, state: str = "accepted", **facts: Any) -> None:
        self.broker = broker
        self.set(state, **facts)
        broker.answer_question = self.answer

    def set(self, state: str, **facts: Any) -> None:
        self.view = JobView("order-1", "echo", state, "anna", 1.0, 5, **facts)

    def answer(self, question: Any) -> object:
        assert question.receipts
        return JobAnswer(question.request_id, self.view)

    def send(self, *messages: object) -> None:
        for message in messages:
            self.broker.sessions[-1].send(message)


async def next_of(receipts: AsyncIterator[JobReceipt]) -> tuple[str, int, str | None]:
    receipt = await asyncio.wait_for(anext(receipts), 10)
    return receipt.state, receipt.attempt, receipt.worker_id


def seen(state: str, attempt: int = 0, worker_id: str | None = None, **facts: Any) -> SeenView:
    return SeenView("order-1", "echo", state, "anna", 1.0, 5, attempt, worker_id=worker_id, **facts)


def failed(attempt: int, worker_id: str) -> SeenAttempt:
    return SeenAttempt(attempt, worker_id, 1.0, 2.0, "handler_error", "no")


@each_case(
    ("what", "heard", "expected"),
    [
        (
            "heard of as they happen",
            [seen("accepted"), JobAssigned("order-1", 1, "w1"), JobEnded("order-1", "done")],
            [("accepted", 0, None), ("assigned", 1, "w1"), ("done", 1, "w1")],
        ),
        (
            "all of it before",
            [seen("done", 3, "w3", failed=(failed(1, "w1"), failed(2, "w2")), code="handler_error")],
            [
                ("accepted", 0, None),
                ("assigned", 1, "w1"),
                ("assigned", 2, "w2"),
                ("assigned", 3, "w3"),
                ("done", 3, "w3"),
            ],
        ),
        (
            "twice",
            [
                seen("assigned", 2, "w2", failed=(failed(1, "w1"),)),
                JobAssigned("order-1", 1, "w1"),
                JobAssigned("order-1", 2, "w2"),
                seen("accepted", 2, "w2", failed=(failed(1, "w1"), failed(2, "w2"))),
            ],
            [("accepted", 0, None), ("assigned", 1, "w1"), ("assigned", 2, "w2")],
        ),
        (
            "given back, which costs no attempt",
            [seen("assigned", 1, "w1"), JobAssigned("order-1", 1, "w2"), JobEnded("order-1", "done")],
            [("accepted", 0, None), ("assigned", 1, "w1"), ("assigned", 1, "w2"), ("done", 1, "w2")],
        ),
        (
            "held, and cancelled before it ran",
            [seen("held"), seen("cancelled", code="cancelled", error="by hand")],
            [("held", 0, None), ("cancelled", 0, None)],
        ),
    ],
    ids=lambda case: case[0],
)
def test_steps_are_put_together_of_what_is_known_and_what_is_news(
    what: str, heard: list[Any], expected: list[tuple[str, int, str | None]]
) -> None:
    steps = Steps("order-1")
    receipts = [
        receipt
        for one in heard
        for receipt in (steps.of_view(one) if isinstance(one, SeenView) else steps.of_news(one))
    ]
    assert [(receipt.state, receipt.attempt, receipt.worker_id) for receipt in receipts] == expected
    assert not any(receipt.has_ended for receipt in receipts[:-1])


def test_why_it_is_dead_is_said_and_of_what_is_done_no_earlier_error() -> None:
    dead = Steps("order-1").of_news(JobEnded("order-1", "dead", None, "too_blue", "no"))
    assert dead == [JobReceipt("order-1", "dead", code="too_blue", error="no")]
    done = Steps("order-1").of_news(JobEnded("order-1", "done", None, "too_blue", "no"))
    assert done == [JobReceipt("order-1", "done")]


async def test_they_come_as_they_happen(broker: FakeBroker) -> None:
    desk = Desk(broker)
    async with Requester(broker.url) as requester:
        job = requester.job("order-1")
        receipts = job.receipts()
        assert await next_of(receipts) == ("accepted", 0, None)
        desk.send(JobAssigned("other", 1, "w9"), JobAssigned("order-1", 1, "w1"))
        assert await next_of(receipts) == ("assigned", 1, "w1")
        assert job.state == "assigned"
        desk.send(JobEnded("order-1", "done"))
        assert [receipt.state async for receipt in receipts] == ["done"]
        assert len(broker.questions) == 1
        exchange = requester._exchange
        assert exchange is not None
        assert not exchange.feeds._by_job


async def test_after_a_broken_link_it_asks_again_and_says_what_happened_meanwhile(broker: FakeBroker) -> None:
    desk = Desk(broker, "assigned", attempt=1, worker_id="w1")
    async with Requester(broker.url) as requester:
        receipts = requester.job("order-1").receipts()
        assert [await next_of(receipts) for _ in range(2)] == [("accepted", 0, None), ("assigned", 1, "w1")]
        waiting = asyncio.ensure_future(next_of(receipts))
        await asyncio.sleep(0)
        await broker.stop()
        attempts = [FailedAttempt(1, "w1", 1.0, 2.0, "worker_lost", "gone")]
        desk.set("assigned", attempt=2, worker_id="w2", failed=attempts)
        await broker.start()
        assert await waiting == ("assigned", 2, "w2")
        desk.send(JobAssigned("order-1", 3, "w1"))
        assert await next_of(receipts) == ("assigned", 3, "w1")
        desk.set("dead", attempt=3, worker_id="w1", code="worker_lost", error="gone")
        broker.drop_connections()
        assert await next_of(receipts) == ("dead", 3, "w1")


async def test_what_is_not_read_is_bounded_and_asked_for_again(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "UNREAD_COUNT_MAX", 2)
    desk = Desk(broker)
    async with Requester(broker.url) as requester:
        receipts = requester.job("order-1").receipts()
        assert await next_of(receipts) == ("accepted", 0, None)
        desk.send(*(JobAssigned("order-1", number, "w1") for number in (1, 2)))
        assert await requester.call("echo", 1) == 1
        assert [(await next_of(receipts))[1] for _ in range(2)] == [1, 2]
        desk.send(*(JobAssigned("order-1", number, "w1") for number in (3, 4, 5)))
        assert await requester.call("echo", 1) == 1
        desk.set("done", attempt=5, worker_id="w1")
        assert [receipt.state async for receipt in receipts] == ["assigned", "done"]
        assert len(broker.questions) == 2


async def test_two_follow_one_job_and_one_of_them_leaves(broker: FakeBroker) -> None:
    desk = Desk(broker)
    async with Requester(broker.url) as requester:
        first, second = (requester.job("order-1").receipts() for _ in range(2))
        assert await next_of(first) == await next_of(second) == ("accepted", 0, None)
        waiting = asyncio.ensure_future(next_of(first))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        desk.send(JobAssigned("order-1", 1, "w1"))
        assert await next_of(second) == ("assigned", 1, "w1")


async def test_why_there_are_none_is_raised(broker: FakeBroker) -> None:
    broker.answer_question = lambda question: Failure(
        question.request_id, False, None, "No such job", None, "unknown_job"
    )
    requester = Requester(broker.url)
    with pytest.raises(UnknownJob):
        await anext(requester.job("order-1").receipts())
    Desk(broker)
    receipts = requester.job("order-1").receipts()
    assert await next_of(receipts) == ("accepted", 0, None)
    waiting = asyncio.ensure_future(next_of(receipts))
    await asyncio.sleep(0)
    broker.admit = lambda _: Refusal(HTTPStatus.FORBIDDEN, "not you", RefusalReason.FORBIDDEN)
    broker.drop_connections()
    with pytest.raises(Forbidden):
        await waiting
    broker.admit = lambda _: None
    await until(lambda: broker.sessions)
    receipts = requester.job("order-1").receipts()
    assert await next_of(receipts) == ("accepted", 0, None)
    await requester.close()
    with pytest.raises(Cancelled):
        await anext(receipts)


def test_they_come_to_a_thread_as_well() -> None:
    def in_loop(thread: FakeBrokerThread, what: Callable[[], None]) -> None:
        thread._loop.call_soon_threadsafe(what)

    with FakeBrokerThread() as thread, BlockingRequester(thread.url) as requester:
        desk = Desk(thread.broker)
        receipts = requester.job("order-1").receipts()
        assert next(receipts).state == "accepted"
        in_loop(thread, lambda: desk.send(JobAssigned("order-1", 1, "w1")))
        assert next(receipts) == JobReceipt("order-1", "assigned", 1, "w1")
        desk.set("done", attempt=2, worker_id="w2")
        thread.drop_connections()
        assert [receipt.state for receipt in receipts] == ["assigned", "done"]
        desk.set("accepted")
        receipts = requester.job("order-1").receipts()
        assert next(receipts).state == "accepted"
        del receipts
        requester.close()
        with pytest.raises(RuntimeError, match="closed"):
            next(requester.job("order-1").receipts())
