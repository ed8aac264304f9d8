"""What holds for every strategy of the registry: its contract with the broker, and what a call may cost."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from taskferry.loadbalance.strategy import Strategy

from tests.unit.loadbalance.candidates import Worker
from tests.unit.loadbalance.steps import STEPS, Fleet, Step


def make(name: str) -> Strategy[Any]:
    return STRATEGIES[name](random.Random(1).random)


every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def test_the_names_that_operators_may_use() -> None:
    assert list(STRATEGIES) == [
        "least_loaded",
        "round_robin",
        "random",
        "weighted_random",
        "weighted_round_robin",
        "power_of_two",
        "latency_aware",
        "consistent_hash",
    ]
    assert STRATEGY_DEFAULT == "least_loaded"


@every_strategy
def test_a_new_one_is_empty_and_shares_nothing_with_others(name: str) -> None:
    first, second = make(name), make(name)
    first.add(Worker())
    assert second.pick(None) is None


@pytest.mark.uncovered
@every_strategy
@given(steps=STEPS, affinity=st.sampled_from([None, "key", ""]))
def test_it_picks_only_from_those_held(name: str, steps: list[Step], affinity: str | None) -> None:
    strategy = make(name)
    fleet = Fleet(strategy)
    for step in steps:
        fleet.perform(step, lambda: strategy.pick(affinity))  # which checks that the picked one is held
    for worker in fleet.held:
        assert strategy.pick(affinity) is not None
        strategy.remove(worker)
    assert strategy.pick(affinity) is None


@every_strategy
def test_no_worker_is_left_out_for_ever_while_work_starts_and_ends(name: str) -> None:
    # Each assignment ends after seven others have started, on workers of equal speed but different weight.
    strategy = make(name)
    workers = [Worker(f"w{number}", weight=1.0 + number % 3) for number in range(6)]
    for worker in workers:
        strategy.add(worker)
    busy: list[Worker] = []
    picks: set[Worker] = set()
    for number in range(400):
        picked = strategy.pick(f"key-{number}")
        assert picked is not None
        picks.add(picked)
        picked.in_flight_count += 1
        strategy.changed(picked)
        busy.append(picked)
        if len(busy) > 7:
            ended = busy.pop(0)
            ended.in_flight_count -= 1
            strategy.changed(ended)
    assert picks == set(workers)


@every_strategy
def test_one_that_is_picked_stays_held(name: str) -> None:
    strategy = make(name)
    worker = Worker()
    strategy.add(worker)
    assert [strategy.pick(None) for _ in range(5)] == [worker] * 5


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "consistent_hash"])
def test_affinity_changes_nothing_in_strategies_that_do_not_know_it(name: str) -> None:
    with_affinity, without = make(name), make(name)
    workers = [Worker(f"w{number}") for number in range(5)]
    for worker in workers:
        with_affinity.add(worker)
        without.add(worker)
    assert [with_affinity.pick("key") for _ in range(20)] == [without.pick(None) for _ in range(20)]


def looks_of_one_round(name: str, count: int) -> int:
    """How often candidates are read while one is picked and changed, and one leaves and comes back."""
    strategy = make(name)
    workers = [Worker(f"w{number}", in_flight_count=number % 7) for number in range(count)]
    for worker in workers:
        strategy.add(worker)
    for worker in workers:
        worker.looks_count = 0
    picked: Worker = strategy.pick("key") or workers[0]
    picked.in_flight_count += 1
    strategy.changed(picked)
    strategy.remove(workers[count // 2])
    strategy.add(workers[count // 2])
    strategy.pick("key")
    return sum(worker.looks_count for worker in workers)


@pytest.mark.uncovered
@every_strategy
def test_no_call_reads_more_candidates_if_there_are_more(name: str) -> None:
    # A few more or less are random: which one is drawn, and whether it is the last of a list.
    looks_count = looks_of_one_round(name, 1000)
    assert looks_count <= looks_of_one_round(name, 50) + 6
    assert looks_count < 30
