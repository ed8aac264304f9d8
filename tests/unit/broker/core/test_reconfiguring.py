"""Strategies and settings change while the broker serves: requests in flight are left alone, new ones obey them."""

import pytest
from taskferry.loadbalance.registry import STRATEGIES

from tests.unit.broker.core.test_strategy_patterns import strategies_of
from tests.unit.broker.core.world import World


def test_the_next_request_is_placed_by_the_new_strategy() -> None:
    world = World("least_loaded")
    light, heavy = (
        world.worker(name, concurrency=50, weight=weight) for name, weight in (("l", 1), ("h", 100))
    )
    requester = world.requester()
    for _ in range(6):
        requester.submit()
    assert (len(light.holds), len(heavy.holds)) == (0, 6)
    world.reconfigure("round_robin")
    for _ in range(6):
        requester.submit()
    assert (len(light.holds), len(heavy.holds)) == (3, 9)
    assert strategies_of(world) == {"echo": "RoundRobin"}


def test_requests_in_flight_are_answered_once_by_their_worker() -> None:
    world = World("random")
    workers = [world.worker(f"w{number}", concurrency=1) for number in range(2)]
    requester = world.requester()
    running = [requester.submit() for _ in range(2)]
    waiting = [requester.submit() for _ in range(2)]
    world.reconfigure("power_of_two")
    assert sorted(request_id for worker in workers for request_id in worker.holds) == running
    for worker in workers * 2:
        worker.succeed(worker.holds[0])
    assert sorted(answer.request_id for answer in world.answers) == sorted(running + waiting)
    assert world.outcomes() == {"success": 4}


@pytest.mark.parametrize("before", STRATEGIES)
def test_pools_are_as_if_the_workers_had_just_joined(before: str) -> None:
    world = World(before, patterns={"a": "random", "b": "round_robin"})
    worker = world.worker("w", "a", "b", "c", "d")
    world.worker("v", "a", "b", "c", "d")
    world.reconfigure("least_loaded")
    assert len(worker.session.pools) == 1, "commands that are now alike share a pool"
    world.reconfigure("least_loaded", patterns={"a": "consistent_hash", "[bc]": "random"})
    assert len(worker.session.pools) == 3
    assert strategies_of(world) == {"a": "ConsistentHash", "b": "Random", "c": "Random", "d": "LeastLoaded"}


def test_strategies_that_do_not_change_keep_their_state() -> None:
    world = World("round_robin", timeout_s=30)
    workers = [world.worker(f"w{number}", concurrency=50) for number in range(2)]
    requester = world.requester()
    command = world.core.roster.commands["echo"]
    assert command.route.pool is not None
    strategy = command.route.pool.strategy
    requester.submit()
    world.reconfigure("round_robin", timeout_s=1)
    assert command.route.pool.strategy is strategy
    requester.submit()
    assert [len(worker.holds) for worker in workers] == [1, 1], "the strategy remembers which worker is next"


def test_a_later_command_gets_the_new_strategy() -> None:
    world = World("random")
    world.reconfigure("random", patterns={"new": "round_robin"})
    world.worker("w", "old", "new")
    assert strategies_of(world) == {"old": "Random", "new": "RoundRobin"}


def test_full_ejected_and_draining_workers_stay_as_they_are() -> None:
    world = World("random")
    full, ejected, draining, well = (world.worker(name, concurrency=2) for name in ("f", "e", "d", "w"))
    world.eject(ejected)
    draining.drain()
    requester = world.requester()
    for _ in range(2):
        requester.submit(target="f")
    world.reconfigure("round_robin")
    for _ in range(2):
        requester.submit()
    assert [len(worker.holds) for worker in (full, ejected, draining, well)] == [2, 0, 0, 2]
    requester.submit()
    assert world.core.queue.count == 1
    full.succeed(full.holds[0])
    assert len(full.holds) == 2, "a slot that becomes free takes a waiting request"


def test_requests_with_a_target_go_on_waiting() -> None:
    world = World("random")
    world.worker("v", concurrency=1)
    worker = world.worker("w", concurrency=1)
    requester = world.requester()
    requester.submit(target="w")
    waiting = requester.submit(target="w")
    world.reconfigure("least_loaded")
    worker.succeed(worker.holds[0])
    assert worker.holds == [waiting]


def test_new_bounds_apply_to_new_requests_only() -> None:
    world = World(queue_count_max=10, in_flight_count_max=10)
    world.worker("w", concurrency=1)
    requester = world.requester()
    for _ in range(4):
        requester.submit()
    world.reconfigure(queue_count_max=3)
    assert world.answers == []
    requester.submit()
    assert "3 requests wait (queue_count_max)" in world.answers[-1].text
    world.reconfigure(queue_count_max=100, in_flight_count_max=4)
    requester.submit()
    assert "over 4 requests in flight" in world.answers[-1].text
    world.reconfigure(in_flight_count_max=100, queue_size_bytes_max=0)
    requester.submit(data=b'"x"')
    assert "0 bytes of data wait (queue_size_bytes_max)" in world.answers[-1].text


def test_a_new_timeout_applies_to_new_requests() -> None:
    world = World(timeout_s=30)
    world.worker("w", concurrency=2)
    requester = world.requester()
    requester.submit(request_id="old")
    world.reconfigure(timeout_s=1)
    requester.submit(request_id="new")
    world.sleep(2)
    assert [answer.request_id for answer in world.answers] == ["new"]
    world.sleep(30)
    assert [answer.request_id for answer in world.answers] == ["new", "old"]


@pytest.mark.parametrize(("share", "is_retried"), [(0.0, False), (1.0, True)])
def test_new_shares_of_extra_load(share: float, is_retried: bool) -> None:
    world = World(retries_share_max=1.0 - share, hedges_share_max=1.0 - share)
    world.reconfigure(retries_share_max=share, hedges_share_max=share)
    workers = [world.worker(name, concurrency=2) for name in ("v", "w")]
    world.requester().submit(idempotent=True)
    (holder,) = (worker for worker in workers if worker.holds)
    holder.leave()
    assert world.outcomes() == ({} if is_retried else {"worker_lost": 1})
    world.worker(holder.worker_id, concurrency=2)
    world.requester().submit(idempotent=True, hedge=0.1)
    world.sleep(1.0)
    assert world.core.counts.hedged_count == is_retried


def test_a_command_without_workers_stays_so() -> None:
    world = World("random")
    world.worker("w").leave()
    world.reconfigure("least_loaded")
    requester = world.requester()
    assert requester.outcome(requester.submit()) == "no_available_workers"
    worker = world.worker("w")
    assert worker.holds == []
    worker.succeed(requester.submit())
    assert requester.outcome("r2") == "success"
