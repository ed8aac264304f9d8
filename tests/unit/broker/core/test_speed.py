"""How fast a worker is compared with others: steps, bounds, fading, and the effect on picks."""

import random

import pytest
from taskferry.broker.core.health.speed import DURATION_S_MIN, HALF_LIFE_S, LEARN_INTERVAL_S, STEPS_MAX

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World


def work(world: World, requester: FakeRequester, durations_s: dict[FakeWorker, float], times: int) -> None:
    """Each worker ends `times` assignments that take that long, in parallel."""
    for _ in range(times):
        held = {worker: requester.submit(target=worker.worker_id) for worker in durations_s}
        begin = world.now
        for worker, duration_s in sorted(durations_s.items(), key=lambda item: item[1]):
            world.sleep(begin + duration_s - world.now)
            worker.succeed(held[worker])


def world_of(count: int) -> tuple[World, list[FakeWorker], FakeRequester]:
    world = World()
    return world, [world.worker(f"w{number}") for number in range(count)], world.requester()


@pytest.mark.uncovered
def test_equals_stay_equal() -> None:
    world, workers, requester = world_of(3)
    chance = random.Random(1)
    for _ in range(500):
        durations = {worker: chance.expovariate(1 / 0.05) for worker in workers}
        work(world, requester, durations, 1)
    assert [worker.session.speed for worker in workers] == [1.0, 1.0, 1.0]


def test_a_worker_that_takes_longer_is_slow_and_gets_less() -> None:
    world, (slow, *others), requester = world_of(5)
    work(world, requester, {slow: 0.4} | dict.fromkeys(others, 0.1), 300)
    assert slow.session.speed == pytest.approx(0.25, rel=0.5)
    assert slow.session.latency > 2.0
    assert others[0].session.latency < 1.2
    assert {worker.session.speed for worker in others} == {1.0}
    for number in range(4):
        requester.submit()
        assert slow.holds == [], f"a busy fast one before the idle slow one: {number}"


@pytest.mark.uncovered
def test_speed_is_bounded() -> None:
    world, (slow, *others), requester = world_of(6)
    work(world, requester, {slow: 1.0} | dict.fromkeys(others, 0.001), 200)
    assert slow.session.speed == 2 ** (-STEPS_MAX / 2) == 0.25
    assert slow.session.latency <= 4.01
    world, (fast, *others), requester = world_of(6)
    work(world, requester, {fast: 0.001} | dict.fromkeys(others, 0.5), 200)
    assert fast.session.speed == 4.0


def test_failures_do_not_affect_speed() -> None:
    world, (failing, other), requester = world_of(2)
    for _ in range(4):
        failing.fail(requester.submit(target="w0"))
    work(world, requester, {other: 0.5}, 100)
    assert failing.session.speed == 1.0
    assert world.core.roster.commands["echo"].log_duration_s is not None


def test_a_duration_of_zero_is_harmless() -> None:
    world, (worker, *_), requester = world_of(2)
    work(world, requester, {worker: 0.0}, 3)
    assert worker.session.speed == 1.0
    assert DURATION_S_MIN > 0


@pytest.mark.parametrize(("apart_s", "learned"), [(LEARN_INTERVAL_S * 0.9, 1), (LEARN_INTERVAL_S * 1.1, 2)])
def test_samples_of_a_worker_have_a_minimum_distance(apart_s: float, learned: int) -> None:
    world = World()
    worker, requester = world.worker(concurrency=2), world.requester()
    first, second = requester.submit(), requester.submit()
    world.now += 0.5
    worker.succeed(first)
    at_first = worker.session.learned_at
    world.now += apart_s
    worker.succeed(second)
    assert (worker.session.learned_at != at_first) == (learned == 2)


@pytest.mark.uncovered
def test_the_slowness_of_an_idle_worker_fades() -> None:
    world, (slow, *others), requester = world_of(5)
    work(world, requester, {slow: 0.4} | dict.fromkeys(others, 0.1), 300)
    before, latency = slow.session.speed, slow.session.latency
    world.sleep(HALF_LIFE_S)
    assert before < slow.session.speed < 1.0
    assert 1.0 < slow.session.latency < latency
    world.sleep(3 * HALF_LIFE_S)
    assert slow.session.speed == 1.0, "within a minute it is equal to the others, and so is tried again"


@pytest.mark.uncovered
def test_the_slowness_of_a_busy_worker_does_not_fade() -> None:
    world, (slow, *others), requester = world_of(5)
    work(world, requester, {slow: 0.4} | dict.fromkeys(others, 0.1), 300)
    before = slow.session.speed
    requester.submit(target="w0", timeout=1000.0)
    world.sleep(10 * HALF_LIFE_S)
    assert slow.session.speed == before


@pytest.mark.uncovered
def test_a_worker_that_is_fast_again_is_recognised_after_a_handful_of_trials() -> None:
    world, (slow, *others), requester = world_of(5)
    work(world, requester, {slow: 1.0} | dict.fromkeys(others, 0.1), 300)
    assert slow.session.speed < 0.5
    trials = 0
    while slow.session.speed < 0.7:
        world.sleep(4.0)
        work(world, requester, {slow: 0.1}, 1)
        trials += 1
        work(world, requester, dict.fromkeys(others, 0.1), 5)
    assert 2 <= trials <= 10


@pytest.mark.uncovered
def test_a_worker_that_leaves_is_forgotten() -> None:
    world, (slow, *others), requester = world_of(5)
    work(world, requester, {slow: 0.4} | dict.fromkeys(others, 0.1), 300)
    slow.leave()
    world.sleep(10 * HALF_LIFE_S)
    assert slow.session.speed < 1.0
    assert world.worker("w0").session.speed == 1.0
