"""Least loaded against brute force: after any sequence of calls the pick has the lowest (in flight + 1) / (weight x
speed) of all that are held, and among equals it is the one that has had that load for the longest time."""

import tracemalloc

import pytest
from hypothesis import given, settings
from taskferry.loadbalance.least_loaded import EMPTY_BUCKETS_COUNT, LeastLoaded

from tests.unit.loadbalance.candidates import Worker
from tests.unit.loadbalance.steps import STEPS, Fleet, Step


def load_of(worker: Worker) -> float:
    return (worker.in_flight_count + 1) / (worker.weight * worker.speed)


@pytest.mark.uncovered
@settings(max_examples=300)
@given(STEPS)
def test_every_pick_is_the_minimum_and_the_first_of_its_equals(steps: list[Step]) -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    fleet = Fleet(strategy)
    for step in steps:
        fleet.perform(step, lambda: strategy.pick(None))
        expected = min(fleet.held, key=lambda worker: (load_of(worker), fleet.held[worker]), default=None)
        assert strategy.pick(None) is expected


def picks_of(strategy: LeastLoaded[Worker], count: int) -> list[Worker]:
    """Pick this many times; each picked one takes the assignment."""
    picks = []
    for _ in range(count):
        picked = strategy.pick(None)
        assert picked is not None
        picked.in_flight_count += 1
        strategy.changed(picked)
        picks.append(picked)
    return picks


def test_equal_workers_take_turns() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    workers = [Worker(f"w{number}") for number in range(3)]
    for worker in workers:
        strategy.add(worker)
    assert picks_of(strategy, 6) == workers * 2


def test_a_worker_of_twice_the_weight_gets_twice_the_assignments() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    light, heavy = Worker("light", weight=1.0), Worker("heavy", weight=2.0)
    strategy.add(light)
    strategy.add(heavy)
    assert strategy.pick(None) is heavy, "among idle workers the heavier one goes first"
    picks_of(strategy, 30)
    assert (light.in_flight_count, heavy.in_flight_count) == (10, 20)


def test_an_idle_slow_worker_waits_until_a_busy_fast_one_would_be_done_later() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    slow, fast = Worker("slow", speed=0.5), Worker("fast", speed=2.0)
    strategy.add(slow)
    strategy.add(fast)
    # Alone, the slow one takes as long as four in turn on the fast one.
    assert picks_of(strategy, 5) == [fast, fast, fast, slow, fast]


def test_no_worker_waits_for_ever_while_work_piles_up() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    slowest = Worker("slowest", weight=0.1, speed=0.25)
    workers = [Worker("fastest", weight=1.0, speed=4.0), slowest]
    for worker in workers:
        strategy.add(worker)
    # By the time the other holds as many more as it is heavier and faster.
    assert picks_of(strategy, 160).index(slowest) == 159


def test_what_is_kept_does_not_grow_with_the_loads_that_have_been() -> None:
    # Workers with ever new weights leave loads that no worker has any more.
    strategy: LeastLoaded[Worker] = LeastLoaded()
    strategy.add(Worker("stays"))
    tracemalloc.start()
    try:
        for number in range(3000):
            worker = Worker(weight=0.5 / (1 + number / 3000))
            strategy.add(worker)
            strategy.remove(worker)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 100_000


def test_empty_buckets_are_kept_up_to_a_bound() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    workers = [Worker(f"w{number}") for number in range(20)]
    for worker in workers:
        strategy.add(worker)
    counts = []
    for number in range(200):
        workers[0].weight = 1.0 + number / 1000
        strategy.changed(workers[0])
        counts.append(len(strategy._buckets))
    assert max(counts) == 2 * 20 + EMPTY_BUCKETS_COUNT + 1
    assert strategy.pick(None) is workers[0]


def test_a_load_that_recurs_is_listed_once() -> None:
    strategy: LeastLoaded[Worker] = LeastLoaded()
    worker = Worker()
    strategy.add(worker)
    for number in range(100):
        worker.in_flight_count = number % 2
        strategy.changed(worker)
    assert len(strategy._loads) == 2
