"""Power of two choices: the rule with the same draws, and Mitzenmacher's balls and bins on a small scale."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.power_of_two import PowerOfTwo

from tests.unit.loadbalance.beside_an_urn import BesideAnUrn
from tests.unit.loadbalance.candidates import Worker
from tests.unit.loadbalance.steps import STEPS, Fleet, Step


def load_of(worker: Worker) -> float:
    return (worker.in_flight_count + 1) / (worker.weight * worker.speed)


@pytest.mark.uncovered
@given(STEPS, st.integers(0, 999), st.integers(1, 4))
def test_the_pick_is_the_least_loaded_of_those_drawn_and_the_first_of_its_equals(
    steps: list[Step], seed: int, choices_count: int
) -> None:
    strategy = BesideAnUrn(lambda chance: PowerOfTwo(chance, choices_count), seed)
    fleet = Fleet(strategy)

    def pick() -> Worker | None:
        picked = strategy.pick(None)
        assert picked is min(strategy.urn.draw(choices_count), key=load_of, default=None)
        return picked

    for step in steps:
        fleet.perform(step, pick)


@pytest.mark.uncovered
# Expected for 10,000 balls in as many bins: 7 or so with one choice, 3 with two, 3 or 2 with three.
@pytest.mark.parametrize(
    ("choices_count", "fullest"), [(1, range(6, 10)), (2, range(3, 5)), (3, range(2, 4))]
)
def test_the_fullest_of_many_bins(choices_count: int, fullest: range) -> None:
    strategy: PowerOfTwo[Worker] = PowerOfTwo(random.Random(7).random, choices_count)
    bins = [Worker() for _ in range(10_000)]
    for one in bins:
        strategy.add(one)
    for _ in bins:
        picked = strategy.pick(None)
        assert picked is not None
        picked.in_flight_count += 1
        strategy.changed(picked)
    assert max(one.in_flight_count for one in bins) in fullest


def test_the_busiest_of_all_is_never_picked_while_another_is_there() -> None:
    strategy: PowerOfTwo[Worker] = PowerOfTwo(random.Random(7).random)
    busiest = Worker("busiest", in_flight_count=9)
    for worker in (Worker("a"), busiest, Worker("b")):
        strategy.add(worker)
    assert busiest not in {strategy.pick(None) for _ in range(200)}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Worker("fast", speed=2.0), Worker("slow", speed=0.5)),
        (Worker("light", weight=0.4), Worker("heavy", in_flight_count=2)),
    ],
)
def test_the_load_is_that_with_one_more_by_weight_and_speed(better: Worker, worse: Worker) -> None:
    strategy: PowerOfTwo[Worker] = PowerOfTwo(random.Random(7).random)
    strategy.add(worse)
    strategy.add(better)
    assert {strategy.pick(None) for _ in range(50)} == {better}


def test_of_equals_the_first_drawn_is_picked() -> None:
    strategy: PowerOfTwo[Worker] = PowerOfTwo(lambda: 0.0)
    strategy.add(Worker("a"))
    strategy.add(Worker("b"))
    first = next(iter(strategy.draw(2)))
    assert strategy.pick(None) is first
