"""`map` of both requesters: results in order or as they come, never more calls than the window, and what ends it."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest
from taskferry.protocol.limits import IN_FLIGHT_COUNT_MAX
from taskferry.requester import (
    BadRequest,
    BlockingRequester,
    Cancelled,
    HandlerError,
    NotRepresentable,
    Requester,
    TaskferryError,
)
from taskferry.requester.window import results_of

from tests.processes import wait_until
from tests.unit.requester.fake_broker import FakeBroker, FakeBrokerThread
from tests.unit.requester.waiting import until

FAILURE = {"error": "too blue", "code": "too_blue"}


@pytest.fixture
def thread_broker() -> Iterator[FakeBrokerThread]:
    with FakeBrokerThread() as broker:
        yield broker


@pytest.fixture
def blocking(thread_broker: FakeBrokerThread) -> Iterator[BlockingRequester]:
    with BlockingRequester(thread_broker.url) as requester:
        yield requester


class Work:
    """Calls that end when the test says so; counts how many run."""

    def __init__(self) -> None:
        self.running: dict[int, asyncio.Future[int]] = {}
        self.begun_count = 0

    async def call(self, item: int) -> int:
        self.begun_count += 1
        self.running[item] = asyncio.get_running_loop().create_future()
        try:
            return await self.running[item]
        finally:
            del self.running[item]

    def end(self, item: int) -> None:
        self.running[item].set_result(item)


# --- the window -----------------------------------------------------------------------------------------------------


async def test_no_more_calls_begin_than_results_are_taken() -> None:
    work = Work()
    async with aclosing(results_of(work.call, itertools.count(), concurrency=3, in_order=True)) as results:
        first = asyncio.ensure_future(anext(results))
        await until(lambda: work.begun_count == 3)
        work.end(1)
        work.end(2)
        await asyncio.sleep(0)
        assert (work.begun_count, first.done()) == (3, False), "the first one still runs"
        work.end(0)
        assert await first == 0
        for _ in range(5):
            await asyncio.sleep(0)
        assert work.begun_count == 3, "its result has been taken, but not dealt with"
        assert await anext(results) == 1
        await until(lambda: work.begun_count == 4)
    assert work.running == {}


async def test_as_they_come() -> None:
    work = Work()
    async with aclosing(results_of(work.call, range(4), concurrency=2, in_order=False)) as results:
        taken = []
        for ended in (1, 2, 0, 3):
            following = asyncio.ensure_future(anext(results))
            while ended not in work.running:
                await asyncio.sleep(0)
            work.end(ended)
            taken.append(await following)
        assert taken == [1, 2, 0, 3]
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@pytest.mark.parametrize("in_order", [True, False])
async def test_an_error_of_the_items_ends_it_and_the_calls_that_run(in_order: bool) -> None:
    work = Work()

    async def items() -> AsyncIterator[int]:
        yield 0
        yield 1
        raise LookupError("no more lines")

    async def consume() -> list[int]:
        return [each async for each in results_of(work.call, items(), concurrency=5, in_order=in_order)]

    consuming = asyncio.create_task(consume())
    await until(lambda: work.begun_count == 2)
    for item in tuple(work.running):
        work.end(item)
    with pytest.raises(LookupError, match="no more lines"):
        await consuming
    assert work.running == {}


@pytest.mark.parametrize("in_order", [True, False])
async def test_nothing_of_nothing(in_order: bool) -> None:
    assert [each async for each in results_of(Work().call, (), concurrency=5, in_order=in_order)] == []


# --- Requester.map --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_order", [True, False])
async def test_each_item_is_the_data_of_a_call(
    requester: Requester, broker: FakeBroker, in_order: bool
) -> None:
    results = [
        each async for each in requester.map("echo", range(50), concurrency=7, in_order=in_order, priority=9)
    ]
    assert (results if in_order else sorted(results)) == list(range(50))
    assert {request.priority for request in broker.requests} == {9}


async def test_results_are_converted(requester: Requester) -> None:
    assert [each async for each in requester.map("echo", [{"1": 2}], type=dict[int, float])] == [{1: 2.0}]
    with pytest.raises(NotRepresentable, match="result: Expected `int`, got `str`"):
        await anext(requester.map("echo", ["a"], type=int))


async def test_the_first_failure_is_raised_and_the_others_are_cancelled(
    requester: Requester, broker: FakeBroker
) -> None:
    async def failing() -> None:
        async for _ in requester.map("fail", [FAILURE] * 3):
            raise AssertionError("there is no result")

    with pytest.raises(HandlerError, match="too blue"):
        await failing()
    assert requester.in_flight_count == 0
    async with aclosing(requester.map("hold", [1, 2, 3])) as results:
        following = asyncio.ensure_future(anext(results))
        await until(lambda: broker.commands.count("hold") == 3)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    await until(lambda: len(broker.cancelled) == 3)


async def test_failures_come_in_the_place_of_results_on_request(requester: Requester) -> None:
    results = [each async for each in requester.map("fail", [FAILURE] * 3, return_exceptions=True)]
    assert [str(each) for each in results] == ["too blue"] * 3
    (wrong,) = [each async for each in requester.map("echo", ["a"], type=int, return_exceptions=True)]
    assert isinstance(wrong, NotRepresentable)


@pytest.mark.parametrize("concurrency", [0, -1, IN_FLIGHT_COUNT_MAX + 1])
async def test_a_window_out_of_bounds_is_refused(requester: Requester, concurrency: int) -> None:
    with pytest.raises(
        ValueError, match=f"concurrency: {concurrency} is not from 1 to {IN_FLIGHT_COUNT_MAX}"
    ):
        await anext(requester.map("echo", [1], concurrency=concurrency))


# --- BlockingRequester.map ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("concurrency", [1, 7, 100])
def test_threads_get_the_same(blocking: BlockingRequester, in_order: bool, concurrency: int) -> None:
    results = list(blocking.map("echo", range(50), concurrency=concurrency, in_order=in_order, type=float))
    assert (results if in_order else sorted(results)) == [float(number) for number in range(50)]
    assert list(blocking.map("echo", ())) == []


def test_a_thread_begins_no_more_calls_than_it_takes_results(
    blocking: BlockingRequester, thread_broker: FakeBrokerThread
) -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            begun.append(number)
            yield number

    with closing(blocking.map("echo", items(), concurrency=3)) as results:
        assert next(results) == 0
        assert begun == [0, 1, 2]
        assert next(results) == 1
        assert begun == [0, 1, 2, 3]
    assert thread_broker.request_count <= 4


def test_in_a_thread_the_first_failure_is_raised(blocking: BlockingRequester) -> None:
    with pytest.raises(HandlerError, match="too blue"):
        list(blocking.map("fail", [FAILURE]))
    with pytest.raises(BadRequest, match="data: cannot be written"):
        list(blocking.map("echo", [object()]))
    results = list(blocking.map("fail", [FAILURE] * 2, return_exceptions=True))
    assert [str(each) for each in results] == ["too blue"] * 2
    (wrong,) = blocking.map("echo", ["a"], type=int, return_exceptions=True)
    assert isinstance(wrong, NotRepresentable)


def test_closing_the_iterator_of_a_thread_cancels_what_runs(
    blocking: BlockingRequester, thread_broker: FakeBrokerThread
) -> None:
    def items() -> Iterator[Any]:
        yield 1
        yield 2
        raise LookupError("no more lines")

    blocking.connect()
    with pytest.raises(LookupError):
        list(blocking.map("never", items()))
    wait_until(lambda: len(thread_broker.broker.cancelled) == 2, "the cancels")


def test_closing_the_requester_ends_it(thread_broker: FakeBrokerThread) -> None:
    with BlockingRequester(thread_broker.url) as requester:
        ends: list[TaskferryError] = []

        def run() -> None:
            try:
                list(requester.map("never", [1, 2, 3]))
            except TaskferryError as error:
                ends.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: thread_broker.request_count == 3, "the requests")
    thread.join()
    assert [type(end) for end in ends] == [Cancelled]


def test_a_window_of_a_thread_out_of_bounds_is_refused(blocking: BlockingRequester) -> None:
    with pytest.raises(ValueError, match="concurrency: 0 is not from 1"):
        next(blocking.map("echo", [1], concurrency=0))
