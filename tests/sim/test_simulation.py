"""Runs hundreds of seeds; tests/soak runs thousands. A failure names its seed and how to replay it."""

from collections import Counter

import pytest

from tests.sim.simulation import Simulation

BLOCK_SIZE = 25


@pytest.mark.parametrize("first_seed", range(0, 200, BLOCK_SIZE))
def test_every_request_ends_once_with_an_honest_outcome_whatever_the_network_does(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + BLOCK_SIZE):
        Simulation(seed).run()


def test_a_seed_always_gives_the_same_run() -> None:
    first, second = Simulation(7), Simulation(7)
    first.run()
    second.run()
    assert first.records.trace == second.records.trace
    assert len(first.records.trace) > 50


def test_the_runs_reach_what_they_are_for() -> None:
    happened: Counter[str] = Counter()
    for seed in range(40):
        simulation = Simulation(seed)
        simulation.run()
        happened.update(simulation.happened())
    assert 0 not in happened.values(), happened
