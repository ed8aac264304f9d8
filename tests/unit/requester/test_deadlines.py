"""No call hangs, and none blocks others: deadlines and the bounds on requests in flight."""

import asyncio
import math
import time
from functools import partial

import pytest
from taskferry.requester import Cancelled, Overloaded, Requester, WorkerTimeout
from taskferry.requester.deadline_timer import CHECK_INTERVAL_S_MIN, READ_S, DeadlineTimer
from taskferry.requester.exchange import ANSWER_GRACE_S
from taskferry.transport.group import PAUSE_S_MIN

from tests.unit.requester.fake_broker import FakeBroker
from tests.unit.requester.waiting import until

LATE_S_MAX = 1.0
"""By how much a busy machine may be late."""


async def test_without_an_answer_a_call_ends_by_its_deadline_and_the_grace(requester: Requester) -> None:
    started_s = time.monotonic()
    with pytest.raises(
        WorkerTimeout, match="Worker response timeout, and no answer from the broker"
    ) as caught:
        await requester.call("never", timeout=0.1, request_id="one")
    took_s = time.monotonic() - started_s
    assert 0.1 + ANSWER_GRACE_S - 0.01 < took_s < 0.1 + ANSWER_GRACE_S + LATE_S_MAX
    assert (caught.value.request_id, caught.value.delivery) == ("one", "may_have_run")


async def test_an_answer_within_the_grace_is_taken(requester: Requester, broker: FakeBroker) -> None:
    call = asyncio.create_task(requester.call("hold", 1, timeout=0.05))
    await asyncio.sleep(0.1)
    broker.release()
    assert await call == 1


async def test_each_of_many_deadlines_is_kept_whatever_their_order(requester: Requester) -> None:
    started_s = time.monotonic()

    async def end_s(timeout_s: float) -> float:
        response = await requester.request("never", timeout=timeout_s)
        assert response.code == "timeout"
        return time.monotonic() - started_s - timeout_s - ANSWER_GRACE_S

    timeouts_s = [0.3, 0.01, 0.2, 0.1, 0.25, 0.05] * 20
    late_s = await asyncio.gather(*map(end_s, timeouts_s))
    assert min(late_s) > -0.01
    assert max(late_s) < LATE_S_MAX


async def test_a_late_answer_is_passed_over(requester: Requester, broker: FakeBroker) -> None:
    response = await requester.request("hold", timeout=0.01)
    assert response.code == "timeout"
    broker.release()
    assert await requester.call("echo", 1) == 1


async def test_a_shorter_deadline_is_not_kept_waiting_by_a_longer_one(requester: Requester) -> None:
    long = asyncio.create_task(requester.request("never", timeout=60))
    await asyncio.sleep(0)
    assert (await requester.request("never", timeout=0.01)).code == "timeout"
    assert not long.done()
    long.cancel()


# --- bounds ---


async def test_a_call_whose_turn_comes_after_its_deadline_was_overloaded(broker: FakeBroker) -> None:
    async with Requester(broker.url, in_flight_count_max=1) as requester:
        first = asyncio.create_task(requester.call("hold", 1))
        await until(lambda: len(broker.requests) == 1)
        second = asyncio.create_task(requester.request("echo", timeout=0.02))
        await until(lambda: requester.in_flight_count == 2)
        broker.release()
        await asyncio.sleep(0)  # the answer is on its way
        time.sleep(0.05)  # and is read in the turn in which the deadline timer is due, before it
        response = await second
        assert await first == 1
    assert (response.code, response.delivery) == ("overloaded", "not_delivered")


async def test_a_call_over_the_bound_waits_for_its_turn(broker: FakeBroker) -> None:
    async with Requester(broker.url, in_flight_count_max=2) as requester:
        calls = [asyncio.create_task(requester.call("hold", n)) for n in range(5)]
        await until(lambda: len(broker.requests) == 2)
        assert requester.in_flight_count == 5
        for ended_count in (2, 4):
            broker.release()
            await until(partial(_has_received, broker, min(ended_count + 2, 5)))
            assert sum(call.done() for call in calls) == ended_count
        broker.release()
        assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
        data = [bytes(request.data) for request in broker.requests]  # type: ignore[arg-type]  # all have data
        assert data == [b"0", b"1", b"2", b"3", b"4"]  # in the order of the calls


async def test_one_that_never_gets_its_turn_was_not_sent(broker: FakeBroker) -> None:
    async with Requester(broker.url, in_flight_count_max=1) as requester:
        first = asyncio.create_task(requester.call("hold", 1))
        await until(lambda: broker.requests)
        with pytest.raises(Overloaded, match="Not sent in time: 1 requests are in flight") as caught:
            await requester.call("echo", timeout=0.1)
        assert caught.value.retryable
        assert caught.value.delivery == "not_delivered"
        broker.release()
        assert await first == 1
        assert len(broker.requests) == 1


async def test_one_that_waited_is_sent_with_what_is_left_of_its_time(broker: FakeBroker) -> None:
    async with Requester(broker.url, in_flight_count_max=1) as requester:
        first = asyncio.create_task(requester.call("hold", 1))
        second = asyncio.create_task(requester.call("echo", 2, timeout=20))
        await until(lambda: broker.requests)
        await asyncio.sleep(0.05)
        broker.release()
        await asyncio.gather(first, second)
        left_s = broker.requests[1].timeout
        assert left_s is not None
        assert 15 < left_s < 19.96


async def test_cancelling_makes_room_for_the_next(broker: FakeBroker) -> None:
    async with Requester(broker.url, in_flight_count_max=1) as requester:
        first = asyncio.create_task(requester.call("never"))
        second = asyncio.create_task(requester.call("echo", 2))
        third = asyncio.create_task(requester.call("echo", 3))
        await until(lambda: broker.requests)
        second.cancel()  # while it waits: nothing is sent of it
        first.cancel()
        assert await third == 3
        assert broker.commands == ["never", "echo"]
        assert len(broker.cancelled) == 1


async def test_closing_ends_those_that_wait(broker: FakeBroker) -> None:
    requester = Requester(broker.url, in_flight_count_max=1)
    calls = [asyncio.create_task(requester.call("never")) for _ in range(2)]
    await until(lambda: broker.requests)
    await requester.close()
    sent, waiting = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(sent, Cancelled)
    assert "may have run" in sent.text
    assert sent.delivery == "may_have_run"
    assert isinstance(waiting, Cancelled)
    assert "it was not sent" in waiting.text
    assert waiting.delivery == "not_delivered"


async def test_bytes_in_flight_are_bounded_too(requester: Requester, broker: FakeBroker) -> None:
    assert requester._exchange is not None
    requester._exchange._requests.size_bytes_max = 50_000
    calls = [asyncio.create_task(requester.call("hold", "x" * 20_000)) for _ in range(4)]
    await until(lambda: len(broker.requests) == 2)
    broker.release()
    await until(lambda: len(broker.requests) == 4)
    broker.release()
    assert [len(result) for result in await asyncio.gather(*calls)] == [20_000] * 4


async def test_a_burst_over_what_a_link_may_hold_breaks_nothing(
    requester: Requester, broker: FakeBroker
) -> None:
    text = "x" * 1_000_000
    results = await asyncio.gather(*(requester.call("echo", text) for _ in range(70)))
    assert all(len(result) == len(text) for result in results)
    assert broker.connection_count == 1


@pytest.mark.uncovered
async def test_ten_thousand_waiting_calls_take_no_time_in_the_queue(broker: FakeBroker) -> None:
    async with Requester(broker.url, in_flight_count_max=10) as requester:
        results = await asyncio.gather(*(requester.call("echo", n) for n in range(10_000)))
        assert results == list(range(10_000))


def _has_received(broker: FakeBroker, count: int) -> bool:
    assert len(broker.requests) <= count
    return len(broker.requests) == count


# --- the timer ---


class Deadlines:
    """Deadlines that a timer checks; each check is recorded."""

    def __init__(self) -> None:
        self.left_s: list[float] = []
        self.checks_s: list[float] = []

    def check(self, now_s: float) -> tuple[int, float]:
        self.checks_s.append(now_s)
        count = len(self.left_s)
        self.left_s = [deadline_s for deadline_s in self.left_s if deadline_s > now_s]
        return count, min(self.left_s, default=math.inf)


async def test_the_timer_checks_at_the_earliest_deadline_and_then_the_rest() -> None:
    deadlines = Deadlines()
    timer = DeadlineTimer(deadlines.check)
    now_s = time.monotonic()
    for after_s in (0.1, 0.05, 0.15):
        deadlines.left_s.append(now_s + after_s)
        timer.by(now_s + after_s)
    assert timer.at_s == now_s + 0.05
    await until(lambda: not deadlines.left_s)
    assert len(deadlines.checks_s) <= 5  # an event loop's timer may be a millisecond early
    assert timer.at_s == math.inf


async def test_the_timer_does_not_check_more_often_than_its_interval() -> None:
    deadlines = Deadlines()
    timer = DeadlineTimer(deadlines.check)
    now_s = time.monotonic()
    for number in range(100):
        deadlines.left_s.append(now_s + number * 0.001)
        timer.by(now_s + number * 0.001)
    await until(lambda: not deadlines.left_s)
    gaps_s = [
        later - earlier for earlier, later in zip(deadlines.checks_s, deadlines.checks_s[1:], strict=False)
    ]
    assert min(gaps_s) > CHECK_INTERVAL_S_MIN - 0.003
    assert len(deadlines.checks_s) < 15


async def test_after_a_pause_of_the_process_the_timer_waits_until_what_came_meanwhile_is_read() -> None:
    deadlines = Deadlines()
    timer = DeadlineTimer(deadlines.check)
    deadlines.left_s.append(time.monotonic())
    timer.by(deadlines.left_s[0])
    time.sleep(PAUSE_S_MIN)
    paused_until_s = time.monotonic()
    timer.by(paused_until_s)
    await until(lambda: not deadlines.left_s)
    assert paused_until_s + READ_S - 0.003 <= deadlines.checks_s[0] < paused_until_s + READ_S + LATE_S_MAX


async def test_a_closed_timer_checks_no_more() -> None:
    deadlines = Deadlines()
    timer = DeadlineTimer(deadlines.check)
    timer.by(time.monotonic() + 0.01)
    timer.close()
    await asyncio.sleep(0.03)
    assert deadlines.checks_s == []
