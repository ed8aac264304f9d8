"""A worker that fails while others do not gets nothing for a while, and is readmitted by one probe and a slow start."""

from math import inf
from typing import Any

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.fleet.tally import RECENT_COUNT_MIN, Tally
from taskferry.broker.core.health import fares
from taskferry.broker.core.health.ejection import (
    EJECTION_S,
    EJECTION_S_MAX,
    FORGIVENESS_S,
)
from taskferry.broker.core.health.health import FARES_S, HELD_SHARE_MIN
from taskferry.broker.core.health.streak import ACCUSERS_COUNT_MAX, FAILURES_COUNT_MIN, Streak

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World

LOOK_S = 0.3
"""Longer than the core's LOOK_INTERVAL_S."""


def fail_once(requester: FakeRequester, worker: FakeWorker, code: str | None = None) -> None:
    """A request of someone in the world of `requester` fails."""
    worker.fail(fresh(requester.world, target=worker.worker_id), "broken", code)


def fresh(world: World, command: str = "echo", **fields: Any) -> str:
    """A request of one of several requesters that have nothing to do with each other."""
    request_id = f"of someone {len(world.submitted)}"
    return world.anyone().submit(command, request_id=request_id, **fields)


def succeed_once(requester: FakeRequester, worker: FakeWorker) -> None:
    worker.succeed(requester.submit(target=worker.worker_id))


def world_of(count: int, concurrency: int = 2) -> tuple[World, list[FakeWorker], FakeRequester]:
    world = World()
    workers = [world.worker(f"w{number}", concurrency=concurrency) for number in range(count)]
    return world, workers, world.requester()


# --- ejections ---


def test_five_failures_in_a_row_eject_and_four_do_not() -> None:
    world, (worker, other), requester = world_of(2)
    assert FAILURES_COUNT_MIN == 5
    for _ in range(4):
        fail_once(requester, worker)
    assert worker.state == "healthy"
    fail_once(requester, worker)
    assert worker.state == "ejected"
    assert worker.session.reason == "5 failures in a row: broken"
    assert world.events.notified == ["w0: healthy -> ejected"]
    assert world.core.health.ejections.counts["failures"] == 1
    for _ in range(3):
        requester.submit()
    assert (worker.holds, len(other.holds)) == ([], 2)
    assert world.core.queue.count == 1


def test_a_success_resets_the_count() -> None:
    _, (worker, _), requester = world_of(2)
    for _ in range(3):
        for _ in range(4):
            fail_once(requester, worker)
        succeed_once(requester, worker)
    assert worker.state == "healthy"


def test_failures_of_all_its_commands_count_together() -> None:
    world = World()
    worker, _ = world.worker("w", "a", "b"), world.worker("v", "a", "b")
    for number in range(5):
        worker.fail(fresh(world, "ab"[number % 2], target="w"))
    assert worker.state == "ejected"


@pytest.mark.parametrize("code", ["bad_request", "too_large", "cancelled", "not_representable"])
def test_failures_caused_by_the_requester_do_not_count(code: str) -> None:
    _, (worker, _), requester = world_of(2)
    for _ in range(20):
        fail_once(requester, worker, code)
    assert worker.state == "healthy"
    assert worker.session.failed_count == 20


def test_timeouts_count() -> None:
    world, (worker, _), _ = world_of(2, concurrency=5)
    for _ in range(5):
        fresh(world, target="w0", timeout=1.0)
    world.sleep(1.1)
    assert worker.state == "ejected"
    assert worker.session.reason == "5 failures in a row: no answer in time"


@pytest.mark.parametrize(
    ("waited_s", "failed_count"), [(10 * (1 - HELD_SHARE_MIN), 1), (10 * (1 - HELD_SHARE_MIN) + 0.1, 0)]
)
def test_a_worker_that_got_a_request_late_is_not_to_blame_for_its_timeout(
    waited_s: float, failed_count: int
) -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    running = requester.submit()
    late = requester.submit(timeout=10.0)
    world.sleep(waited_s)
    worker.succeed(running)
    assert worker.holds == [late]
    world.sleep(10.0 - waited_s + 0.1)
    assert requester.outcome(late) == "timeout"
    assert worker.session.failed_count == failed_count


def test_a_worker_that_held_a_request_for_just_half_of_its_time_is_to_blame() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    requester.submit(timeout=10.0)
    (request,) = requester.session.requests.values()
    for held_s, failed_count in ((HELD_SHARE_MIN * 10.0 - 0.5, 0), (HELD_SHARE_MIN * 10.0, 1)):
        world.core.health.expired(request, world.now + held_s)
        assert worker.session.failed_count == failed_count


def test_the_only_worker_is_never_ejected() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    for _ in range(50):
        fail_once(requester, worker)
    assert worker.state == "healthy"


def test_an_error_that_all_workers_share_ejects_none() -> None:
    world = World("round_robin")
    workers = [world.worker(f"w{number}") for number in range(4)]
    requester = world.requester()
    for _ in range(400):
        request_id = requester.submit()
        (worker,) = (worker for worker in workers if worker.holds)
        worker.fail(request_id)
    assert {worker.state for worker in workers} == {"healthy"}


@pytest.mark.parametrize(("peer_fails", "needed"), [(0.0, 5), (0.015, 5), (0.02, 10), (0.3, 20), (0.5, 40)])
def test_the_more_its_peers_fail_the_longer_a_streak_must_be(peer_fails: float, needed: int) -> None:
    world, (worker, peer, silent), requester = world_of(3)
    tally = peer.session.commands[world.core.roster.commands["echo"]]
    tally.failed_count = round(1000 * peer_fails)
    tally.succeeded_count = 1000 - tally.failed_count
    for _ in range(needed - 1):
        fail_once(requester, worker)
    assert worker.state == "healthy"
    fail_once(requester, worker)
    assert worker.state == "ejected"
    assert silent.state == "healthy"


@pytest.mark.parametrize(
    ("recent_count", "state"), [(RECENT_COUNT_MIN - 1, "healthy"), (RECENT_COUNT_MIN, "ejected")]
)
def test_recent_results_of_peers_count_if_there_are_enough(recent_count: int, state: str) -> None:
    world, (worker, peer), requester = world_of(2)
    tally = peer.session.commands[world.core.roster.commands["echo"]]
    tally.failed_count = 1000
    tally.look()
    tally.succeeded_count = recent_count
    for _ in range(5):
        fail_once(requester, worker)
    assert worker.state == state


def test_the_shares_of_several_peers_are_averaged() -> None:
    world, (worker, *peers), requester = world_of(4)
    for peer, failed_count in zip(peers, (0, 30, 60), strict=True):
        tally = peer.session.commands[world.core.roster.commands["echo"]]
        tally.failed_count, tally.succeeded_count = failed_count, 100 - failed_count
    for _ in range(19):  # 20 are too many at 30 %, and 10 are not
        fail_once(requester, worker)
    assert worker.state == "healthy"
    fail_once(requester, worker)
    assert worker.state == "ejected"


def test_a_worker_without_a_healthy_peer_is_not_compared() -> None:
    _, (worker, peer), requester = world_of(2)
    peer.fall_silent()
    for _ in range(20):
        fail_once(requester, worker)
    assert worker.state == "healthy"


@pytest.mark.parametrize(
    ("failed_count", "succeeded_count", "share"),
    [(0, 0, None), (3, 0, 1.0), (0, 3, 0.0), (4, 12, 0.25), (5, RECENT_COUNT_MIN - 5, 0.25), (10, 40, 0.2)],
)
def test_the_share_of_failures(failed_count: int, succeeded_count: int, share: float | None) -> None:
    tally = Tally()
    tally.failed_count, tally.succeeded_count, tally.neutral_count = failed_count, succeeded_count, 99
    assert tally.failure_share() == share


def test_a_worker_in_probation_is_not_compared_with() -> None:
    world, (first, second, _), _ = world_of(3)
    world.eject(first)
    world.sleep(EJECTION_S + LOOK_S)
    assert first.state == "probing"
    world.eject(second)


def test_a_streak_is_judged_only_when_it_has_doubled() -> None:
    streak = Streak()
    judged = []
    for count in range(1, 200):
        streak.fail(None)
        if streak.is_to_judge():
            judged.append(count)
    assert judged == [5, 10, 20, 40, 80, 160]


@pytest.mark.parametrize(("count", "bound"), [(2, 1), (3, 1), (6, 1), (7, 2), (10, 3), (11, 3)])
def test_at_most_three_in_ten_may_be_ejected_but_always_one(count: int, bound: int) -> None:
    world, workers, requester = world_of(count)
    for worker in workers[:bound]:
        world.eject(worker)
    for worker in workers[bound:]:
        for _ in range(20):
            fail_once(requester, worker)
    assert [worker.state for worker in workers] == ["ejected"] * bound + ["healthy"] * (count - bound)
    assert world.core.health.ejections.counts["failures"] == bound


def test_the_share_holds_for_every_command() -> None:
    world = World()
    first, both, second = world.worker("1", "a"), world.worker("2", "a", "b"), world.worker("3", "b")
    world.eject(first)
    for _ in range(20):
        both.fail(fresh(world, "b", target="2"))
    assert both.state == "healthy", "no worker would be left for a"
    assert second.state == "healthy"


# --- durations and probes ---


def test_an_ejection_ends_in_a_probe_of_one_assignment() -> None:
    world, (worker, other), requester = world_of(2, concurrency=3)
    world.eject(worker)
    world.sleep(EJECTION_S - LOOK_S)
    assert worker.state == "ejected"
    world.sleep(2 * LOOK_S)
    assert worker.state == "probing"
    assert worker.session.capacity == 1
    for _ in range(5):
        requester.submit()
    assert len(worker.holds) == 1
    assert len(other.holds) == 3
    worker.succeed(worker.holds[0])
    assert worker.state == "healthy"
    assert worker.session.capacity == 3
    assert len(worker.holds) == 1, "the waiting request is assigned at once"
    assert world.events.notified == [
        "w0: healthy -> ejected",
        "w0: ejected -> probing",
        "w0: probing -> healthy",
    ]
    assert world.core.health.ejections.readmitted_count == 1


def test_the_probe_starts_on_time_with_a_request_that_waits() -> None:
    world, (worker, _), requester = world_of(2, concurrency=1)
    world.eject(worker)
    running, waiting = requester.submit(timeout=1000.0), requester.submit(timeout=1000.0)
    world.sleep(EJECTION_S - LOOK_INTERVAL_S)
    assert (worker.state, worker.holds) == ("ejected", [])
    world.sleep(LOOK_INTERVAL_S)
    assert (worker.state, worker.holds) == ("probing", [waiting])
    assert worker.session.reason == "one assignment decides whether it is readmitted"
    assert requester.outcome(running) is None


def test_every_readmission_is_counted() -> None:
    world, (worker, _), _ = world_of(2)
    for times in (1, 2):
        world.eject(worker)
        world.sleep(times * EJECTION_S + LOOK_S)
        world.probe(worker, succeeds=True)
        assert world.core.health.ejections.readmitted_count == times
        assert world.core.health.ejections.counts["failures"] == times


def test_a_worker_that_still_has_assignments_gets_one_more_as_probe() -> None:
    world, (worker, _), requester = world_of(2, concurrency=3)
    held = requester.submit(target="w0", timeout=1000.0)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    assert (worker.state, worker.session.capacity) == ("probing", 2)
    for _ in range(3):
        requester.submit(target="w0", timeout=1000.0)
    assert len(worker.holds) == 2
    worker.succeed(held)
    assert worker.state == "healthy"


@pytest.mark.uncovered
def test_a_failed_probe_ejects_for_longer_each_time_up_to_a_bound() -> None:
    world, (worker, _), _ = world_of(2)
    world.eject(worker)
    for times in range(1, 13):
        expected_s = min(times * EJECTION_S, EJECTION_S_MAX)
        world.sleep(expected_s - LOOK_S)
        assert worker.state == "ejected"
        world.sleep(2 * LOOK_S)
        world.probe(worker, succeeds=False)
        assert worker.state == "ejected"
        assert worker.session.reason == "failed its probe: still broken"
    assert world.core.health.ejections.counts == {"failures": 1, "outlier": 0, "canary": 0, "probe": 12}


@pytest.mark.uncovered
@pytest.mark.parametrize(
    ("calm_s", "expected_s"),
    [
        (0.0, 3 * EJECTION_S),
        (FORGIVENESS_S - 1, 3 * EJECTION_S),
        (FORGIVENESS_S, 2 * EJECTION_S),
        (2 * FORGIVENESS_S, EJECTION_S),
        (9 * FORGIVENESS_S, EJECTION_S),
    ],
)
def test_ejections_are_forgotten_one_by_one(calm_s: float, expected_s: float) -> None:
    world, (worker, _), _ = world_of(2)
    for times in (1, 2):
        world.eject(worker)
        world.sleep(times * EJECTION_S + LOOK_S)
        world.probe(worker, succeeds=True)
    world.sleep(calm_s)
    world.eject(worker)
    assert worker.session.record.ejected_until == world.now + expected_s


def test_a_probe_that_is_never_answered_ejects() -> None:
    world, (worker, _), requester = world_of(2)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    requester.account.fares.succeeded("echo", "w1", world.now)
    while not worker.holds:
        requester.submit(timeout=1.0)
    world.sleep(1.1)
    assert worker.state == "ejected"
    assert worker.session.reason == "failed its probe: no answer in time"


def test_a_failed_probe_ejects_whatever_the_share() -> None:
    world, (first, second, _), _ = world_of(3)
    world.eject(first)
    world.sleep(EJECTION_S + LOOK_S)
    world.eject(second)
    world.probe(first, succeeds=False)
    assert (first.state, second.state) == ("ejected", "ejected")


def test_the_verdict_does_not_contain_the_text_of_the_handler() -> None:
    world = World()
    worker = world.worker("bad", concurrency=9)
    world.worker("good", concurrency=9)
    world.eject(worker)
    assert worker.session.reason == "5 failures in a row: broken"
    assert worker.session.verdict == "5 failures in a row"


# --- a single requester ---


@pytest.mark.parametrize("fields", [{"target": "w0"}, {"affinity": "somebody"}])
def test_a_requester_that_steers_its_failures_ejects_nobody(fields: dict[str, Any]) -> None:
    world = World("consistent_hash")
    worker, *others = [world.worker(f"w{number}") for number in range(4)]
    requester = world.requester()
    for other in others:
        succeed_once(requester, other)
    for _ in range(100):
        request_id = requester.submit(**fields)
        (victim,) = (worker for worker in (worker, *others) if worker.holds)
        victim.fail(request_id)
    assert {worker.state for worker in (worker, *others)} == {"healthy"}


def test_an_affinity_that_the_strategy_ignores_steers_nothing() -> None:
    world = World("round_robin")
    bad, good = world.worker("bad"), world.worker("good")
    requester = world.requester()
    for _ in range(20):
        request_id = requester.submit(affinity="somebody")
        if request_id in bad.holds:
            bad.fail(request_id)
        else:
            good.succeed(request_id)
        world.sleep(1.0)
    assert bad.state == "ejected"


def test_a_requester_that_sends_what_fails_everywhere_ejects_nobody_however_good_their_past() -> None:
    world = World("round_robin")
    workers = [world.worker(f"w{number}") for number in range(10)]
    honest, careless = world.requester(world.account("honest")), world.requester(world.account("careless"))
    for _ in range(1000):
        request_id = honest.submit()
        next(worker for worker in workers if worker.holds).succeed(request_id)
    for _ in range(500):
        request_id = careless.submit()
        next(worker for worker in workers if worker.holds).fail(request_id)
    assert {worker.state for worker in workers} == {"healthy"}


def test_an_error_that_begins_everywhere_at_once_ejects_nobody_however_good_their_past() -> None:
    world = World("round_robin")
    workers = [world.worker(f"w{number}") for number in range(10)]
    requester = world.requester()
    for number in range(1000):
        request_id = requester.submit()
        worker = next(worker for worker in workers if worker.holds)
        worker.succeed(request_id) if number < 500 else worker.fail(request_id)
    assert {worker.state for worker in workers} == {"healthy"}


def test_a_requester_that_fares_well_elsewhere_is_believed_alone() -> None:
    world, (worker, other), requester = world_of(2, concurrency=1)
    succeed_once(requester, other)  # where it chose: says nothing
    world.sleep(LOOK_S)
    busy = requester.submit(target="w0")
    other.succeed(requester.submit())
    worker.succeed(busy)
    requester.submit(target="w1")
    for _ in range(4):
        worker.fail(requester.submit())
    assert worker.state == "healthy"
    worker.fail(requester.submit())
    assert worker.state == "ejected"


@pytest.mark.parametrize(("ago_s", "state"), [(FARES_S, "ejected"), (FARES_S + 1.0, "healthy")])
def test_how_it_fared_is_forgotten(ago_s: float, state: str) -> None:
    world, (worker, _), requester = world_of(2, concurrency=1)
    requester.account.fares.succeeded("echo", "w1", world.now - ago_s)
    requester.submit(target="w1")
    for _ in range(5):
        worker.fail(requester.submit())
    assert worker.state == state


def test_a_timeout_that_is_shorter_than_the_command_takes_blames_nobody() -> None:
    world, (worker, other), requester = world_of(2, concurrency=2)
    slow = requester.submit(target="w1")
    world.sleep(2.0)
    other.succeed(slow)
    for timeout_s, failed_count in ((1.9, 0), (2.1, 1)):
        fresh(world, target="w0", timeout=timeout_s)
        world.sleep(timeout_s + 0.1)
        assert worker.session.failed_count == failed_count


def test_a_probe_that_one_requester_fails_decides_nothing_and_several_do() -> None:
    world, (worker, _), requester = world_of(2)
    world.eject(worker)
    world.sleep(EJECTION_S + LOOK_S)
    for _ in range(20):
        worker.fail(requester.submit(target="w0"))
    assert worker.state == "probing"
    for _ in range(3):  # with as many of the first
        fail_once(requester, worker)
    assert worker.state == "ejected"


def test_the_failures_of_one_account_weigh_no_more_than_all_others_together() -> None:
    streak = Streak()
    for account, weight in (("a", 0), ("a", 0), ("b", 2), ("b", 4), ("b", 4), ("c", 6), ("b", 6), (None, 8)):
        streak.fail(account)
        assert streak.weight == weight, account
    assert streak.count == 8
    streak.settle(1)
    assert (streak.count, streak.weight, streak.is_to_judge()) == (1, 0, False)


def test_the_accounts_of_a_streak_are_bounded() -> None:
    streak = Streak()
    for number in range(ACCUSERS_COUNT_MAX + 5):
        streak.fail(f"account {number}")
    assert (streak.weight, streak.count) == (ACCUSERS_COUNT_MAX, ACCUSERS_COUNT_MAX + 5)


def test_fares_are_kept_of_the_last_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fares.COMMANDS_COUNT_MAX == 100
    monkeypatch.setattr(fares, "COMMANDS_COUNT_MAX", 2)
    kept = fares.Fares()
    for at, (command, worker_id) in enumerate([("a", "v"), ("b", "v"), ("a", "w"), ("a", "w"), ("c", "v")]):
        kept.succeeded(command, worker_id, float(at))
    assert [kept.elsewhere_at("a", worker_id) for worker_id in "vwx"] == [3.0, 0.0, 3.0]
    assert kept.elsewhere_at("b", "x") == -inf
    assert (kept.elsewhere_at("c", "v"), kept.elsewhere_at("c", "x")) == (-inf, 4.0)
