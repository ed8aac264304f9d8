"""A worker that succeeds far less often than its peers is ejected, even if it never fails five times in a row."""

from itertools import pairwise

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.health import health
from taskferry.broker.core.health.outliers import (
    DEVIATIONS,
    GAP_MIN,
    INTERVAL_S,
    RESULTS_COUNT_MIN,
    WORKERS_COUNT_MIN,
    outliers,
)

from tests.unit.broker.core.world import START_S, FakeWorker, World


def world_of(count: int, *commands: str) -> tuple[World, list[FakeWorker]]:
    world = World()
    workers = [world.worker(f"w{number}", *commands) for number in range(count)]
    world.sleep(0.5)  # the first comparison, of nothing
    return world, workers


def results(world: World, worker: FakeWorker, rate: float, count: int = 1000, command: str = "echo") -> None:
    """As if `worker` had ended `count` assignments, the share `rate` of them successfully."""
    tally = worker.session.commands[world.core.roster.commands[command]]
    succeeded_count = round(rate * count)
    tally.succeeded_count += succeeded_count
    tally.failed_count += count - succeeded_count


def ejected(world: World, workers: list[FakeWorker]) -> list[str]:
    world.sleep(INTERVAL_S)
    return [worker.worker_id for worker in workers if worker.state == "ejected"]


def test_a_worker_that_fails_far_more_than_the_others_is_ejected() -> None:
    world, workers = world_of(5)
    for worker in workers:
        results(world, worker, 0.5 if worker is workers[2] else 0.99)
    assert ejected(world, workers) == ["w2"]
    assert workers[2].session.reason == "50.0% of echo succeeded, 89.2% elsewhere"
    assert world.core.health.ejections.counts["outlier"] == 1
    assert world.events.notified == ["w2: healthy -> ejected"]


def test_an_outlier_is_found_in_real_traffic() -> None:
    world = World("round_robin")
    workers = [world.worker(f"w{number}") for number in range(5)]
    requester = world.requester()
    for number in range(5 * RESULTS_COUNT_MIN):
        requester.submit()
        (worker,) = (worker for worker in workers if worker.holds)
        (request_id,) = worker.holds
        if worker is workers[0] and number % 3:
            worker.fail(request_id)
        else:
            worker.succeed(request_id)
    assert ejected(world, workers) == ["w0"]


@pytest.mark.parametrize(("count", "expected"), [(WORKERS_COUNT_MIN - 1, []), (WORKERS_COUNT_MIN, ["w0"])])
def test_fewer_workers_give_no_meaningful_mean(count: int, expected: list[str]) -> None:
    world, workers = world_of(count)
    for worker in workers:
        results(world, worker, 0.1 if worker is workers[0] else 1.0)
    assert ejected(world, workers) == expected


@pytest.mark.parametrize(("count", "expected"), [(RESULTS_COUNT_MIN - 1, []), (RESULTS_COUNT_MIN, ["w0"])])
def test_fewer_results_are_chance(count: int, expected: list[str]) -> None:
    world, workers = world_of(6)
    for worker in workers:
        results(world, worker, 0.1 if worker is workers[0] else 1.0, count)
    assert ejected(world, workers) == expected


def test_a_worker_with_few_results_is_not_compared() -> None:
    world, workers = world_of(5)
    for worker in workers:
        results(world, worker, 0.1 if worker is workers[0] else 1.0, 99 if worker is workers[1] else 1000)
    assert ejected(world, workers) == []


@pytest.mark.parametrize(("gap", "expected"), [(GAP_MIN - 0.002, []), (GAP_MIN + 0.002, ["w0"])])
def test_a_small_gap_is_tolerated_however_many_deviations_it_is(gap: float, expected: list[str]) -> None:
    world, workers = world_of(20)
    rate = 1.0 - gap * 20 / 19  # so that it is `gap` below the mean
    for worker in workers:
        results(world, worker, rate if worker is workers[0] else 1.0, 100_000)
    assert ejected(world, workers) == expected


@pytest.mark.parametrize(("spread", "expected"), [(0.105, []), (0.095, ["w0"])])
def test_a_larger_spread_needs_a_larger_gap(spread: float, expected: list[str]) -> None:
    # Ten alternate by `spread` around 0.75; the eleventh is 0.227 below the mean of all.
    world, workers = world_of(11)
    for number, worker in enumerate(workers):
        side = spread if number % 2 else -spread
        results(world, worker, 0.5 if worker is workers[0] else 0.75 + side, 100_000)
    assert DEVIATIONS == 1.9
    assert ejected(world, workers) == expected


def test_a_command_that_fails_everywhere_ejects_none() -> None:
    world, workers = world_of(10)
    for worker in workers:
        results(world, worker, 0.0)
    assert ejected(world, workers) == []


def test_only_new_results_count() -> None:
    world, workers = world_of(5)
    for worker in workers:
        results(world, worker, 0.9)
    assert ejected(world, workers) == []
    for worker in workers:
        results(world, worker, 0.5 if worker is workers[0] else 1.0)
    assert ejected(world, workers) == ["w0"]


def test_older_successes_do_not_hide_an_outlier() -> None:
    world, workers = world_of(5)
    for worker in workers:
        results(world, worker, 0.9, 10_000 if worker is workers[0] else 1000)
    assert ejected(world, workers) == []
    for worker in workers:
        results(world, worker, 0.5 if worker is workers[0] else 1.0)
    assert ejected(world, workers) == ["w0"]


def test_the_share_of_ejected_workers_is_bounded_here_too() -> None:
    world, workers = world_of(20)
    for worker in workers[10:15]:
        world.eject(worker)
    for number, worker in enumerate(workers):
        results(world, worker, 0.0 if number < 2 else 1.0)
    assert len(ejected(world, workers)) == 6


def test_a_suspect_worker_is_compared_but_not_ejected() -> None:
    world, workers = world_of(6)
    for worker in workers:
        results(world, worker, 0.1 if worker is workers[0] else 1.0)
    workers[0].fall_silent()
    assert ejected(world, workers) == []


def test_a_command_without_workers_has_no_outliers() -> None:
    world, workers = world_of(1)
    workers[0].leave()
    assert outliers(world.core.roster.commands["echo"]) == []


def test_each_command_is_compared_separately() -> None:
    world, workers = world_of(5, "a", "b")
    for worker in workers:
        results(world, worker, 0.2, command="a")
        results(world, worker, 0.5 if worker is workers[1] else 1.0, command="b")
    assert ejected(world, workers) == ["w1"]
    assert workers[1].session.reason.startswith("50.0% of b succeeded")


def test_the_number_compared_per_check_is_bounded_and_all_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert health.COMPARED_COUNT_MAX == 1000
    monkeypatch.setattr(health, "COMPARED_COUNT_MAX", 1)
    world, workers = world_of(5, "a", "b", "c")
    world.sleep(5.0)
    tallies = [worker.session.commands for worker in workers]
    for command in "abc":
        for worker in workers:
            results(world, worker, 1.0, command=command)
    looked_at = []
    for _ in range(80):
        world.sleep(0.25)
        recent = [tally.recent_count for commands in tallies for tally in commands.values()]
        looked_at.append(recent.count(0))
    assert sorted(set(looked_at)) == [0, 5, 10, 15], "one command per check"


@pytest.mark.parametrize(
    ("bound", "checks"), [(17, [3, 3]), (18, [3, 3]), (19, [4, 2]), (1, [1] * 6), (100, [6])]
)
def test_a_comparison_costs_its_workers_and_one_more(
    monkeypatch: pytest.MonkeyPatch, bound: int, checks: list[int]
) -> None:
    monkeypatch.setattr(health, "COMPARED_COUNT_MAX", bound)
    names = [f"c{number}" for number in range(6)]
    world, workers = world_of(5, *names)
    world.sleep(5.0)  # all have been compared once
    for name in names:
        results(world, workers[0], 1.0, command=name)
    tallies = workers[0].session.commands.values()
    compared = [0]
    while compared[-1] < len(names):
        world.sleep(LOOK_INTERVAL_S)
        compared.append(sum(not tally.recent_count for tally in tallies))
        assert world.now < START_S + 20.0
    assert [after - before for before, after in pairwise(compared) if after > before] == checks


def test_a_command_without_workers_costs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "COMPARED_COUNT_MAX", 4)
    world = World()
    worker = world.worker("w", "served")
    world.worker("v", "a", "b", "c", "d").leave()  # which are compared first, in one check
    world.sleep(5.0)
    results(world, worker, 1.0, command="served")
    (tally,) = worker.session.commands.values()
    world.sleep(INTERVAL_S + LOOK_INTERVAL_S - (world.now - START_S))
    assert tally.recent_count == 1000
    world.sleep(LOOK_INTERVAL_S)
    assert tally.recent_count == 0


def test_old_results_are_forgotten_in_small_fleets_too() -> None:
    # All three have failed for an hour; now only one of them still does.
    world, workers = world_of(3)
    requester = world.requester()
    for worker in workers:
        results(world, worker, 0.0)
    world.sleep(INTERVAL_S)
    for worker in workers[1:]:
        results(world, worker, 1.0, 100)
    requester.account.fares.succeeded("echo", "w1", world.now)
    for worker in workers[1:]:
        requester.submit(target=worker.worker_id)  # it is full
    for _ in range(5):
        workers[0].fail(requester.submit())
    assert workers[0].state == "ejected"


def test_failures_that_one_requester_causes_make_no_outlier() -> None:
    world, workers = world_of(5)
    requester = world.requester()
    for worker in workers:
        results(world, worker, 1.0, RESULTS_COUNT_MIN)
    for number in range(4 * RESULTS_COUNT_MIN):
        workers[0].fail(requester.submit(target="w0"))
        if not number % 3:
            workers[0].succeed(requester.submit(target="w0"))
    assert ejected(world, workers) == []
    assert workers[0].session.failed_count == 4 * RESULTS_COUNT_MIN
