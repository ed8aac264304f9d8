"""A readmitted worker starts with a tenth of its weight, and has all of it after ten seconds."""

import pytest
from taskferry.broker.core.health.ejection import EJECTION_S, SLOW_START_S, SLOW_START_SHARE_MIN

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World

LOOK_S = 0.3
"""Longer than the core's LOOK_INTERVAL_S."""


def world_of(count: int, concurrency: int = 2) -> tuple[World, list[FakeWorker], FakeRequester]:
    world = World()
    workers = [world.worker(f"w{number}", concurrency=concurrency) for number in range(count)]
    return world, workers, world.requester()


def test_a_readmitted_worker_starts_slowly() -> None:
    world = World()
    worker, _ = world.worker("w", weight=4.0), world.worker("other")
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    assert worker.session.weight == 4.0
    world.probe(worker, succeeds=True)
    assert worker.session.weight == pytest.approx(4.0 * SLOW_START_SHARE_MIN)
    world.sleep(SLOW_START_S * SLOW_START_SHARE_MIN)
    assert worker.session.weight == pytest.approx(4.0 * SLOW_START_SHARE_MIN)
    world.sleep(SLOW_START_S * 0.4)
    assert worker.session.weight == pytest.approx(2.0, abs=0.2)
    world.sleep(SLOW_START_S / 2 + LOOK_S)
    assert worker.session.weight == 4.0
    world.sleep(60.0)
    assert worker.session.weight == 4.0


def test_a_worker_in_slow_start_gets_part_of_the_work() -> None:
    world, (worker, other), requester = world_of(2, concurrency=100)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    world.probe(worker, succeeds=True)
    for _ in range(33):
        requester.submit()
    assert len(worker.holds) == 3
    assert len(other.holds) == 30


def test_a_worker_ejected_during_slow_start_gets_its_full_weight_back() -> None:
    world, (worker, _), _ = world_of(2)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    world.probe(worker, succeeds=True)
    world.eject(worker)
    assert worker.session.weight == 1.0
    world.sleep(LOOK_S)
    assert worker.session.weight == 1.0
    world.sleep(2 * EJECTION_S)
    assert worker.session.weight == 1.0


def test_a_worker_without_a_free_slot_starts_slowly_too() -> None:
    world, (worker, _), requester = world_of(2, concurrency=1)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    world.probe(worker, succeeds=True)
    requester.submit(target="w0", timeout=1000.0)
    world.sleep(SLOW_START_S + LOOK_S)
    assert worker.session.weight == 1.0


def test_a_worker_drained_and_resumed_during_slow_start_has_its_full_weight() -> None:
    world, (worker, _), _ = world_of(2)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    world.probe(worker, succeeds=True)
    worker.drain_by_operator()
    world.sleep(SLOW_START_S)
    worker.resume_by_operator()
    assert (worker.state, worker.session.weight) == ("healthy", 1.0)
    worker.drain_by_operator()
    worker.leave()
