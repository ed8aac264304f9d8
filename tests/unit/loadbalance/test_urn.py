"""Draws from an urn: distinct, equally likely at each position, and never one that was removed."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from taskferry.loadbalance.urn import Urn

from tests.unit.loadbalance.candidates import Worker


def urn_of(count: int, seed: int = 1) -> tuple[Urn[Worker], list[Worker]]:
    urn: Urn[Worker] = Urn(random.Random(seed).random)
    workers = [Worker(f"w{number}") for number in range(count)]
    for worker in workers:
        urn.add(worker)
    return urn, workers


@given(st.integers(0, 8), st.integers(1, 10), st.lists(st.integers(0, 7), max_size=8), st.integers(0, 99))
def test_those_drawn_are_different_and_in_it(count: int, drawn_count: int, out: list[int], seed: int) -> None:
    urn, workers = urn_of(count, seed)
    for which in out:
        if which < len(workers):
            urn.remove(workers.pop(which))
    drawn = urn.draw(drawn_count)
    assert len(drawn) == min(drawn_count, len(workers))
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(workers)


def test_everyone_is_as_likely_at_every_place() -> None:
    urn, workers = urn_of(5)
    draws = [urn.draw(3) for _ in range(5000)]
    for place in range(3):
        counts = Counter(drawn[place] for drawn in draws)
        for worker in workers:
            assert abs(counts[worker] - 1000) < 4 * (5000 * 0.2 * 0.8) ** 0.5


def test_it_never_draws_beyond_the_last() -> None:
    urn: Urn[Worker] = Urn(lambda: 1 - 2**-53)
    workers = [Worker(f"w{number}") for number in range(3)]
    for worker in workers:
        urn.add(worker)
    assert urn.draw(3) == [workers[2], workers[0], workers[1]]
