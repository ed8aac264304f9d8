"""The broker itself stands still for a while: that costs no request its time, and no worker its good name."""

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S, READ_S
from taskferry.broker.core.explain import explain
from taskferry.broker.core.health.streak import FAILURES_COUNT_MIN

from tests.unit.broker.core.world import CANARY, FakeWorker, World

PAUSE_S = 60.0


def failures_count(worker: FakeWorker) -> int:
    return worker.session.record.streak.count


@pytest.mark.parametrize("hedge", [None, 1.0])
def test_deadlines_move_by_the_pause(hedge: float | None) -> None:
    world = World()
    world.worker("v")
    world.worker("w")
    requester = world.requester()
    request_id = requester.submit(timeout=10.0, hedge=hedge, idempotent=True)
    world.sleep(4.0)
    world.pause(PAUSE_S)
    world.sleep(6.0 - LOOK_INTERVAL_S)
    assert requester.outcome(request_id) is None
    world.sleep(LOOK_INTERVAL_S + READ_S + 0.02)
    assert requester.outcome(request_id) == "timeout"


def test_what_came_meanwhile_counts_even_for_what_was_due_as_the_pause_began() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(timeout=1.0)
    world.sleep(0.999)
    world.pause(PAUSE_S)
    world.sleep(READ_S - 0.01)
    worker.succeed(request_id)
    assert requester.outcome(request_id) == "success"


def test_a_request_that_was_read_after_the_pause_keeps_its_deadline() -> None:
    world = World()
    world.worker()
    requester = world.requester()
    before = requester.submit(timeout=1.0)
    since = world.now
    world.now += PAUSE_S
    after = requester.submit(timeout=2.0)
    world.core.paused(since, world.now)
    world.sleep(2.02)
    assert [requester.outcome(request_id) for request_id in (before, after)] == ["timeout", "timeout"]


def test_the_wait_for_a_slot_leaves_it_out() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first, waiting = requester.submit(), requester.submit(timeout=10.0)
    world.sleep(1.0)
    world.pause(PAUSE_S)
    worker.succeed(first)
    assert worker.holds == [waiting]
    failure_at = world.now
    requester.cancel(waiting)
    failure = requester.answer(waiting).failure
    assert failure is not None
    assert failure.queue_wait_s is not None
    assert 1.0 <= failure.queue_wait_s <= 1.0 + LOOK_INTERVAL_S
    assert requester.answer(waiting).at == failure_at


def test_no_worker_is_blamed_for_what_is_lost_in_it() -> None:
    world = World()
    worker, _, requester = world.worker("w", concurrency=10), world.worker("other"), world.requester()
    for _ in range(2 * FAILURES_COUNT_MIN):
        requester.submit(target="w")
    world.pause(PAUSE_S)
    worker.leave()
    assert failures_count(worker) == 0
    assert world.worker("w").state == "healthy"
    assert world.outcomes() == {"worker_lost": 2 * FAILURES_COUNT_MIN}


def test_a_worker_is_blamed_for_what_it_loses_afterwards() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    world.pause(PAUSE_S)
    world.sleep(READ_S)
    requester.submit()
    worker.leave()
    assert failures_count(worker) == 1


def test_no_worker_is_blamed_for_what_it_has_not_answered_by_then() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=10), world.requester()
    before = requester.submit(timeout=5.0)
    world.pause(PAUSE_S)
    world.sleep(READ_S)
    after = requester.submit(timeout=20.0)
    world.sleep(10.0)
    assert requester.outcome(before) == "timeout"
    assert failures_count(worker) == 0
    world.sleep(11.0)
    assert requester.outcome(after) == "timeout"
    assert failures_count(worker) == 1


def test_only_the_copy_that_was_sent_afterwards_is_blamed_for_a_timeout() -> None:
    world = World()
    first, second, requester = world.worker("first"), world.worker("second"), world.requester()
    requester.submit(timeout=10.0, hedge=2.0, idempotent=True)
    world.sleep(1.0)
    world.pause(PAUSE_S)
    world.sleep(10.0)
    assert len(first.delivered) == len(second.delivered) == 1
    assert world.outcomes() == {"timeout": 1}
    assert (failures_count(first), failures_count(second)) == (0, 1)


def test_an_explanation_leaves_it_out() -> None:
    world = World()
    world.worker()
    request_id = world.requester().submit(timeout=10.0)
    world.sleep(1.0)
    world.pause(PAUSE_S)
    (answer,) = explain(world.core, request_id, world.now)
    assert answer["assignments"][0]["assigned_s"] == pytest.approx(1.0, abs=LOOK_INTERVAL_S)


def test_a_canary_may_still_be_answered() -> None:
    world = World()
    worker = world.worker("w", canary="echo")
    world.worker("other")
    world.pause(PAUSE_S)
    world.sleep(READ_S / 2)
    worker.succeed(CANARY)
    world.sleep(1.0)
    assert worker.state == "healthy"


def test_it_says_nothing_about_how_fast_a_worker_is() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=2), world.requester()
    for _ in range(3):
        request_id = requester.submit()
        world.sleep(1.0)
        worker.succeed(request_id)
    latency = worker.session.latency
    read_at_once, running = requester.submit(timeout=100.0), requester.submit(timeout=100.0)
    world.pause(PAUSE_S)
    worker.succeed(read_at_once)
    assert worker.session.latency == latency
    world.sleep(1.0)
    worker.succeed(running)
    assert worker.session.latency == pytest.approx(latency, rel=0.1)
