"""What a broker refuses for now is sent again: when, how often, and what is never sent again."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from taskferry.protocol.messages import Failure, Request
from taskferry.requester import BlockingRequester, Overloaded, RateLimited, Requester, ShuttingDown
from taskferry.requester.options import RETRIES_COUNT_MAX
from taskferry.requester.response import Response
from taskferry.requester.retries import (
    MORE_BY_CHANCE,
    WAIT_S_FIRST,
    WAIT_S_MAX,
    is_refused_for_now,
    wait_s,
)

from tests.each_case import each_case
from tests.unit.requester.fake_broker import FakeBroker, FakeBrokerThread, Session
from tests.unit.requester.waiting import until

WAIT_S = 0.02
OVERLOADED = {
    "code": "overloaded",
    "error": "Broker overloaded",
    "delivery": "not_delivered",
    "retry_after": WAIT_S,
}


def refusing(count: int, **failure: Any) -> Callable[[Session, Request], None]:
    """Answers the first `count` requests with this failure, the others with their data."""
    refused: list[float] = []

    def behave(session: Session, request: Request) -> None:
        refused.append(time.monotonic())
        if len(refused) > count:
            session.answer(request)
        else:
            fields: dict[str, Any] = OVERLOADED | failure
            session.send(Failure(request.request_id, False, None, processed_by=None, **fields))

    return behave


async def test_it_is_sent_again_after_the_time_that_the_broker_names(broker: FakeBroker) -> None:
    broker.behave = refusing(2)
    async with Requester(broker.url, retries=2) as requester:
        await requester.connect()
        began_s = time.monotonic()
        assert await requester.call("x", 1, request_id="mine", timeout=30) == 1
        assert time.monotonic() - began_s >= 2 * WAIT_S
        assert [request.request_id for request in broker.requests] == ["mine"] * 3
        first, _, last = (request.timeout or 0.0 for request in broker.requests)
        assert first == 30
        assert last < 30 - 2 * WAIT_S, "with the rest of its time"
        assert requester.in_flight_count == 0


async def test_it_is_sent_again_so_many_times(broker: FakeBroker) -> None:
    for retries, count in ((0, 1), (2, 3)):
        broker.requests.clear()
        broker.behave = refusing(100)
        async with Requester(broker.url, retries=retries) as requester:
            with pytest.raises(Overloaded) as caught:
                await requester.call("x")
            assert caught.value.retry_after_s == WAIT_S
            assert (await requester.request("x")).code == "overloaded"
        assert len(broker.requests) == 2 * count


async def test_not_if_its_time_would_be_over(broker: FakeBroker) -> None:
    broker.behave = refusing(1, retry_after=5.0)
    async with Requester(broker.url, retries=9) as requester:
        began_s = time.monotonic()
        with pytest.raises(Overloaded):
            await requester.call("x", timeout=4)
        assert time.monotonic() - began_s < 2
    assert len(broker.requests) == 1


async def test_a_rate_limit_is_waited_for_too(broker: FakeBroker) -> None:
    broker.behave = refusing(1, code="rate_limited")
    async with Requester(broker.url, retries=1) as requester:
        assert await requester.call("x", 1) == 1


@pytest.mark.parametrize(
    "failure",
    [{"delivery": "may_have_run"}, {"delivery": None}, {"code": "no_available_workers"}, {"code": "timeout"}],
)
async def test_nothing_else_is_sent_again(broker: FakeBroker, failure: dict[str, Any]) -> None:
    broker.behave = refusing(1, **failure)
    async with Requester(broker.url, retries=9) as requester:
        assert not (await requester.request("x")).success
    assert len(broker.requests) == 1


async def test_a_call_that_is_cancelled_while_it_waits_is_not_sent_again(broker: FakeBroker) -> None:
    broker.behave = refusing(1, retry_after=0.05)
    async with Requester(broker.url, retries=9) as requester:
        calling = asyncio.create_task(requester.call("x"))
        await until(lambda: len(broker.requests) == 1 and requester.in_flight_count == 1)
        await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.sleep(0.1)
        assert (len(broker.requests), broker.cancelled) == (1, [])


async def test_a_new_link_sends_it_at_once_and_once_only(broker: FakeBroker) -> None:
    broker.behave = refusing(1, retry_after=1.0)
    async with Requester(broker.url, retries=9) as requester:
        calling = asyncio.create_task(requester.call("x", 1))
        await until(lambda: len(broker.requests) == 1)
        await asyncio.sleep(0.01)
        broker.sessions[0].link.abort("dropped")
        assert await calling == 1
        assert len(broker.requests) == 2


def test_threads_have_it_too() -> None:
    with FakeBrokerThread() as broker:
        broker.broker.behave = refusing(2)
        with BlockingRequester(broker.url, retries=2) as requester:
            assert requester.call("x", 1) == 1
            assert list(requester.map("x", [1, 2])) == [1, 2]


@pytest.mark.parametrize("kind", [Requester, BlockingRequester])
def test_a_count_out_of_bounds_is_refused(kind: type[Requester | BlockingRequester]) -> None:
    for retries in (-1, RETRIES_COUNT_MAX + 1):
        with pytest.raises(ValueError, match=f"retries: {retries} is not from 0 to {RETRIES_COUNT_MAX}"):
            kind("ws://127.0.0.1:1", retries=retries)


@each_case(
    ("named_s", "count", "chance", "expected_s"),
    [
        (2.0, 0, 0.0, 2.0),
        (2.0, 9, 1.0, 2.0 * (1 + MORE_BY_CHANCE)),
        (0.0, 0, 1.0, 0.0),
        (None, 0, 0.0, WAIT_S_FIRST),
        (None, 1, 0.0, 2 * WAIT_S_FIRST),
        (None, 100, 0.0, WAIT_S_MAX),
    ],
)
def test_the_wait_is_never_shorter_than_the_broker_names(
    named_s: float | None, count: int, chance: float, expected_s: float
) -> None:
    assert wait_s(named_s, count, lambda: chance) == pytest.approx(expected_s)


def test_what_is_refused_for_now() -> None:
    for code in (Overloaded.code, RateLimited.code):
        assert is_refused_for_now(Response("r", False, code=code, delivery="not_delivered"))
        assert not is_refused_for_now(Response("r", False, code=code))
    assert not is_refused_for_now(Response("r", False, code=ShuttingDown.code, delivery="not_delivered"))
