"""Deadlines are never early and at most one tick late, wherever the request is; and the timing wheel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from taskferry.broker.core.account import unlimited
from taskferry.broker.core.call import BUDGET_S_MIN, Call
from taskferry.broker.core.delivery.deadlines import NEVER, TICK_S, YOUNG_S, Deadlines
from taskferry.broker.core.fleet.command import Command
from taskferry.broker.core.request import Request
from taskferry.broker.core.requester import Requester

from tests.unit.broker.core.world import START_S, World

CLOCK_STEP_S = 1e-9
"""Times closer than this count as the same instant."""


def test_a_timeout_answers_the_requester_cancels_the_assignment_and_keeps_the_slot() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    request_id = requester.submit(timeout=2.0)
    msg_id = worker.msg_id(request_id)
    waiting = requester.submit(timeout=9.0)
    world.sleep(1.99)
    assert requester.outcome(request_id) is None
    world.sleep(0.03)
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.text, answer.worker_id) == ("timeout", "Worker response timeout", "w")
    assert worker.cancels == [(msg_id, "timeout")]
    assert worker.session.in_flight_count == 1
    assert requester.outcome(waiting) is None
    assert waiting not in worker.holds, "the slot is not free until the worker reports its end"


def test_a_late_response_is_discarded_counted_and_frees_the_slot() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(timeout=1.0)
    waiting = requester.submit()
    world.sleep(5.0)
    worker.succeed(request_id)
    assert [answer.outcome for answer in requester.answers] == ["timeout"]
    assert world.core.counts.late_responses_count == 1
    assert worker.holds == [waiting]
    assert worker.session.succeeded_count == 0


def test_a_waiting_request_expires_too() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit()
    waiting = requester.submit(timeout=1.0)
    world.sleep(1.02)
    answer = requester.answer(waiting)
    assert (answer.outcome, answer.worker_id) == ("timeout", None)
    assert world.core.queue.count == 0
    assert worker.cancels == []


def test_expired_work_is_dropped_before_it_is_assigned() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first = requester.submit()
    waiting, other = requester.submit(timeout=1.0), requester.submit()
    world.now += 1.0  # the timer has not fired yet
    worker.succeed(first)
    assert requester.outcome(waiting) == "timeout"
    assert worker.holds == [other]
    assert [delivery.request_id for delivery in worker.delivered] == [first, other]


def test_many_requests_that_expire_together_all_end() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=50), world.requester()
    for number in range(100):
        requester.submit(timeout=1.0 + (number % 10) / 100)
    world.now += 60.0
    world.core.advance(world.now)
    world.check()
    assert world.outcomes() == {"timeout": 100}
    assert len(worker.cancels) == 50
    assert world.core.deadlines.next_at == NEVER


def test_advance_ends_nothing_if_nothing_is_due() -> None:
    world = World()
    world.worker()
    requester = world.requester()
    world.core.advance(world.now)
    requester.submit()
    world.core.advance(world.now)
    assert requester.answers == []


@pytest.mark.uncovered
@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.0001, 50.0)), min_size=1, max_size=20), st.floats(0, 1e7)
)
def test_no_request_ends_early_and_none_more_than_a_tick_late(
    submits: list[tuple[float, float]], start: float
) -> None:
    world = World()
    world.now = start
    world.worker("w", concurrency=10)
    requester = world.requester()
    deadlines = {}
    for pause_s, timeout_s in submits:
        world.sleep(pause_s)
        deadlines[requester.submit(timeout=timeout_s)] = world.now + max(timeout_s, BUDGET_S_MIN)
    world.sleep(60.0)
    assert [answer.outcome for answer in requester.answers] == ["timeout"] * len(submits)
    for answer in requester.answers:
        late_s = answer.at - deadlines[answer.request_id]
        assert -CLOCK_STEP_S <= late_s <= TICK_S + CLOCK_STEP_S


def make_request(deadline: float) -> Request:
    command = Command("echo")
    requester = Requester(None, unlimited("anonymous"))  # type: ignore[arg-type]  # the wheel does not use the port
    call = Call("r", "echo", Raw(b"{}"))
    return Request(call, command, command.route, requester, START_S, deadline - START_S, deadline)


def test_an_empty_wheel_is_never_due() -> None:
    deadlines = Deadlines()
    assert deadlines.next_at == NEVER
    assert deadlines.is_empty
    assert deadlines.due(1e9) == []
    assert deadlines.next_at == NEVER


def test_only_requests_that_outlive_the_first_check_are_put_on_the_wheel() -> None:
    deadlines = Deadlines()
    deadlines.due(START_S)
    short, long, ended = (make_request(START_S + after_s) for after_s in (0.1, 30, 30))
    for request in (short, long, ended):
        deadlines.add(request)
    assert deadlines.next_at == pytest.approx(START_S + 0.1, abs=TICK_S)
    deadlines.remove(ended)
    assert deadlines.due(START_S + 0.12) == [short]
    deadlines.remove(short)
    assert deadlines.due(START_S + 0.12) == []
    assert deadlines.next_at == START_S + YOUNG_S, "the check of young requests"
    assert deadlines.due(START_S + YOUNG_S) == []
    assert deadlines.next_at == pytest.approx(START_S + 30, abs=TICK_S)
    deadlines.remove(long)
    assert deadlines.is_empty


def test_the_wheel_wakes_for_the_earliest() -> None:
    deadlines = Deadlines()
    late, early, same_tick = (
        make_request(START_S + 5),
        make_request(START_S + 1),
        make_request(START_S + 1.001),
    )
    for request in (late, early, same_tick):
        deadlines.add(request)
    assert deadlines.next_at <= START_S
    assert deadlines.due(START_S) == []
    assert deadlines.next_at == pytest.approx(START_S + 1, abs=TICK_S)
    assert deadlines.due(START_S + 0.99) == []
    assert deadlines.due(START_S + 1.02) == [early, same_tick]
    deadlines.remove(early)
    deadlines.remove(same_tick)
    assert deadlines.due(START_S + 1.02) == []
    assert deadlines.next_at == pytest.approx(START_S + 5, abs=TICK_S)
    deadlines.remove(late)
    assert deadlines.is_empty
