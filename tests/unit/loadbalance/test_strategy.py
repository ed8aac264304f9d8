"""What holds for every strategy of the registry: its contract with the broker, and what a call may cost."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from taskferry.loadbalance.strategy import Strategy

from tests.unit.loadbalance.candidates import Worker


def make(name: str) -> Strategy[Any]:
    return STRATEGIES[name](random.Random(1).random)


every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def test_the_names_that_operators_may_use() -> None:
    assert list(STRATEGIES) == ["least_loaded", "round_robin", "random", "weighted_random"]
    assert STRATEGY_DEFAULT == "least_loaded"


@every_strategy
def test_a_new_one_is_empty_and_shares_nothing_with_others(name: str) -> None:
    first, second = make(name), make(name)
    first.add(Worker())
    assert second.pick(None) is None


@every_strategy
@given(data=st.data())
def test_it_picks_from_those_held_and_nobody_else(name: str, data: st.DataObject) -> None:
    strategy = make(name)
    held: list[Worker] = []
    for number in range(data.draw(st.integers(0, 30))):
        if data.draw(st.booleans()) and held:
            strategy.remove(held.pop(data.draw(st.integers(0, len(held) - 1))))
        else:
            worker = Worker(f"w{number}", weight=data.draw(st.floats(0.01, 100.0)))
            strategy.add(worker)
            held.append(worker)
        picked = strategy.pick(data.draw(st.sampled_from([None, "key"])))
        assert picked in held if held else picked is None
        if picked is not None:
            picked.load += 1
            strategy.changed(picked)
    for worker in held:
        strategy.remove(worker)
    assert strategy.pick(None) is None


@every_strategy
def test_one_that_is_picked_stays_held(name: str) -> None:
    strategy = make(name)
    worker = Worker()
    strategy.add(worker)
    assert [strategy.pick(None) for _ in range(5)] == [worker] * 5


@every_strategy
def test_affinity_changes_nothing_in_strategies_that_do_not_know_it(name: str) -> None:
    with_affinity, without = make(name), make(name)
    workers = [Worker(f"w{number}") for number in range(5)]
    for worker in workers:
        with_affinity.add(worker)
        without.add(worker)
    assert [with_affinity.pick("key") for _ in range(20)] == [without.pick(None) for _ in range(20)]


def looks_of_one_round(name: str, count: int) -> int:
    """How often the candidates are looked at while one is picked and changed, and one goes and comes back."""
    strategy = make(name)
    workers = [Worker(f"w{number}", in_flight_count=number % 7) for number in range(count)]
    for worker in workers:
        strategy.add(worker)
    for worker in workers:
        worker.looks_count = 0
    picked: Worker = strategy.pick(None) or workers[0]
    picked.load += 1
    strategy.changed(picked)
    strategy.remove(workers[count // 2])
    strategy.add(workers[count // 2])
    strategy.pick(None)
    return sum(worker.looks_count for worker in workers)


@every_strategy
def test_no_call_looks_at_more_candidates_where_there_are_more(name: str) -> None:
    # A few more or less come from chance: who is drawn, and whether it is the last of a list.
    assert looks_of_one_round(name, 5000) <= looks_of_one_round(name, 50) + 6
    assert looks_of_one_round(name, 5000) < 30
