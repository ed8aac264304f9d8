"""The two strategies that draw at random: which workers can be drawn, and how often each is, exactly and by a long
count."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.random import Random
from taskferry.loadbalance.weight import WEIGHT_SCALE
from taskferry.loadbalance.weighted_random import WeightedRandom

from tests.unit.loadbalance.candidates import Worker

DRAWS_COUNT = 6000
SMALLEST = 0.0
LARGEST = math.nextafter(1.0, 0.0)


class Dice:
    """Random numbers that the test sets."""

    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


def comings_and_goings(
    strategy: Random[Worker] | WeightedRandom[Worker], steps: list[tuple[int, float]]
) -> list[Worker]:
    """Add a worker of the weight for each step, and remove one if its number selects one; returns those that stay.
    Every second one starts with another weight."""
    held: list[Worker] = []
    for number, (which, weight) in enumerate(steps):
        worker = Worker(f"w{number}", weight=weight if number % 2 else 0.5)
        strategy.add(worker)
        held.append(worker)
        worker.weight = weight
        strategy.changed(worker)
        if which < len(held):
            strategy.remove(held.pop(which))
    return held


@pytest.mark.uncovered
@given(st.lists(st.tuples(st.integers(0, 25), st.just(1.0)), max_size=40))
def test_random_draws_each_from_an_equal_part(steps: list[tuple[int, float]]) -> None:
    dice = Dice()
    strategy: Random[Worker] = Random(dice)
    held = comings_and_goings(strategy, steps)
    drawn = []
    for number in range(len(held)):
        dice.value = (number + 0.5) / len(held)
        drawn.append(strategy.pick(None))
    assert Counter(drawn) == Counter(held)


def test_random_never_draws_beyond_the_last() -> None:
    dice = Dice()
    strategy: Random[Worker] = Random(dice)
    workers = [Worker(f"w{number}") for number in range(3)]
    for worker in workers:
        strategy.add(worker)
    dice.value = SMALLEST
    assert strategy.pick(None) is workers[0]
    dice.value = LARGEST
    assert strategy.pick(None) is workers[-1]


# Weights of a few hundred units at most, so that every unit can be drawn once.
@pytest.mark.uncovered
@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from([0.01, 0.02, 0.03, 0.0351])), max_size=14))
def test_weighted_random_draws_each_from_as_many_units_as_it_weighs(steps: list[tuple[int, float]]) -> None:
    dice = Dice()
    strategy: WeightedRandom[Worker] = WeightedRandom(dice)
    held = comings_and_goings(strategy, steps)
    units = {worker: round(worker.weight * WEIGHT_SCALE) for worker in held}
    total = sum(units.values())
    drawn: Counter[Worker | None] = Counter()
    for unit in range(total):
        dice.value = (unit + 0.5) / total
        drawn[strategy.pick(None)] += 1
    assert drawn == units


@given(
    st.lists(st.tuples(st.integers(0, 60), st.floats(0.01, 100.0)), min_size=1, max_size=40),
    st.floats(0, LARGEST),
)
def test_weighted_random_always_draws_one_of_those_held(
    steps: list[tuple[int, float]], chance: float
) -> None:
    dice = Dice()
    strategy: WeightedRandom[Worker] = WeightedRandom(dice)
    held = comings_and_goings(strategy, steps)
    for dice.value in (SMALLEST, chance, LARGEST):
        picked = strategy.pick(None)
        assert picked in held if held else picked is None


def test_weighted_random_gives_even_less_than_the_lightest_weight_a_chance() -> None:
    strategy: WeightedRandom[Worker] = WeightedRandom(lambda: 0.0)
    feather = Worker(weight=1e-9)
    strategy.add(feather)
    assert strategy.pick(None) is feather


def assert_share(drawn: Counter[Worker], worker: Worker, share: float) -> None:
    """Within three standard deviations of a binomial count."""
    sigma = math.sqrt(DRAWS_COUNT * share * (1 - share))
    assert abs(drawn[worker] - DRAWS_COUNT * share) <= 3 * sigma


def test_random_shares_over_many_draws() -> None:
    strategy: Random[Worker] = Random(random.Random(20).random)
    workers = [Worker(f"w{number}", weight=1.0 + number) for number in range(5)]
    for worker in workers:
        strategy.add(worker)
    drawn = Counter(picked for _ in range(DRAWS_COUNT) if (picked := strategy.pick(None)) is not None)
    for worker in workers:
        assert_share(drawn, worker, 1 / 5)


def test_weighted_random_shares_over_many_draws() -> None:
    strategy: WeightedRandom[Worker] = WeightedRandom(random.Random(20).random)
    gone = Worker("gone", weight=50.0)
    strategy.add(gone)
    workers = [Worker(f"w{weight}", weight=weight) for weight in (0.5, 1.0, 2.0, 4.0, 12.5)]
    for worker in workers:
        strategy.add(worker)
    strategy.remove(gone)
    drawn = Counter(picked for _ in range(DRAWS_COUNT) if (picked := strategy.pick(None)) is not None)
    for worker in workers:
        assert_share(drawn, worker, worker.weight / 20)
