"""Which commands share a pool, that pools which have become alike are one again, and what many pools cost."""

from collections import Counter
from typing import Any

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.fleet import lazy, merging, roster
from taskferry.broker.core.fleet import worker as fleet_worker
from taskferry.broker.core.fleet.pool import Pool
from taskferry.broker.core.fleet.roster import FOLLOWED_MEMBERS_COUNT_MAX
from taskferry.broker.core.fleet.worker import FOLLOWED_COUNT_MAX
from taskferry.loadbalance.registry import STRATEGIES

from tests.unit.broker.core.world import FakeWorker, WatchedStrategy, World

NAMES = [f"c{number}" for number in range(256)]


def crossed(world: World) -> list[FakeWorker]:
    """Workers whose lists divide 256 commands into as many pools: the bits of a command's number say who serves it."""
    return [
        world.worker(f"x{bit}", *(name for number, name in enumerate(NAMES) if number >> bit & 1))
        for bit in range(8)
    ]


def pools_of(world: World) -> set[Pool]:
    return {command.route.pool for command in world.core.roster.commands.values() if command.route.pool}


def looks(world: World, count: int = 1) -> None:
    world.sleep(count * LOOK_INTERVAL_S)


def test_an_assignment_updates_a_bounded_number_of_strategies() -> None:
    assert FOLLOWED_COUNT_MAX == 16
    world = World()
    honest = world.worker("w", *NAMES)
    assert len(honest.session.strategies) == 1
    others = crossed(world)
    assert len(pools_of(world)) == 256
    for worker in (honest, *others):
        assert len(worker.session.memberships()) >= 128
        assert len(worker.session.strategies) <= FOLLOWED_COUNT_MAX + 1, "and what all lazy ones share"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pools_that_have_become_alike_are_one_again(strategy: str) -> None:
    world = World(strategy)
    honest = world.worker("w", *NAMES, concurrency=3)
    requester = world.requester()
    held = requester.submit("c7")
    for worker in crossed(world):
        worker.leave()
    looks(world, 2)
    assert len(pools_of(world)) == len(honest.session.pools) == len(honest.session.memberships()) == 1
    (only,) = pools_of(world)
    assert only.lazy is None
    assert sorted(route.command.name for route in only.routes) == sorted(NAMES)
    assert requester.submit("c9") in honest.holds
    assert requester.submit("c200") in honest.holds
    waiting = requester.submit("c3")
    assert waiting not in honest.holds
    honest.succeed(held)
    assert waiting in honest.holds


def test_pools_become_alike_when_workers_drain_too() -> None:
    world = World()
    world.worker("w", "a", "b")
    other = world.worker("v", "a")
    world.worker("u", "b")
    looks(world, 2)
    assert len(pools_of(world)) == 2, "as many members, but others"
    other.drain()
    third = world.worker("t", "a", "b")
    world.core.drain_worker(world.core.roster.workers["u"], world.now)
    looks(world, 2)
    assert len(pools_of(world)) == 1, "w and t serve both"
    assert len(third.session.strategies) == 1


def test_pools_with_other_strategies_or_targets_stay_apart() -> None:
    world = World(patterns={"b": "random"})
    worker, requester = world.worker("w", "a", "b", "c", concurrency=9), world.requester()
    requester.submit("a", target="w")
    world.worker("v", "c").leave()
    looks(world, 3)
    assert len(pools_of(world)) == 2
    assert len(worker.session.pools) == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_lazy_pool_picks_is_free(strategy: str) -> None:
    world = World(strategy)
    workers = {
        worker.worker_id: worker for worker in (world.worker("w", *NAMES, concurrency=2), *crossed(world))
    }
    requester = world.requester()
    last = next(name for name in reversed(NAMES[:255]) if _pool(world, name).lazy is not None)
    servers = [worker for worker in workers.values() if last in worker.offer.commands]
    slots_count = sum(worker.offer.concurrency for worker in servers)
    for round_ in range(3):
        sent = [requester.submit(last, affinity=f"{number}") for number in range(slots_count)]
        assert world.core.queue.count == 0, "each slot is used"
        waiting = requester.submit(last)
        assert world.core.queue.count == 1
        for worker in servers:
            for request_id in tuple(worker.holds):
                if request_id in sent:
                    worker.succeed(request_id)
        assert world.core.queue.count == 0, round_
        next(worker for worker in servers if waiting in worker.holds).succeed(waiting)
    assert world.outcomes() == {"success": 3 * (slots_count + 1)}


def test_a_lazy_pool_follows_states_and_weights() -> None:
    world = World()
    honest = world.worker("w", *NAMES, concurrency=2)
    others = crossed(world)
    requester = world.requester()
    last = next(name for name in reversed(NAMES[:255]) if _pool(world, name).lazy is not None)
    servers = [worker for worker in (honest, *others) if last in worker.offer.commands]
    world.eject(servers[1])
    servers[2].drain()
    honest.session.weight = 9.0
    honest.session.reposition()
    for _ in range(10):
        requester.submit(last)
    assert (servers[1].holds, servers[2].holds, len(honest.holds)) == ([], [], 2)
    assert all(len(worker.holds) == 1 for worker in servers[3:])


def test_a_lazy_pool_follows_a_weight_that_changes_after_a_pick() -> None:
    world = World()
    honest = world.worker("w", *NAMES, concurrency=3)
    servers = [honest, *crossed(world)]
    requester = world.requester()
    last = next(name for name in reversed(NAMES[:255]) if _pool(world, name).lazy is not None)
    for worker in servers:
        for request_id in [requester.submit(last) for _ in servers]:
            next(holder for holder in servers if request_id in holder.holds).succeed(request_id)
        assert not worker.holds
    honest.session.weight = 100.0
    honest.session.reposition()
    assert all(requester.submit(last) in honest.holds for _ in range(3))


def test_lazy_pools_are_looked_at_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 1)
    monkeypatch.setattr(roster, "STEPS_COUNT_MAX", 1)
    world = World(patterns={"b": "random", "c": "round_robin", "d": "power_of_two"})
    world.worker("w", "a", "b", "c", "d")
    assert [_pool(world, name).lazy is None for name in "abcd"] == [True, False, False, False]
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 4)
    lazy_counts = []
    for _ in range(4):
        lazy_counts.append(sum(_pool(world, name).lazy is not None for name in "abcd"))
        looks(world)
    assert lazy_counts == [3, 2, 1, 0]


def test_a_lazy_pool_that_has_room_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 1)
    world = World()
    general = world.worker("w", "a", "b", concurrency=2)
    special = world.worker("v", "b", concurrency=2)
    requester = world.requester()
    assert [_pool(world, name).lazy is None for name in "ab"] == [True, False]
    running = [requester.submit("b") for _ in range(3)]
    looks(world, 3)
    assert [_pool(world, name).lazy is None for name in "ab"] == [True, False], "there is no room"
    general.leave()
    looks(world, 2)
    assert _pool(world, "b").lazy is None
    assert len(special.session.strategies) == 1
    special.succeed(next(request_id for request_id in running if request_id in special.holds))
    assert requester.submit("b") in special.holds


def test_a_pool_becomes_lazy_and_is_followed_again_with_who_is_busy_and_who_is_not_eligible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 1)
    world = World()
    requester = world.requester()
    free, busy, silent = (world.worker(name, "b") for name in ("free", "busy", "silent"))
    world.worker("other", "a")
    requester.submit("b")
    holder = next(worker for worker in (free, busy, silent) if worker.holds)
    silent = next(worker for worker in (silent, free) if worker is not holder)
    silent.fall_silent()
    general = world.worker("w", "a", "b")
    lazy = [name for name in "ab" if _pool(world, name).lazy is not None]
    assert lazy == ["b"], "one of its pools, with the members that it has"
    for _ in range(2):
        requester.submit("b")
    assert world.core.queue.count == 0
    assert not silent.holds
    waiting = requester.submit("b")
    general.leave()
    looks(world, 2)
    assert _pool(world, "b").lazy is None
    silent.speak_again()
    assert world.core.queue.count == 0
    assert waiting in silent.holds


def test_pools_are_merged_with_a_member_that_is_not_eligible() -> None:
    world = World()
    first, second = world.worker("w", "a", "b"), world.worker("v", "a", "b")
    second.fall_silent()
    world.worker("u", "a").leave()
    looks(world, 2)
    (only,) = pools_of(world)
    assert [only in worker.session.pools for worker in (first, second)] == [True, False]
    second.speak_again()
    assert only in second.session.pools


def test_the_work_of_one_check_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert merging.STEPS_COUNT_MAX == 2000
    monkeypatch.setattr(merging, "STEPS_COUNT_MAX", 1)
    monkeypatch.setattr(roster, "STEPS_COUNT_MAX", 1)
    world = World()
    world.worker("w", *NAMES[:8])
    for number in range(3):
        world.worker(f"x{number}", *(name for at, name in enumerate(NAMES[:8]) if at >> number & 1)).leave()
    counts = []
    for _ in range(60):
        looks(world)
        counts.append(len(pools_of(world)))
    assert counts[0] > 1
    assert counts[-1] == 1
    assert sorted(counts, reverse=True) == counts


def _pool(world: World, name: str) -> Pool:
    found = world.core.roster.commands[name].route.pool
    assert found is not None
    return found


# --- what many pools cost -------------------------------------------------------------------------------------------


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the calls of all strategies: each is some work for one worker."""
    counts: Counter[str] = Counter()
    for name in ("add", "remove", "changed", "pick"):
        original = getattr(WatchedStrategy, name)

        def counted(*arguments: Any, name: str = name, original: Any = original) -> Any:
            counts[name] += 1
            return original(*arguments)

        monkeypatch.setattr(WatchedStrategy, name, counted)
    return counts


@pytest.mark.parametrize("workers_count", [20, 60])
def test_a_join_that_divides_pools_costs_no_work_for_each_of_their_members(
    work: Counter[str], workers_count: int
) -> None:
    assert FOLLOWED_MEMBERS_COUNT_MAX == 500
    world = World(check_interval=1000)
    for number in range(workers_count):
        world.worker(f"w{number}", *NAMES)
    worst = 0
    for bit in range(8):
        work.clear()
        world.worker(f"x{bit}", *(name for number, name in enumerate(NAMES) if number >> bit & 1))
        worst = max(worst, work.total())
    assert len(pools_of(world)) == 256
    # 128 pools were divided off in the last join, of which 17 are its own to follow.
    assert worst <= FOLLOWED_MEMBERS_COUNT_MAX + FOLLOWED_COUNT_MAX + 1


def test_what_a_join_divides_off_beyond_the_bound_is_followed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    for count_max, is_lazy in ((3, True), (4, False)):
        monkeypatch.setattr(roster, "FOLLOWED_MEMBERS_COUNT_MAX", count_max)
        world = World()
        alike = [world.worker(f"w{number}", "a", "b") for number in range(3)]
        odd = world.worker("v", "b", concurrency=2)
        assert (_pool(world, "b").lazy is not None) == is_lazy
        requester = world.requester()
        assert all(requester.submit("b") for _ in range(4))
        assert [len(worker.holds) for worker in (*alike, odd)] == [1, 1, 1, 1]
        looks(world)
        assert _pool(world, "b").lazy is None
        for worker in alike:
            assert worker.session.changes is None
            assert len(worker.session.strategies) == 2


@pytest.mark.parametrize("workers_count", [40, 120])
def test_a_pick_from_lazy_pools_costs_a_bounded_number_of_changes(
    work: Counter[str], workers_count: int
) -> None:
    assert lazy.SEEN_COUNT_MAX == 8
    world = World(check_interval=10_000)
    workers = {worker.worker_id: worker for worker in crossed(world)}
    for number in range(workers_count):
        workers[f"w{number}"] = world.worker(f"w{number}", *NAMES, concurrency=5)
    lazies = [name for name in NAMES[:255] if _pool(world, name).lazy is not None]
    requester = world.requester()
    for name in lazies:
        requester.submit(name)  # the first pick brings in all members
    for worker in workers.values():
        for request_id in tuple(worker.holds):
            worker.succeed(request_id)
    held: list[str] = []
    work.clear()
    for number in range(3000):
        held.append(requester.submit(lazies[number % len(lazies)]))
        if len(held) == 2 * workers_count:
            request_id = held.pop(0)
            next(worker for worker in workers.values() if request_id in worker.holds).succeed(request_id)
    assert world.core.queue.count == 0
    # In the pools that both workers of an assignment and a response follow; for each pick; and the few that are needed.
    assert work["changed"] + work["add"] + work["remove"] <= 3000 * (
        2 * FOLLOWED_COUNT_MAX + 3 * lazy.SEEN_COUNT_MAX + 4
    )
    assert work["pick"] <= 3000 * (lazy.SEEN_COUNT_MAX + 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_lazy_pool_finds_every_free_slot_however_much_has_changed(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "SEEN_COUNT_MAX", 1)
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 0)
    world = World(strategy)
    workers = [world.worker(f"w{number}", "a", "b") for number in range(5)]
    requester = world.requester()
    requester.submit("a")
    for worker in workers:
        for request_id in tuple(worker.holds):
            worker.succeed(request_id)
    running = [requester.submit("b") for _ in workers]
    assert [len(worker.holds) for worker in workers] == [1] * 5
    for worker in workers[:3]:
        worker.succeed(worker.holds[0])
    again = [requester.submit("a") for _ in range(3)]
    assert all(worker.holds[0] in running for worker in workers[3:])
    assert sorted(request_id for worker in workers[:3] for request_id in worker.holds) == sorted(again)
    assert world.core.queue.count == 0


def test_requests_that_wait_on_a_lazy_pool_are_served_in_a_panic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 0)
    world = World()
    silent, busy = world.worker("silent", "a", "b"), world.worker("busy", "a", "b")
    requester = world.requester()
    silent.fall_silent()
    requester.submit("a")
    waiting = requester.submit("a")
    assert waiting not in silent.holds
    busy.fall_silent()
    assert waiting in silent.holds


def test_a_worker_that_has_left_reports_no_more_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 0)
    world = World()
    leaving, other = world.worker("w"), world.worker("v")
    requester = world.requester()
    sent = [requester.submit(idempotent=True) for _ in range(2)]
    changes = other.session.changes
    assert changes is not None
    session = leaving.session
    leaving.leave()
    assert (session.changes, session.strategies) == (None, [])
    assert changes.latest(0, 100) == [other.session]
    other.succeed(next(request_id for request_id in sent if request_id in other.holds))
    assert world.core.queue.count == 0


def test_requests_wait_on_more_routes_than_a_worker_of_lazy_pools_has_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 0)
    world = World()
    narrow, wide = world.worker("narrow", "a"), world.worker("wide", "a", "b", "c")
    requester = world.requester()
    first, second = requester.submit("a"), requester.submit("a")
    waiting = {name: requester.submit(name) for name in "abc"}
    for request_id in (first, second):
        if request_id in narrow.holds:
            narrow.succeed(request_id)
    assert narrow.holds == [waiting["a"]]
    assert wide.holds in ([first], [second])


def test_a_lazy_pool_that_is_used_again_is_soon_as_cheap_as_any(
    work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 0)
    world = World()
    workers = [world.worker(f"w{number}", "a", "b") for number in range(60)]
    world.worker("odd", "b")
    requester = world.requester()

    def call(name: str) -> None:
        sent = requester.submit(name)
        next(worker for worker in workers if sent in worker.holds).succeed(sent)

    call("a")
    for request_id in [requester.submit("b") for _ in range(61)]:
        holder = next((worker for worker in workers if request_id in worker.holds), None)
        if holder is not None:
            holder.succeed(request_id)
    for _ in range(60 // lazy.SEEN_COUNT_MAX + 1):
        call("a")
    work.clear()
    for _ in range(100):
        call("a")
    assert work.total() <= 3 * 100, "the worker of the call before, and the pick"


def test_a_lazy_pool_picks_in_a_panic_whom_it_had_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_worker, "FOLLOWED_COUNT_MAX", 0)
    world = World()
    workers = [world.worker(name, concurrency=1) for name in ("first", "second")]
    requester = world.requester()
    workers[0].fall_silent()
    sent = requester.submit()
    workers[1].succeed(sent)
    workers[1].fall_silent()
    requester.submit()
    requester.submit()
    assert [len(worker.holds) for worker in workers] == [1, 1]
