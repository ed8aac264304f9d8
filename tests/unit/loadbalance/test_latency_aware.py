"""Latency aware: the hot-cold rule with the same draws, and what follows from it."""

import random

from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.latency_aware import CHOICES_COUNT, HOT_QUANTILE, LatencyAware

from tests.unit.loadbalance.beside_an_urn import BesideAnUrn
from tests.unit.loadbalance.candidates import Worker
from tests.unit.loadbalance.steps import STEPS, Fleet, Step


def by_the_rule(drawn: list[Worker], held: list[Worker]) -> Worker | None:
    """Of those drawn, the coldest by latency, or if all are hot the least busy, and of these the quickest."""
    if not held:
        return None
    counts = sorted(worker.in_flight_count for worker in held)
    hot_from = counts[int(HOT_QUANTILE * len(counts))]
    cold = [worker for worker in drawn if worker.in_flight_count < hot_from]
    if cold:
        return min(cold, key=lambda worker: worker.latency)
    return min(drawn, key=lambda worker: (worker.in_flight_count, worker.latency))


@given(STEPS, st.integers(0, 999), st.lists(st.sampled_from([0.2, 0.9, 1.0, 4.0]), min_size=1, max_size=9))
def test_the_pick_is_by_the_rule(steps: list[Step], seed: int, latencies: list[float]) -> None:
    strategy = BesideAnUrn(LatencyAware, seed)
    fleet = Fleet(strategy)

    def pick() -> Worker | None:
        for number, worker in enumerate(fleet.held):  # latencies move without a call
            worker.latency = latencies[number % len(latencies)]
        picked = strategy.pick(None)
        assert picked is by_the_rule(strategy.urn.draw(CHOICES_COUNT), list(fleet.held))
        return picked

    for step in steps:
        fleet.perform(step, pick)


def strategy_with(*workers: Worker) -> LatencyAware[Worker]:
    strategy: LatencyAware[Worker] = LatencyAware(random.Random(1).random)
    for worker in workers:
        strategy.add(worker)
    return strategy


def test_among_idle_workers_the_quickest_of_those_drawn() -> None:
    slow, quick, middling = Worker(latency=3.0), Worker(latency=0.4), Worker(latency=1.0)
    strategy = strategy_with(slow, quick, middling)
    assert {strategy.pick(None) for _ in range(20)} == {quick}


def test_a_hot_one_is_left_alone_however_quick() -> None:
    quick = Worker("quick", latency=0.1, in_flight_count=8)
    others = [Worker("a", latency=1.0, in_flight_count=2), Worker("b", latency=2.0, in_flight_count=1)]
    strategy = strategy_with(quick, *others)
    assert {strategy.pick(None) for _ in range(20)} == {others[0]}, "the quickest of those that are cold"


def test_if_all_are_equally_busy_the_quickest_is_picked() -> None:
    workers = [Worker(latency=latency, in_flight_count=3) for latency in (2.0, 0.5, 1.0)]
    strategy = strategy_with(*workers)
    assert {strategy.pick(None) for _ in range(20)} == {workers[1]}


def test_of_equals_the_first_drawn_is_picked() -> None:
    for busy_count in (0, 3):  # if none is busier, all are hot
        strategy = BesideAnUrn(LatencyAware, seed=1)
        for number in range(10):
            strategy.add(Worker(f"w{number}"))
        for number in range(busy_count):
            strategy.add(Worker(f"busy-{number}", in_flight_count=1))
        for _ in range(20):
            drawn = strategy.urn.draw(CHOICES_COUNT)
            idle = [worker for worker in drawn if not worker.in_flight_count]
            assert strategy.pick(None) is (idle or drawn)[0]
