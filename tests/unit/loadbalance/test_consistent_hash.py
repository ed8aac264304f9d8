"""Consistent hash: keys stay where they are, loads stay within the bound, and what is on the ring is bounded too."""

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from taskferry.loadbalance import consistent_hash
from taskferry.loadbalance.consistent_hash import (
    AWAY_PICKS_COUNT_MIN,
    AWAY_PICKS_COUNT_PER_PLACE,
    STEPS_COUNT_MAX,
    ConsistentHash,
)
from taskferry.loadbalance.ring import place_of, places_of
from taskferry.loadbalance.weight import units_of

from tests.unit.loadbalance.candidates import Worker
from tests.unit.loadbalance.steps import STEPS, Fleet, Step

KEYS = [f"user:{number}" for number in range(300)]


def strategy_with(count: int, **fields: float) -> tuple[ConsistentHash[Worker], list[Worker]]:
    strategy: ConsistentHash[Worker] = ConsistentHash()
    workers = [Worker(f"w{number}", **fields) for number in range(count)]  # type: ignore[arg-type]  # all but a count
    for worker in workers:
        strategy.add(worker)
    return strategy, workers


def picks_of(strategy: ConsistentHash[Worker]) -> dict[str, str]:
    """The worker of each key while all are equally busy."""
    return {key: picked.name for key in KEYS if (picked := strategy.pick(key)) is not None}


def expected_of(fleet: Fleet, key: str) -> Worker | None:
    """Along all points, those of workers away included: the first held one that is below the bound; None if
    STEPS_COUNT_MAX points are passed without finding one."""
    workers = [*fleet.held, *fleet.away]
    points = sorted((place, worker.name) for worker in workers for place in places_of(worker.name))
    by_name = {worker.name: worker for worker in workers}
    first = next((number for number, (place, _) in enumerate(points) if place >= place_of(key)), 0)
    total = sum(worker.in_flight_count for worker in fleet.held) + 1
    units_sum = sum(units_of(worker.weight) for worker in fleet.held)
    for number in range(STEPS_COUNT_MAX):
        worker = by_name[points[(first + number) % len(points)][1]]
        if (
            worker in fleet.held
            and worker.in_flight_count < 1.25 * total * units_of(worker.weight) / units_sum
        ):
            return worker
    return None


@pytest.mark.uncovered
@settings(max_examples=200)
@given(STEPS)
def test_the_pick_is_the_first_along_the_ring_that_is_below_the_bound(steps: list[Step]) -> None:
    strategy: ConsistentHash[Worker] = ConsistentHash()
    fleet = Fleet(strategy)
    for step in steps:
        key = KEYS[step.which]

        def pick(key: str = key) -> Worker | None:
            picked = strategy.pick(key)
            if picked is not None:
                expected = expected_of(fleet, key)
                assert picked is (expected or least_loaded_of(fleet))
            return picked

        fleet.perform(step, pick)


def least_loaded_of(fleet: Fleet) -> Worker | None:
    return min(
        fleet.held,
        key=lambda worker: (
            (worker.in_flight_count + 1) / (worker.weight * worker.speed),
            fleet.held[worker],
        ),
        default=None,
    )


@given(STEPS)
def test_without_affinity_the_pick_is_the_least_loaded(steps: list[Step]) -> None:
    strategy: ConsistentHash[Worker] = ConsistentHash()
    fleet = Fleet(strategy)
    for step in steps:
        fleet.perform(step, lambda: strategy.pick(None))
        assert strategy.pick(None) is strategy.pick("") is least_loaded_of(fleet)


def test_the_same_keys_go_to_the_same_workers_after_a_restart() -> None:
    before = picks_of(strategy_with(10)[0])
    assert len(set(before.values())) == 10
    strategy: ConsistentHash[Worker] = ConsistentHash()
    for number in reversed(range(10)):
        strategy.add(Worker(f"w{number}"))
    assert picks_of(strategy) == before


def test_keys_of_one_that_is_full_go_elsewhere_and_come_back_and_no_others_move() -> None:
    strategy, workers = strategy_with(10)
    before = picks_of(strategy)
    strategy.remove(workers[4])
    meanwhile = picks_of(strategy)
    assert all((before[key] == "w4") == (meanwhile[key] != before[key]) for key in KEYS)
    strategy.add(workers[4])
    assert picks_of(strategy) == before


def test_a_worker_that_comes_back_as_another_object_gets_its_keys_back() -> None:
    strategy, workers = strategy_with(10)
    before = picks_of(strategy)
    strategy.remove(workers[4])
    strategy.add(Worker("w4"))
    assert picks_of(strategy) == before


def assert_bounded(strategy: ConsistentHash[Worker], workers: list[Worker]) -> None:
    """Assign 399 requests of one key: at no time has a worker more than its share and a quarter."""
    weight = sum(worker.weight for worker in workers)
    for total in range(1, 400):
        picked = strategy.pick("the one key of all")
        assert picked is not None
        picked.in_flight_count += 1
        strategy.changed(picked)
        for worker in workers:
            assert worker.in_flight_count < 1.25 * total * worker.weight / weight + 1


@pytest.mark.parametrize("weights", [[1.0] * 8, [1.0, 1.0, 2.0, 4.0]])
def test_no_worker_gets_more_than_its_share_and_a_quarter_of_one_key(weights: list[float]) -> None:
    strategy: ConsistentHash[Worker] = ConsistentHash()
    workers = [Worker(f"w{number}", weight=weight) for number, weight in enumerate(weights)]
    for worker in workers:
        strategy.add(worker)
    assert_bounded(strategy, workers)
    assert max(worker.in_flight_count / worker.weight for worker in workers) > 1.2 * 400 / sum(weights), (
        "but no less either"
    )


def test_keys_stay_where_they_are_if_all_workers_were_as_busy_when_they_were_added() -> None:
    assert picks_of(strategy_with(3, in_flight_count=10)[0]) == picks_of(strategy_with(3)[0])


def test_the_bound_follows_weights_that_change_and_workers_that_leave_with_their_assignments() -> None:
    strategy, (heavy, light, leaves) = strategy_with(3)
    leaves.in_flight_count = 50
    strategy.changed(leaves)
    for weight in (5.0, 3.0):
        heavy.weight = weight
        strategy.changed(heavy)
    strategy.remove(leaves)
    assert_bounded(strategy, [heavy, light])
    assert max(worker.in_flight_count / worker.weight for worker in (heavy, light)) > 1.2 * 400 / 4


def test_if_most_are_full_a_pick_visits_only_a_few_and_the_others_in_turn() -> None:
    strategy, workers = strategy_with(200)
    for worker in workers[3:]:
        strategy.remove(worker)
    for worker in workers:
        worker.looks_count = 0
    picks: Counter[str] = Counter()
    for number in range(90):
        picked = strategy.pick(KEYS[number])
        assert picked is not None
        picks[picked.name] += 1
        picked.in_flight_count += 1
        strategy.changed(picked)
    assert set(picks) == {"w0", "w1", "w2"}
    assert max(picks.values()) <= 40
    assert sum(worker.looks_count for worker in workers) < 90 * 20


def ring_points_count(strategy: ConsistentHash[Worker]) -> int:
    """How many points a walk once around would pass."""
    first = strategy._ring.owner("any")
    count = 1
    point = first.after
    while point is not first:
        point = point.after
        count += 1
    return count


def test_one_that_is_gone_for_long_leaves_the_ring_and_gets_its_keys_back_all_the_same() -> None:
    strategy, workers = strategy_with(10)
    before = picks_of(strategy)
    points_count = ring_points_count(strategy)
    strategy.remove(workers[4])
    patience = AWAY_PICKS_COUNT_MIN + 10 * AWAY_PICKS_COUNT_PER_PLACE
    for _ in range(patience - 1):
        strategy.pick("key")
    assert ring_points_count(strategy) == points_count
    strategy.pick("key")
    assert ring_points_count(strategy) == points_count * 9 // 10
    for _ in range(patience):
        strategy.pick("key")
    strategy.add(workers[4])
    assert picks_of(strategy) == before


def test_one_that_is_full_now_and_then_stays_on_the_ring() -> None:
    strategy, workers = strategy_with(10)
    points_count = ring_points_count(strategy)
    for _ in range(3 * AWAY_PICKS_COUNT_MIN):
        strategy.remove(workers[4])
        strategy.pick("key")
        strategy.add(workers[4])
        assert len(strategy._away) == 0
    assert ring_points_count(strategy) == points_count


def test_the_one_that_is_away_longest_leaves_the_ring_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistent_hash, "AWAY_COUNT_MAX", 2)
    strategy, workers = strategy_with(5)
    for worker in workers[:4]:
        strategy.remove(worker)
    first = point = strategy._ring.owner("any")
    names = {first.name}
    while (point := point.after) is not first:
        names.add(point.name)
    assert names == {"w2", "w3", "w4"}


def test_what_is_kept_of_those_away_is_bounded_however_few_picks_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consistent_hash, "AWAY_COUNT_MAX", 20)
    strategy, (stays,) = strategy_with(1)
    tracemalloc.start()
    try:
        for number in range(300):
            worker = Worker(f"gone-{number}")
            strategy.add(worker)
            strategy.remove(worker)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ring_points_count(strategy) == 21 * len(places_of("w"))
    assert kept_bytes < 400_000
    assert strategy.pick("key") is stays
