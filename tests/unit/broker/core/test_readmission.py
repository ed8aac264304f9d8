"""What can happen to a worker while it is ejected or probed: answers, silence, lost connections and reconnects."""

import pytest
from taskferry.broker.core.health.ejection import EJECTION_S
from taskferry.broker.core.health.streak import FAILURES_COUNT_MIN

from tests.unit.broker.core.world import CANARY, FakeRequester, FakeWorker, World

LOOK_S = 0.3
"""Longer than the core's LOOK_INTERVAL_S."""


def world_of(count: int, concurrency: int = 2) -> tuple[World, list[FakeWorker], FakeRequester]:
    world = World()
    workers = [world.worker(f"w{number}", concurrency=concurrency) for number in range(count)]
    return world, workers, world.requester()


def test_a_success_while_ejected_does_not_replace_the_probe() -> None:
    world, (worker, _), requester = world_of(2, concurrency=3)
    held = requester.submit(target="w0", timeout=1000.0)
    world.eject(worker)
    worker.succeed(held)
    assert worker.state == "ejected"
    world.sleep(EJECTION_S + LOOK_S)
    world.probe(worker, succeeds=True)
    assert worker.state == "healthy", "and the probe is noticed"


def test_a_failure_while_ejected_changes_nothing() -> None:
    world, (worker, _), requester = world_of(2, concurrency=3)
    held = requester.submit(target="w0", timeout=1000.0)
    world.eject(worker)
    until = worker.session.record.ejected_until
    worker.fail(held)
    assert worker.session.record.ejected_until == until


@pytest.mark.parametrize("state", ["ejected", "probing"])
def test_a_silent_link_changes_nothing_for_an_ejected_or_probed_worker(state: str) -> None:
    world, (worker, _), requester = world_of(2, concurrency=5)
    world.eject(worker)
    if state == "probing":
        world.sleep(EJECTION_S + LOOK_S)
    for _ in range(3):
        requester.submit(timeout=1000.0)
    for _ in range(3):
        worker.fall_silent()
        worker.speak_again()
    assert worker.state == state
    assert len(worker.holds) == (1 if state == "probing" else 0), "no more than its one probe"


def test_a_worker_that_reconnects_while_ejected_stays_ejected() -> None:
    world, (worker, _), _ = world_of(2)
    world.eject(worker)
    worker.leave()
    world.sleep(10.0)
    back = world.worker("w0")
    assert (back.state, back.session.reason) == ("ejected", "ejected before it reconnected")
    world.sleep(EJECTION_S - 10.0 - LOOK_S)
    assert back.state == "ejected"
    world.sleep(2 * LOOK_S)
    world.probe(back, succeeds=True)
    assert back.state == "healthy"


def test_the_same_instance_reconnects_while_ejected() -> None:
    world = World()
    worker, _ = world.worker("w", instance="one", concurrency=3), world.worker("other")
    requester = world.requester()
    requester.submit(target="w", timeout=1000.0)
    world.eject(worker)
    back = world.worker("w", instance="one", concurrency=3)
    assert worker.state == "gone"
    assert back.state == "ejected"
    assert requester.outcome("r1") == "worker_lost"
    world.sleep(EJECTION_S + LOOK_S)
    world.probe(back, succeeds=True)
    back.leave()
    assert world.worker("w").state == "healthy"


def test_a_worker_with_a_canary_reconnects_while_ejected() -> None:
    world = World()
    worker, _ = world.worker("w", canary="echo"), world.worker("other")
    worker.fail(CANARY)
    worker.leave()
    back = world.worker("w", canary="echo")
    assert (back.state, back.session.reason) == ("ejected", "ejected before it reconnected")


def test_a_worker_that_returns_after_its_ejection_is_probed() -> None:
    world, (worker, _), _ = world_of(2)
    world.eject(worker)
    worker.leave()
    world.sleep(EJECTION_S + 5.0)
    back = world.worker("w0", concurrency=2)
    world.sleep(LOOK_S)
    world.probe(back, succeeds=True)
    assert back.state == "healthy"
    assert world.core.health.ejections.counts["failures"] == 1


def test_a_worker_lost_with_its_probe_has_failed_it() -> None:
    world, (worker, _), requester = world_of(2)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    requester.account.fares.succeeded("echo", "w1", world.now)
    while not worker.holds:
        requester.submit()
    worker.leave()
    assert world.events.notified[-1] == "w0: probing -> ejected"
    assert world.events.verdict == "was lost while it was probed"
    back = world.worker("w0")
    assert back.state == "ejected"
    assert back.session.record.ejected_until == world.now + 2 * EJECTION_S
    assert world.core.health.ejections.counts["probe"] == 1


def test_a_worker_lost_in_probation_without_an_assignment_has_not_failed() -> None:
    world, (worker, _), _ = world_of(2)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    worker.leave()
    world.worker("w0")
    assert world.core.health.ejections.counts["probe"] == 0


def test_a_worker_that_crashes_repeatedly_is_ejected_when_it_returns() -> None:
    world = World()
    world.worker("other")
    for _ in range(FAILURES_COUNT_MIN):
        worker = world.worker("w")
        assert worker.state == "healthy"
        world.anyone().submit(target="w")
        worker.leave()
    back = world.worker("w")
    assert back.state == "ejected"
    assert back.session.reason == "5 failures in a row, lost connections among them"


@pytest.mark.parametrize(
    ("canary", "state", "reason"),
    [(None, "healthy", ""), ("echo", "ejected", "5 failures in a row, lost connections among them")],
)
def test_the_only_worker_that_crashes_repeatedly_is_ejected_only_if_a_canary_can_readmit_it(
    canary: str | None, state: str, reason: str
) -> None:
    world = World()
    for _ in range(FAILURES_COUNT_MIN):
        worker = world.worker("w")
        world.anyone().submit()
        worker.leave()
    back = world.worker("w", canary=canary)
    assert (back.state, back.session.reason) == (state, reason)


def test_a_requester_whose_requests_crash_their_worker_does_not_have_it_ejected() -> None:
    world = World()
    world.worker("other")
    requester = world.requester()
    for _ in range(4 * FAILURES_COUNT_MIN):
        worker = world.worker("w")
        requester.submit(target="w")
        worker.leave()
    assert world.worker("w").state == "healthy"


def test_a_probe_that_one_requester_crashes_decides_nothing() -> None:
    world, (worker, _), requester = world_of(2)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    requester.submit(target="w0")
    worker.leave()
    assert world.core.health.ejections.counts["probe"] == 0
    world.worker("w0")
    world.sleep(LOOK_S)
    assert world.core.roster.workers["w0"].state.value == "probing"


def test_losses_without_assignments_do_not_count() -> None:
    world = World()
    world.worker("other")
    requester = world.requester()
    for _ in range(20):
        worker = world.worker("w", is_stuck=True)
        requester.submit(target="w")
        worker.leave()
    assert world.worker("w").state == "healthy"


def test_one_loss_counts_once_however_much_it_held() -> None:
    world = World()
    world.worker("other")
    requester = world.requester()
    worker = world.worker("w", concurrency=50)
    for _ in range(50):
        requester.submit(target="w")
    worker.leave()
    assert worker.session.record.streak.count == 1
    assert worker.session.failed_count == 50, "though each of them is counted"
    assert world.worker("w").state == "healthy"
