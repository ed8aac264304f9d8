"""A worker drained by an operator gets nothing until the drain is undone, even after it reconnects."""

import pytest
from taskferry.broker.core.health.canary import CANARY_INTERVAL_S
from taskferry.broker.core.health.ejection import EJECTION_S

from tests.unit.broker.core.world import CANARY, World

LOOK_S = 0.3


def test_a_drained_worker_finishes_what_it_has_and_gets_nothing_more() -> None:
    world = World("round_robin")
    worker, other, requester = world.worker("w", concurrency=2), world.worker("other"), world.requester()
    held = requester.submit()
    worker.drain_by_operator()
    assert (worker.state, worker.session.reason) == ("draining", "drained by an operator")
    second, third = requester.submit(), requester.submit()
    assert (worker.holds, other.holds) == ([held], [second])
    worker.succeed(held)
    assert worker.holds == []
    assert requester.outcome(held) == "success"
    assert requester.outcome(third) is None


def test_after_the_undo_it_takes_waiting_requests_at_once() -> None:
    world = World()
    worker, other, requester = world.worker("w", concurrency=2), world.worker("other"), world.requester()
    worker.drain_by_operator()
    for _ in range(3):
        requester.submit()
    assert (worker.holds, other.holds) == ([], ["r1"])
    worker.resume_by_operator()
    assert worker.state == "healthy"
    assert worker.holds == ["r2", "r3"]


def test_requests_that_wait_only_for_it_fail_at_once() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    running, waiting = requester.submit(), requester.submit()
    worker.drain_by_operator()
    assert requester.outcome(waiting) == "no_available_workers"
    assert requester.outcome(requester.submit()) == "no_available_workers"
    worker.succeed(running)


def test_it_is_still_drained_after_it_reconnects() -> None:
    world = World()
    worker = world.worker("w")
    worker.drain_by_operator()
    worker.leave()
    back = world.worker("w")
    assert (back.state, back.session.reason) == ("draining", "drained by an operator")
    requester = world.requester()
    assert requester.outcome(requester.submit()) == "no_available_workers"
    back.leave()
    again = world.worker("w")
    again.resume_by_operator()
    assert again.state == "healthy"
    again.leave()
    assert world.worker("w").state == "healthy", "the undo is remembered"


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_request_held_by_a_drained_worker_that_reconnects_is_not_left_waiting(is_alone: bool) -> None:
    world = World()
    worker, requester = world.worker("w", instance="one", concurrency=2), world.requester()
    retried = requester.submit(idempotent=True)
    worker.is_stuck = True
    unwritten = requester.submit()
    busy = world.worker("busy", "other-command") if is_alone else world.worker("busy")
    running = requester.submit(busy.offer.commands[0], target="busy")
    worker.drain_by_operator()
    back = world.worker("w", instance="one", concurrency=2)
    assert back.state == "draining"
    for request_id in (running, retried, unwritten):
        if request_id in busy.holds:
            busy.succeed(request_id)
    expected = ["worker_lost", "no_available_workers"] if is_alone else ["success", "success"]
    assert [requester.outcome(request_id) for request_id in (retried, unwritten)] == expected


def test_a_disconnect_cannot_be_undone() -> None:
    world = World()
    worker = world.worker("w")
    worker.drain()
    worker.resume_by_operator()
    assert (worker.state, worker.session.reason) == ("draining", "it said disconnect")
    worker.leave()
    assert world.worker("w").state == "healthy", "its next connection is not drained"


@pytest.mark.parametrize("first", ["worker", "operator"])
def test_a_worker_drained_in_both_ways_stays_drained_after_an_undo(first: str) -> None:
    world = World()
    worker = world.worker("w")
    if first == "worker":
        worker.drain()
        worker.drain_by_operator()
    else:
        worker.drain_by_operator()
        worker.drain()
    worker.resume_by_operator()
    assert worker.state == "draining"


def test_undoing_a_drain_that_was_not_requested_changes_nothing() -> None:
    world = World()
    worker, other = world.worker("w"), world.worker("other")
    other.fall_silent()
    for each in (worker, other):
        each.resume_by_operator()
    assert (worker.state, other.state) == ("healthy", "suspect")


def test_a_drained_worker_stays_ejected() -> None:
    world = World()
    worker, _ = world.worker("w"), world.worker("other")
    world.eject(worker)
    worker.drain_by_operator()
    world.sleep(EJECTION_S / 2)
    worker.resume_by_operator()
    assert worker.state == "ejected"
    world.sleep(EJECTION_S / 2 + LOOK_S)
    assert worker.state == "probing"
    worker.drain_by_operator()
    assert worker.state == "draining"
    world.sleep(EJECTION_S)
    worker.resume_by_operator()
    world.sleep(LOOK_S)
    assert worker.state == "probing", "it still needs its probe"
    worker.succeed(world.requester().submit(target="w"))
    assert worker.state == "healthy"
    assert sum(world.core.health.ejections.counts.values()) == 1


def test_a_suspect_worker_that_is_drained_and_resumed_gets_requests_again() -> None:
    world = World()
    worker, _ = world.worker("w"), world.worker("other")
    worker.fall_silent()
    worker.drain_by_operator()
    worker.resume_by_operator()
    assert worker.state == "healthy"


def test_a_drained_worker_is_sent_no_canary() -> None:
    world = World()
    worker = world.worker("w", canary="echo")
    worker.succeed(CANARY)
    worker.drain_by_operator()
    world.sleep(60.0)
    assert worker.canaries_count == 1
    worker.resume_by_operator()
    world.sleep(LOOK_S)
    assert worker.holds == [CANARY]


def test_an_unanswered_canary_of_a_drained_worker_counts_after_it_is_resumed() -> None:
    world = World()
    worker, other = world.worker("w", canary="echo"), world.worker("other")
    worker.drain_by_operator()
    world.sleep(60.0)
    assert worker.state == "draining"
    worker.resume_by_operator()
    assert worker.state == "joining", "it has never answered one"
    world.sleep(LOOK_S)
    assert (worker.state, other.state) == ("ejected", "healthy")


def test_a_worker_that_was_healthy_before_its_drain_is_healthy_at_once() -> None:
    world = World()
    worker = world.worker("w", canary="echo")
    worker.succeed(CANARY)
    worker.drain_by_operator()
    worker.resume_by_operator()
    assert worker.state == "healthy"


def test_a_worker_is_proven_by_one_canary_even_if_the_next_fails() -> None:
    world = World()
    worker, _ = world.worker("w", canary="echo"), world.worker("other")
    worker.succeed(CANARY)
    world.sleep(CANARY_INTERVAL_S + LOOK_S)
    worker.fail(CANARY)
    assert worker.state == "suspect"
    worker.drain_by_operator()
    worker.resume_by_operator()
    assert worker.state == "healthy"


def test_a_canary_answered_while_drained_counts() -> None:
    world = World()
    worker = world.worker("w", canary="echo")
    worker.drain_by_operator()
    worker.succeed(CANARY)
    worker.resume_by_operator()
    assert worker.state == "healthy"
    world.sleep(LOOK_S)
    assert worker.state == "healthy"


def test_a_drained_worker_that_reconnects_is_sent_no_canary() -> None:
    world = World()
    worker = world.worker("w", canary="echo")
    worker.drain_by_operator()
    worker.leave()
    back = world.worker("w", canary="echo")
    assert (back.state, back.holds) == ("draining", [])
    back.resume_by_operator()
    world.sleep(LOOK_S)
    assert back.holds == [CANARY]
    world.check()


def test_its_learned_speed_is_kept_and_fades() -> None:
    world = World()
    worker, other, requester = world.worker("w"), world.worker("other"), world.requester()
    for _ in range(100):
        fast, slow = requester.submit(target="other"), requester.submit(target="w")
        world.sleep(0.01)
        other.succeed(fast)
        world.sleep(0.09)
        worker.succeed(slow)
    learned = worker.session.speed
    assert learned < 1
    worker.drain_by_operator()
    worker.resume_by_operator()
    assert worker.session.speed == learned
    world.sleep(60.0)
    assert worker.session.speed > learned
