"""How fast a worker is compared with others: steps, bounds, fading, and the effect on picks."""

import random
from math import exp, log

import pytest
from taskferry.broker.core.fleet.command import Command
from taskferry.broker.core.fleet.worker import Worker
from taskferry.broker.core.health.speed import (
    DURATION_S_MIN,
    GAIN,
    HALF_LIFE_S,
    LEARN_INTERVAL_S,
    STEP,
    STEPS_MAX,
    TRIAL_GAIN_MAX,
    Speeds,
)

from tests.unit.broker.core.world import START_S, FakeRequester, FakeWorker, World


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


# --- the rule, sample by sample ---


def a_worker_and_its_command() -> tuple[Worker, Command]:
    world = World()
    return world.worker().session, world.core.roster.commands["echo"]


def learn(speeds: Speeds, worker: Worker, command: Command, steps: float) -> bool:
    """`worker`, known to be `steps` slower than usual, succeeds after a second, which is just that much slower."""
    worker.slowness = steps * STEP
    command.log_duration_s = -steps * STEP
    return speeds.learn(worker, command, 1.0, START_S)


def test_the_usual_duration_is_a_mean_that_starts_with_the_first() -> None:
    speeds, (worker, command) = Speeds(), a_worker_and_its_command()
    speeds.learn(worker, command, 2.0, START_S)
    assert command.log_duration_s == log(2.0)
    speeds.learn(worker, command, 8.0, START_S)
    assert command.log_duration_s == pytest.approx((1 - GAIN) * log(2.0) + GAIN * log(8.0))


@pytest.mark.parametrize(
    ("idle_s", "gain"),
    [
        (0.0, GAIN),
        (-0.5, GAIN),
        (0.9, GAIN),
        (1.0, GAIN),
        (1.5, 1 - 0.5 ** (1.5 / HALF_LIFE_S)),
        (3.0, 1 - 0.5 ** (3.0 / HALF_LIFE_S)),
        (60.0, TRIAL_GAIN_MAX),
    ],
)
def test_a_sample_weighs_more_the_longer_its_worker_was_idle_before(idle_s: float, gain: float) -> None:
    speeds, (worker, command) = Speeds(), a_worker_and_its_command()
    command.log_duration_s = 0.0
    worker.slowness = 0.1
    speeds.learn(worker, command, 2.0, worker.learned_at + idle_s + 2.0)
    assert worker.slowness == pytest.approx((1 - gain) * 0.1 + gain * log(2.0))
    assert worker.latency == exp(worker.slowness)


@pytest.mark.parametrize(
    ("steps", "speed"),
    [(0.9, 1.0), (-0.9, 1.0), (1, 2**-0.5), (2.4, 0.5), (2.6, 2**-1.5), (-1.4, 2**0.5), (-4, 4.0), (9, 0.25)],
)
def test_speeds_are_powers_of_the_root_of_two_within_bounds(steps: float, speed: float) -> None:
    speeds, (worker, command) = Speeds(), a_worker_and_its_command()
    assert learn(speeds, worker, command, steps) == (speed != 1.0)
    assert worker.speed == pytest.approx(speed)
    assert worker.latency == pytest.approx(exp(min(steps, STEPS_MAX) * STEP))


@pytest.mark.parametrize(
    ("steps", "speed"), [(0.9, 2**-0.5), (1, 2**-0.5), (1.1, 0.5), (2.9, 0.5), (3.1, 2**-1.5)]
)
def test_a_speed_changes_once_the_slowness_is_a_whole_step_away(steps: float, speed: float) -> None:
    speeds, (worker, command) = Speeds(), a_worker_and_its_command()
    learn(speeds, worker, command, 2)
    assert worker.speed == 0.5
    assert learn(speeds, worker, command, steps) == (speed != 0.5)
    assert worker.speed == pytest.approx(speed)


def test_idle_workers_fade_towards_the_usual_speed() -> None:
    speeds, (busy, command), (idle, _) = Speeds(), a_worker_and_its_command(), a_worker_and_its_command()
    for worker in (busy, idle):
        learn(speeds, worker, command, 4)
    busy.in_flight_count = 1
    assert speeds.fade(START_S) == [], "no time has passed"
    assert speeds.fade(START_S + 2 * HALF_LIFE_S) == [idle]
    assert [busy.speed, idle.speed] == pytest.approx([0.25, 2**-0.5])
    assert [busy.latency, idle.latency] == pytest.approx([exp(4 * STEP), exp(STEP)])
    assert speeds.fade(START_S + 4 * HALF_LIFE_S) == [idle]
    assert idle.speed == 1.0
    latency = idle.latency
    assert speeds.fade(START_S + 5 * HALF_LIFE_S) == []
    assert idle.latency == latency, "it is as usual, so it is left alone"
    speeds.forget(busy)
    busy.in_flight_count = 0
    assert speeds.fade(START_S + 10 * HALF_LIFE_S) == []
    assert busy.speed == 0.25


# --- in the broker ---


@pytest.mark.uncovered
def test_equals_stay_equal() -> None:
    world, workers, requester = world_of(3)
    chance = random.Random(1)
    for _ in range(500):
        durations = {worker: chance.expovariate(1 / 0.05) for worker in workers}
        work(world, requester, durations, 1)
    assert [worker.session.speed for worker in workers] == [1.0, 1.0, 1.0]


@pytest.mark.uncovered
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


@pytest.mark.parametrize(("apart_s", "learned"), [(LEARN_INTERVAL_S * 0.9, 1), (LEARN_INTERVAL_S, 2)])
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
