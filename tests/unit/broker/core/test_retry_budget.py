"""Retries and hedges are at most a share of recent traffic, so that they do not bury workers in trouble."""

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.delivery.budget import RESERVE_COUNT, TURN_S, Budget
from taskferry.broker.core.settings import CoreSettings

from tests.unit.broker.core.world import World


def spend_all(budget: Budget, requests_count: int) -> int:
    spent_count = 0
    while budget.spend(requests_count):
        spent_count += 1
    return spent_count


def test_there_is_a_small_reserve_without_any_traffic() -> None:
    budget = Budget(0.2)
    assert spend_all(budget, 0) == RESERVE_COUNT == 10
    budget.look(0, 100.0)
    assert spend_all(budget, 0) == 0
    budget.look(0, 100.0 + TURN_S - 0.01)
    assert spend_all(budget, 0) == 0
    budget.look(0, 100.0 + TURN_S)
    assert spend_all(budget, 0) == RESERVE_COUNT, "old spending is forgotten"


def test_every_request_earns_its_share() -> None:
    budget = Budget(0.2)
    assert spend_all(budget, 1000) == RESERVE_COUNT + 200
    assert spend_all(budget, 1004) == 0
    assert spend_all(budget, 1005) == 1


def test_old_earnings_are_forgotten() -> None:
    budget = Budget(0.5)
    budget.look(0, 100.0)
    budget.look(100, 100.0 + TURN_S)
    assert spend_all(budget, 100) == RESERVE_COUNT + 50, "this turn and the one before"
    budget.look(100, 100.0 + 2 * TURN_S)
    assert spend_all(budget, 100) == 0
    budget.look(100, 100.0 + 3 * TURN_S)
    assert spend_all(budget, 100) == RESERVE_COUNT
    budget.look(200, 100.0 + 4 * TURN_S)
    assert spend_all(budget, 200) == 50


def test_without_a_share_there_is_no_budget() -> None:
    assert spend_all(Budget(0.0), 10**6) == 0


def test_the_defaults() -> None:
    assert CoreSettings().retries_share_max == 0.2
    assert CoreSettings().hedges_share_max == 0.05


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.2, 30), (1.0, 100)])
def test_retries_beyond_the_budget_are_lost(share: float, expected: int) -> None:
    world = World(retries_share_max=share)
    worker, requester = world.worker("w", concurrency=100), world.requester()
    for _ in range(100):
        requester.submit(idempotent=True)
    other = world.worker("other", concurrency=100)
    worker.leave()
    assert len(other.holds) == world.core.counts.retried_count == expected
    assert world.outcomes()["worker_lost"] == 100 - expected


def test_successful_traffic_earns_retries_for_later() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=50), world.requester()
    for _ in range(250):
        world.sleep(0.01)
        worker.succeed(requester.submit())
    for _ in range(50):
        requester.submit(idempotent=True)
    world.worker("other", concurrency=50)
    worker.leave()
    assert world.core.counts.retried_count == 50


@pytest.mark.parametrize(("idle_s", "retried_count"), [(2 * TURN_S - 1.0, 50), (2 * TURN_S + 1.0, 20)])
def test_old_traffic_earns_no_retries(idle_s: float, retried_count: int) -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=50), world.requester()
    world.sleep(LOOK_INTERVAL_S)
    for _ in range(250):
        worker.succeed(requester.submit())
    world.sleep(idle_s)
    for _ in range(50):
        requester.submit(idempotent=True)
    world.worker("other", concurrency=50)
    worker.leave()
    assert world.core.counts.retried_count == retried_count, "a reserve, and a fifth of the recent requests"


def test_reassigning_what_was_never_written_needs_no_budget() -> None:
    world = World(retries_share_max=0.0)
    worker, requester = world.worker("w", concurrency=50, is_stuck=True), world.requester()
    for _ in range(50):
        requester.submit()
    other = world.worker("other", concurrency=50)
    worker.leave()
    assert len(other.holds) == world.core.counts.reassigned_count == 50


def test_all_workers_fail_and_return_without_a_retry_storm() -> None:
    world = World()
    requester = world.requester()
    assigned_count = 0
    for turn in range(5):
        workers = [world.worker(f"w{number}", instance=f"{turn}", concurrency=20) for number in range(3)]
        for _ in range(60):
            requester.submit(idempotent=True)
        for worker in workers:
            worker.leave()
        assigned_count += sum(len(worker.delivered) for worker in workers)
        world.sleep(1.0)
    assert assigned_count <= world.core.counts.submitted_count * 1.2 + RESERVE_COUNT
