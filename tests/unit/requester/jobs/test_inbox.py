"""The inbox of a client that has a name: when it is greeted, what is read, and what a broken link does to it."""

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from taskferry.protocol.job_messages import Ack, Greeted, Greeting, JobEnded
from taskferry.protocol.messages import Failure
from taskferry.requester import Cancelled, Forbidden, JobsOff, Requester, Unauthenticated
from taskferry.requester.jobs import inbox as inbox_module
from taskferry.transport.admission import Refusal, RefusalReason

from tests.unit.requester.fake_broker import FakeBroker
from tests.unit.requester.waiting import until


class Desk:
    """Answers a greeting with the messages that are not acknowledged, as a broker does."""

    def __init__(self, broker: FakeBroker, count: int) -> None:
        self.broker = broker
        self.acknowledged = 0
        self.count = count
        broker.answer_question = self.answer

    def answer(self, question: Any) -> object:
        match question:
            case Ack():
                self.acknowledged = question.number
                return None
            case Greeting():
                for number in range(self.acknowledged + 1, self.count + 1):
                    self.end(number)
                return Greeted(question.request_id, question.client_id, self.count - self.acknowledged)
        return None

    def end(self, number: int) -> None:
        self.broker.sessions[-1].send(JobEnded(f"job-{number}", "dead", number, "own_code", "no"))


async def test_it_is_greeted_first_over_every_link(broker: FakeBroker) -> None:
    Desk(broker, 0)
    async with Requester(broker.url, client_id="billing-1") as requester:
        asking = asyncio.create_task(requester.job("order-1").refresh())
        await until(lambda: len(broker.questions) == 2)
        broker.drop_connections()
        await until(lambda: len(broker.questions) == 4)
        kinds = [type(question).__name__ for question in broker.questions]
        assert kinds == ["Greeting", "Job", "Greeting", "Job"]
        assert broker.questions[0].client_id == "billing-1"
        asking.cancel()


async def test_facts_are_said_over_every_link_and_only_by_those_who_have_some(broker: FakeBroker) -> None:
    async with Requester(broker.url) as requester:
        await requester.connect()
        async with Requester(broker.url, device={"app": "2.1"}) as other:
            assert await other.call("echo", 1) == 1
            broker.drop_connections()
            assert await other.call("echo", 2, idempotent=True, timeout=20) == 2
            assert await requester.call("echo", 3, idempotent=True, timeout=20) == 3
    first, second = broker.questions
    assert first == second
    assert (first.client_id, first.device["app"], len(first.device)) == (None, "2.1", 6)


async def test_messages_come_in_order_until_they_are_acknowledged(broker: FakeBroker) -> None:
    desk = Desk(broker, 3)
    async with Requester(broker.url, client_id="billing-1") as requester:
        inbox = requester.inbox()
        first, second, third = [await anext(inbox) for _ in range(3)]
        assert [message.number for message in (first, second, third)] == [1, 2, 3]
        assert (first.job_id, first.state, first.code, first.error, first.dropped) == (
            "job-1",
            "dead",
            "own_code",
            "no",
            0,
        )
        second.acknowledge()
        await until(lambda: desk.acknowledged == 2)
        broker.drop_connections()
        again = await anext(inbox)
        assert again.job_id == "job-3"
        waiting = asyncio.ensure_future(anext(inbox))
        await asyncio.sleep(0)
        desk.end(4)
        assert (await waiting).number == 4


async def test_each_message_goes_to_one_reader_and_none_is_lost_with_one(broker: FakeBroker) -> None:
    desk = Desk(broker, 0)
    async with Requester(broker.url, client_id="billing-1") as requester:
        await requester.connect()
        readers = [asyncio.ensure_future(anext(requester.inbox())) for _ in range(2)]
        await asyncio.sleep(0)
        readers[0].cancel()
        await asyncio.sleep(0)
        desk.end(1)
        assert (await readers[1]).number == 1
        exchange = requester._exchange
        assert exchange is not None
        assert exchange.inbox is not None
        late = asyncio.ensure_future(anext(requester.inbox()))
        await asyncio.sleep(0)
        exchange.inbox.received(JobEnded("job-2", "done", 2))
        late.cancel()  # in the moment in which the message came
        await asyncio.wait([late])
        assert (await anext(requester.inbox())).number == 2


async def test_what_is_not_read_is_bounded(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "UNREAD_COUNT_MAX", 2)
    Desk(broker, 5)
    async with Requester(broker.url, client_id="billing-1") as requester:
        assert await requester.call("echo", 1) == 1
        inbox = requester.inbox()
        assert [(await anext(inbox)).number for _ in range(2)] == [1, 2]
        broker.drop_connections()
        assert (await anext(inbox)).number == 1


async def test_why_there_is_no_inbox_is_raised(broker: FakeBroker) -> None:
    broker.answer_question = lambda question: Failure(
        question.request_id, False, None, "not you", None, "forbidden"
    )
    async with Requester(broker.url, client_id="billing-1") as requester:
        reading = asyncio.ensure_future(anext(requester.inbox()))
        with pytest.raises(Forbidden, match="not you"):
            await reading
        with pytest.raises(Forbidden):
            await anext(requester.inbox())
        assert not issubclass(Forbidden, JobsOff)


async def test_it_ends_with_the_requester_and_with_a_refusal(broker: FakeBroker) -> None:
    Desk(broker, 0)
    requester = Requester(broker.url, client_id="billing-1")
    reading = asyncio.ensure_future(anext(requester.inbox()))
    await until(lambda: broker.questions)
    await requester.close()
    with pytest.raises(Cancelled):
        await reading
    broker.admit = lambda _: Refusal(HTTPStatus.UNAUTHORIZED, "who are you?", RefusalReason.UNAUTHENTICATED)
    async with Requester(broker.url, client_id="billing-1") as requester:
        with pytest.raises(Unauthenticated):
            await anext(requester.inbox())


async def test_without_a_name_there_is_none(broker: FakeBroker) -> None:
    async with Requester(broker.url) as requester:
        with pytest.raises(RuntimeError, match="needs a client_id"):
            await anext(requester.inbox())
    for wrong in ("", "x" * 129, 7):
        with pytest.raises(ValueError, match="client_id: expected text of 1 to 128 characters"):
            Requester(broker.url, client_id=wrong)  # type: ignore[arg-type]
    Requester(broker.url, client_id="x" * 128)
