"""A canary finds a worker that answers pings but runs nothing; a worker that is busy gets none."""

import pytest
from taskferry.broker.core.health.canary import CANARY_INTERVAL_S, CANARY_TIMEOUT_S
from taskferry.broker.core.health.ejection import EJECTION_S
from taskferry.protocol.messages import Result

from tests.unit.broker.core.world import CANARY, FakeWorker, World

LOOK_S = 0.3
"""Longer than the core's LOOK_INTERVAL_S."""


def world_with_canary(**hello: int) -> tuple[World, FakeWorker, FakeWorker]:
    """A worker that has answered its first canary, and another without one."""
    world = World()
    worker = world.worker("w", canary="echo", **hello)
    worker.succeed(CANARY)
    return world, worker, world.worker("other")


def test_a_joining_worker_gets_its_first_canary_before_any_request() -> None:
    world = World()
    requester = world.requester()
    world.worker("busy")
    requester.submit()
    waiting = requester.submit()
    worker = world.worker("w", "echo", "look", canary="look", concurrency=2)
    assert (worker.state, worker.session.reason) == ("joining", "its first canary is not answered yet")
    assert worker.holds == [CANARY]
    ((_, delivery),) = worker.deliveries.items()
    assert (delivery.command, delivery.timeout_s) == ("look", CANARY_TIMEOUT_S)
    worker.succeed(CANARY)
    assert worker.state == "healthy"
    assert worker.holds == [waiting]
    assert world.events.notified == ["w: joining -> healthy"]


@pytest.mark.parametrize("what", ["fails", "is late"])
def test_a_first_canary_that_fails_ejects(what: str) -> None:
    world = World()
    worker, _ = world.worker("w", canary="echo"), world.worker("other")
    if what == "fails":
        worker.fail(CANARY)
        assert worker.session.reason == "failed its canary"
    else:
        world.sleep(CANARY_TIMEOUT_S - LOOK_S)
        assert worker.state == "joining"
        world.sleep(2 * LOOK_S)
        assert worker.session.reason == "no answer to its canary for 5 s"
    assert worker.state == "ejected"
    assert world.core.health.ejections.counts["canary"] == 1
    assert world.events.notified == ["w: joining -> ejected"]


@pytest.mark.parametrize(("seconds", "state"), [(4.75, "joining"), (5.0, "ejected")])
def test_a_canary_is_overdue_after_its_whole_timeout(seconds: float, state: str) -> None:
    assert CANARY_TIMEOUT_S == 5.0
    world = World()
    worker, _ = world.worker("w", canary="echo"), world.worker("other")
    world.sleep(seconds)
    assert worker.state == state


def test_an_idle_worker_gets_a_canary_every_ten_seconds() -> None:
    world, worker, _ = world_with_canary()
    world.sleep(CANARY_INTERVAL_S - LOOK_S)
    assert worker.holds == []
    world.sleep(2 * LOOK_S)
    assert worker.holds == [CANARY]
    assert world.core.counts.in_flight_count == 0
    world.sleep(1.0)
    worker.succeed(CANARY)
    assert worker.state == "healthy"
    assert world.core.counts.late_responses_count == world.core.counts.unknown_assignments_count == 0
    assert worker.canaries_count == 2


def test_a_worker_that_ends_assignments_gets_no_canary() -> None:
    world, worker, _ = world_with_canary(concurrency=3)
    requester = world.requester()
    requester.submit(target="w", timeout=1000.0)
    for number in range(20):
        request_id = requester.submit(target="w")
        world.sleep(CANARY_INTERVAL_S / 3)
        if number % 2:
            worker.succeed(request_id)
        else:
            worker.fail(request_id, "no", "bad_request")
    assert worker.canaries_count == 1
    world.sleep(2 * CANARY_INTERVAL_S + LOOK_S)
    assert worker.canaries_count == 2


def test_a_worker_without_a_free_slot_gets_no_canary() -> None:
    world, worker, _ = world_with_canary(concurrency=2)
    requester = world.requester()
    first = requester.submit(target="w", timeout=1000.0)
    requester.submit(target="w", timeout=1000.0)
    world.sleep(100.0)
    assert worker.canaries_count == 1
    worker.succeed(first)
    world.sleep(CANARY_INTERVAL_S + LOOK_S)
    assert worker.canaries_count == 2, "long after it ended something, with a slot free"


def test_a_canary_takes_a_slot() -> None:
    world, worker, other = world_with_canary()
    world.sleep(CANARY_INTERVAL_S + LOOK_S)
    requester = world.requester()
    requester.submit()
    waiting = requester.submit(target="w")
    assert (worker.holds, other.holds) == ([CANARY], ["r1"])
    worker.succeed(CANARY)
    assert worker.holds == [waiting]


def test_a_worker_that_does_not_answer_becomes_suspect_and_then_ejected() -> None:
    world, worker, other = world_with_canary(concurrency=3)
    world.sleep(CANARY_INTERVAL_S + LOOK_S)
    world.sleep(CANARY_TIMEOUT_S - 2 * LOOK_S)
    assert worker.state == "healthy"
    world.sleep(2 * LOOK_S)
    assert (worker.state, worker.session.reason) == ("suspect", "no answer to its canary for 5 s")
    requester = world.requester()
    requester.submit()
    assert (worker.holds, other.holds) == ([CANARY], ["r1"])
    world.sleep(CANARY_TIMEOUT_S + LOOK_S)
    assert worker.state == "ejected"
    assert worker.canaries_count == 2, "one is unanswered: no other is sent"


def test_a_late_answer_counts() -> None:
    world, worker, _ = world_with_canary(concurrency=3)
    world.sleep(CANARY_INTERVAL_S + CANARY_TIMEOUT_S + 2 * LOOK_S)
    assert worker.state == "suspect"
    requester = world.requester()
    request_id = requester.submit(target="w")
    worker.succeed(CANARY)
    assert worker.state == "healthy"
    assert request_id in worker.holds


def test_a_canary_that_fails_makes_it_suspect_and_the_next_is_sent_sooner() -> None:
    world, worker, _ = world_with_canary()
    world.sleep(CANARY_INTERVAL_S + LOOK_S)
    worker.fail(CANARY, "no database")
    assert (worker.state, worker.session.reason, worker.holds) == ("suspect", "failed its canary", [])
    assert worker.session.record.streak.count == 1
    world.sleep(CANARY_TIMEOUT_S + LOOK_S)
    assert worker.holds == [CANARY]
    worker.fail(CANARY)
    assert worker.state == "ejected"
    assert world.core.health.ejections.counts["canary"] == 1


def test_a_failed_canary_is_forgiven_by_a_success_of_any_kind() -> None:
    world, worker, _ = world_with_canary(concurrency=2)
    requester = world.requester()
    request_id = requester.submit(target="w", timeout=1000.0)
    world.sleep(CANARY_INTERVAL_S + LOOK_S)
    worker.fail(CANARY)
    assert worker.state == "suspect"
    worker.succeed(request_id)
    assert worker.state == "healthy"


def sleep_answering(world: World, worker: FakeWorker, seconds: float) -> None:
    """Let time pass; `worker` answers each of its canaries within `LOOK_S`."""
    end = world.now + seconds
    while world.now < end:
        world.sleep(LOOK_S)
        if CANARY in worker.holds:
            worker.succeed(CANARY)


def test_an_ejected_worker_that_never_answers_is_ejected_again() -> None:
    world = World()
    worker, _ = world.worker("w", canary="echo", concurrency=2), world.worker("other")
    world.sleep(CANARY_TIMEOUT_S + EJECTION_S + CANARY_TIMEOUT_S + 2 * LOOK_S)
    assert world.events.notified == [
        "w: joining -> ejected",
        "w: ejected -> probing",
        "w: probing -> ejected",
    ]
    assert world.core.health.ejections.counts["probe"] == 1
    assert worker.session.reason == "no answer to its canary for 5 s"
    world.sleep(100.0)
    assert worker.canaries_count == 1


def test_a_canary_answered_during_an_ejection_does_not_shorten_it() -> None:
    world = World()
    worker, _ = world.worker("w", canary="echo"), world.worker("other")
    world.sleep(CANARY_TIMEOUT_S + LOOK_S)
    assert worker.state == "ejected"
    worker.succeed(CANARY)
    sleep_answering(world, worker, EJECTION_S - 2 * LOOK_S)
    assert worker.state == "ejected"


def test_a_canary_serves_as_the_probe_if_no_request_waits() -> None:
    world, worker, _ = world_with_canary()
    world.eject(worker)
    sleep_answering(world, worker, EJECTION_S - 2 * LOOK_S)
    assert worker.state == "ejected"
    sleep_answering(world, worker, CANARY_INTERVAL_S + 4 * LOOK_S)
    assert worker.state == "healthy"
    assert world.core.health.ejections.readmitted_count == 1


def test_a_worker_may_leave_with_an_unanswered_canary() -> None:
    world, worker, _ = world_with_canary()
    world.sleep(CANARY_INTERVAL_S + LOOK_S)
    assert worker.holds == [CANARY]
    worker.leave()
    world.sleep(100.0)
    assert worker.session.record.is_clean, "no request was lost"
    assert world.worker("w").state == "healthy"


def test_the_same_worker_reconnects_with_an_unanswered_canary() -> None:
    world = World()
    world.worker("w", instance="one", canary="echo")
    back = world.worker("w", instance="one", canary="echo")
    assert (back.state, back.holds) == ("joining", [CANARY])
    back.succeed(CANARY)
    assert back.state == "healthy"


def test_a_canary_can_be_answered_once() -> None:
    world = World()
    worker = world.worker("w", canary="echo")
    msg_id = worker.msg_id(CANARY)
    worker.succeed(CANARY)
    assert worker.respond(msg_id, Result(True)) is False
    assert world.core.counts.unknown_assignments_count == 1


def test_requests_wait_if_their_only_worker_is_joining() -> None:
    world = World()
    worker, requester = world.worker("w", canary="echo", concurrency=2), world.requester()
    waiting = requester.submit()
    assert requester.outcome(waiting) is None
    assert worker.holds == [CANARY]
    worker.succeed(CANARY)
    assert worker.holds == [waiting]


@pytest.mark.parametrize("goes", ["drain", "leave", "drain_by_operator"])
def test_a_joining_worker_may_leave(goes: str) -> None:
    world = World()
    worker, requester = world.worker("w", canary="echo"), world.requester()
    waiting = requester.submit()
    getattr(worker, goes)()
    assert requester.outcome(waiting) == "no_available_workers"
    world.sleep(100.0)
