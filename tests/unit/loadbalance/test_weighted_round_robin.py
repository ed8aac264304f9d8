"""Weighted round robin: the turns of nginx's own loop, exact shares, and a plain model of our rule after any sequence
of calls."""

import random
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskferry.loadbalance import weighted_round_robin
from taskferry.loadbalance.weight import units_of
from taskferry.loadbalance.weighted_round_robin import (
    SLACK_TURNS_COUNT,
    STALE_COUNT_MIN,
    STRIDE,
    WeightedRoundRobin,
)

from tests.unit.loadbalance.candidates import Worker
from tests.unit.loadbalance.steps import STEPS, Fleet, Step


def strategy_with(*weights: float) -> tuple[WeightedRoundRobin[Worker], list[Worker]]:
    strategy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
    workers = [Worker(f"w{number}", weight=weight) for number, weight in enumerate(weights)]
    for worker in workers:
        strategy.add(worker)
    return strategy, workers


def turns_of(weights: list[int], count: int) -> list[int]:
    strategy, workers = strategy_with(*weights)
    indexes = {worker: index for index, worker in enumerate(workers)}
    return [indexes[picked] for _ in range(count) if (picked := strategy.pick(None)) is not None]


def turns_of_nginx(weights: list[int], count: int) -> list[int]:
    """Its loop, over peers that never fail."""
    credits = [0] * len(weights)
    turns = []
    for _ in range(count):
        for index, weight in enumerate(weights):
            credits[index] += weight
        best = max(range(len(weights)), key=lambda index: (credits[index], -index))
        credits[best] -= sum(weights)
        turns.append(best)
    return turns


def test_the_turns_that_nginx_promises() -> None:
    assert "".join("abc"[turn] for turn in turns_of([5, 1, 1], 21)) == "aabacaa" * 3


@pytest.mark.uncovered
@given(st.lists(st.sampled_from([1, 2, 4, 8, 16]), min_size=1, max_size=10), st.integers(1, 3))
def test_the_turns_are_those_of_nginx_if_weights_are_powers_of_two(weights: list[int], factor: int) -> None:
    weights = [weight * factor for weight in sorted(weights, reverse=True)]
    count = 2 * sum(weights)
    assert turns_of(weights, count) == turns_of_nginx(weights, count)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_shares_are_exact_and_at_no_time_two_turns_off(weights: list[int]) -> None:
    total = sum(weights)
    counts = [0] * len(weights)
    for number, turn in enumerate(turns_of(weights, total), start=1):
        counts[turn] += 1
        assert all(
            abs(count - weight * number / total) < 2 for count, weight in zip(counts, weights, strict=True)
        )
    assert counts == weights


# --- after any sequence of calls ---


class Model:
    """The rule as described, without heaps: every worker's start, and the longest lag by comparing all."""

    def __init__(self) -> None:
        self.starts: dict[Worker, int] = {}
        self.units: dict[Worker, int] = {}
        self.moves: dict[Worker, int] = {}
        self.behind: dict[str, int] = {}
        self.clock = 0
        self.moves_count = 0

    def average(self) -> int:
        return sum(self.units[worker] * start for worker, start in self.starts.items()) // self.units_sum()

    def units_sum(self) -> int:
        return sum(self.units[worker] for worker in self.starts)

    def move(self, worker: Worker, start: int) -> None:
        self.starts[worker] = start
        self.moves_count += 1
        self.moves[worker] = self.moves_count

    def add(self, worker: Worker) -> None:
        units = self.units[worker] = units_of(worker.weight)
        behind = self.behind.pop(worker.name, None)
        start = self.clock - (behind or 0)
        if self.starts:
            average = self.average()
            wide = STRIDE // units + SLACK_TURNS_COUNT * (len(self.starts) + 1) * STRIDE // self.units_sum()
            start = average if behind is None else min(max(start, average - wide), average + wide)
        self.move(worker, start)

    def remove(self, worker: Worker) -> None:
        self.behind[worker.name] = self.clock - self.starts.pop(worker)

    def changed(self, worker: Worker) -> None:
        units = units_of(worker.weight)
        if units == self.units[worker]:
            return
        average = self.average()
        credit = (average - self.starts[worker]) * self.units[worker]
        self.units[worker] = units
        self.move(worker, average - credit // units)

    def pick(self) -> Worker | None:
        if not self.starts:
            return None
        units_sum = self.units_sum()
        sum_of_starts = sum(self.units[worker] * start for worker, start in self.starts.items())
        now = -(-(sum_of_starts + STRIDE) // units_sum)
        self.clock += STRIDE // units_sum

        def order(worker: Worker) -> tuple[int, int, int]:
            rate = 1 << self.units[worker].bit_length()
            return rate * (now - self.starts[worker]), rate, -self.moves[worker]

        picked = max(self.starts, key=order)
        self.move(picked, self.starts[picked] + STRIDE // self.units[picked])
        return picked


class Both:
    """The strategy and the model, with the same calls."""

    def __init__(self) -> None:
        self.strategy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
        self.model = Model()

    def add(self, candidate: Worker) -> None:
        self.strategy.add(candidate)
        self.model.add(candidate)

    def remove(self, candidate: Worker) -> None:
        self.strategy.remove(candidate)
        self.model.remove(candidate)

    def changed(self, candidate: Worker) -> None:
        self.strategy.changed(candidate)
        self.model.changed(candidate)

    def pick(self, affinity: str | None) -> Worker | None:
        picked = self.strategy.pick(affinity)
        assert picked is self.model.pick()
        return picked


@pytest.mark.uncovered
@settings(max_examples=300)
@given(STEPS)
def test_every_pick_is_the_one_with_the_longest_lag(steps: list[Step]) -> None:
    both = Both()
    fleet = Fleet(both)
    for step in steps:
        fleet.perform(step, lambda: both.pick(None))
    for _ in range(5):
        both.pick(None)


def test_every_pick_of_a_long_walk_is_the_one_with_the_longest_lag() -> None:
    dice = random.Random(1)
    both = Both()
    held: list[Worker] = []
    away = [Worker(f"w{number}") for number in range(6)]
    for _ in range(2000):
        step = dice.choice(["add", "remove", "weigh", *["pick"] * 5])
        if step == "add" and away:
            worker = away.pop(dice.randrange(len(away)))
            both.add(worker)
            held.append(worker)
        elif step == "remove" and held:
            worker = held.pop(dice.randrange(len(held)))
            both.remove(worker)
            away.append(worker)
        elif step == "weigh" and held:
            worker = dice.choice(held)
            worker.weight = dice.choice([0.5, 1.0, 3.0, 10.0])
            both.changed(worker)
        else:
            both.pick(None)
    places = both.strategy._places.values()
    assert {type(place.start) for place in places} == {int}, "so that no rounding error builds up"
    assert both.strategy._starts_sum == sum(place.units * place.start for place in places)


@pytest.mark.parametrize("weights", [[5.0, 3.0, 2.0], [0.85, 0.51, 0.17]])
@pytest.mark.parametrize("turns_before", [0, 999])
def test_every_pick_is_the_one_with_the_longest_lag_after_years_too(
    weights: list[float], turns_before: int
) -> None:
    both = Both()
    lightest = Worker(
        "lightest", weight=0.0017
    )  # so few of its turns take virtual time beyond what a float can hold
    both.add(lightest)
    for _ in range(turns_before):
        both.pick(None)
    both.remove(lightest)
    for number, weight in enumerate(weights):
        both.add(Worker(f"w{number}", weight=weight))
    for _ in range(40):
        both.pick(None)


@pytest.mark.parametrize(("stays_weight", "visits_weight"), [(1.0, 4.0), (4.0, 2.0)])
def test_one_that_comes_back_is_at_most_a_few_turns_off_the_others(
    stays_weight: float, visits_weight: float
) -> None:
    # At each visit the heavier has a turn. So without a bound one that returns would be far ahead, or far behind.
    both = Both()
    stays, leaves = Worker("stays", weight=stays_weight), Worker("leaves")
    both.add(stays)
    both.add(leaves)
    both.remove(leaves)
    for number in range(200):
        visits = Worker(f"visits-{number}", weight=visits_weight)
        both.add(visits)
        both.pick(None)
        both.remove(visits)
    both.add(leaves)
    assert {type(place.start) for place in both.strategy._places.values()} == {int}
    picks = [both.pick(None) for _ in range(60)]
    share = 60 / (stays_weight + 1)
    assert abs(picks.count(leaves) - share) <= 6
    assert set(picks[-10:]) == {stays, leaves}


# --- those that leave and come back ---


def test_no_worker_gains_or_loses_by_being_away_for_a_moment() -> None:
    strategy, workers = strategy_with(5, 1, 1)
    turns = ""
    for number in range(14):
        away = workers[number % 3]
        strategy.remove(away)
        strategy.add(away)
        picked = strategy.pick(None)
        assert picked is not None
        turns += "abc"[workers.index(picked)]
    assert Counter(turns) == {"a": 10, "b": 2, "c": 2}


@pytest.mark.uncovered
@pytest.mark.parametrize("weights", [[5, 1, 1], [10, 7, 3, 1, 1, 1], [20, 1, 1, 1, 1, 1], [100, *[1] * 50]])
def test_those_that_are_full_now_and_then_get_the_shares_that_nginx_gives_to_peers_down_as_often(
    weights: list[int],
) -> None:
    dice = random.Random(1)
    is_full_after = [dice.random() < 0.5 for _ in range(70 * sum(weights))]
    turns = turns_while_full(weights, is_full_after)
    turns_of_peers = turns_of_nginx_while_down(weights, is_full_after)
    for weight in set(weights):
        equals = [index for index, other in enumerate(weights) if other == weight]
        counts = [turns[index] for index in equals]
        assert sum(counts) == pytest.approx(sum(turns_of_peers[index] for index in equals), rel=0.05)
        assert max(counts) - min(counts) <= 3, "which nginx does not promise"


def turns_while_full(weights: list[int], is_full_after: list[bool]) -> list[int]:
    """How many turns each gets if one that is full after its turn is away during the next."""
    strategy, workers = strategy_with(*weights)
    counts: Counter[Worker] = Counter()
    full: list[Worker] = []
    for is_full in is_full_after:
        picked = strategy.pick(None)
        assert picked is not None
        counts[picked] += 1
        if full:
            strategy.add(full.pop())
        if is_full:
            strategy.remove(picked)
            full.append(picked)
    return [counts[worker] for worker in workers]


def turns_of_nginx_while_down(weights: list[int], is_down_after: list[bool]) -> list[int]:
    """The same for nginx's loop, which skips peers that are down."""
    credits = [0] * len(weights)
    counts = [0] * len(weights)
    down = -1
    for is_down in is_down_after:
        up = [index for index in range(len(weights)) if index != down]
        for index in up:
            credits[index] += weights[index]
        best = max(up, key=lambda index: (credits[index], -index))
        credits[best] -= sum(weights[index] for index in up)
        counts[best] += 1
        down = best if is_down else -1
    return counts


def test_one_that_was_away_for_long_makes_up_for_nothing() -> None:
    strategy, (first, second) = strategy_with(1, 1)
    strategy.remove(second)
    for _ in range(1000):
        assert strategy.pick(None) is first
    strategy.add(second)
    assert Counter(strategy.pick(None) for _ in range(20)) == {first: 10, second: 10}


def test_one_that_comes_back_pays_no_debt_that_others_left_behind() -> None:
    # A hundred have had their turn just before they leave permanently; those who stay have had none.
    strategy, (stays, leaves) = strategy_with(1, 1)
    strategy.remove(leaves)
    for number in range(100):
        gone = Worker(f"gone-{number}", weight=100.0)
        strategy.add(gone)
        strategy.pick(None)
        strategy.remove(gone)
    strategy.add(leaves)
    picks = [strategy.pick(None) for _ in range(12)]
    assert {stays, leaves} == set(picks)
    assert abs(picks.count(stays) - picks.count(leaves)) <= 6


def test_a_weight_that_changes_counts_from_then_on() -> None:
    strategy, (first, second) = strategy_with(1, 1)
    for _ in range(10):
        strategy.pick(None)
    second.weight = 3.0
    strategy.changed(second)
    assert Counter(strategy.pick(None) for _ in range(40)) == {first: 10, second: 30}


def test_a_weight_may_change_while_its_worker_is_away() -> None:
    strategy, (first, second) = strategy_with(1, 1)
    strategy.remove(second)
    second.weight = 3.0
    strategy.add(second)
    assert Counter(strategy.pick(None) for _ in range(40)) == {first: 10, second: 30}


def test_of_those_away_the_half_that_left_first_is_dropped_beyond_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weighted_round_robin, "AWAY_COUNT_MAX", 6)
    strategy, workers = strategy_with(*[1.0] * 8)
    for worker in workers[:6]:
        strategy.remove(worker)
    assert list(strategy._away) == ["w0", "w1", "w2", "w3", "w4", "w5"]
    strategy.remove(workers[6])
    assert list(strategy._away) == ["w3", "w4", "w5", "w6"]


def test_stale_entries_are_kept_up_to_a_bound() -> None:
    strategy, workers = strategy_with(*[1.0] * 30)
    for worker in workers[10:]:
        strategy.remove(worker)
    counts = []
    for number in range(300):
        workers[0].weight = 1.0 + number % 2 / 2
        strategy.changed(workers[0])
        ((_, band),) = strategy._bands
        counts.append(len(band))
    assert max(counts) == 2 * 30 + STALE_COUNT_MIN + 1


def test_places_of_those_away_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighted_round_robin, "AWAY_COUNT_MAX", 100)
    strategy, (stays,) = strategy_with(1)
    tracemalloc.start()
    try:
        for number in range(3000):
            worker = Worker(f"w{number}", weight=1.0 + number % 7)
            strategy.add(worker)
            strategy.pick(None)
            strategy.remove(worker)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 200_000
    assert strategy.pick(None) is stays
    returning = Worker("w0")
    strategy.add(returning)
    assert Counter(strategy.pick(None) for _ in range(10)) == {stays: 5, returning: 5}


def test_weights_that_change_all_the_time_leave_nothing_behind() -> None:
    strategy, (first, second) = strategy_with(1, 1)
    tracemalloc.start()
    try:
        for number in range(3000):
            first.weight = 1.0 + number % 2 / 2
            strategy.changed(first)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 50_000
    assert Counter(strategy.pick(None) for _ in range(50)) == {first: 30, second: 20}
