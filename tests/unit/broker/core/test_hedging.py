"""Hedges: when they are sent, to which worker, how many, and what happens to the two copies."""

from typing import Any

import pytest
from taskferry.broker.core.delivery.budget import TURN_S as BUDGET_TURN_S
from taskferry.broker.core.delivery.deadlines import TICK_S
from taskferry.broker.core.delivery.hedging import DURATIONS_COUNT_MIN
from taskferry.broker.core.measures.histogram import TURN_S, Histogram
from taskferry.protocol.errors import NOT_DELIVERED, NotRepresentable, TooLarge
from taskferry.protocol.messages import Result

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World


def hedged_world(**settings: Any) -> tuple[World, FakeWorker, FakeWorker, FakeRequester, str]:
    """A request that two workers have: the first at once, the second as a hedge after 0.2 s."""
    world = World(**settings)
    first, second, requester = world.worker("first"), world.worker("second"), world.requester()
    request_id = requester.submit(hedge=0.2, idempotent=True, timeout=10.0)
    assert first.holds == [request_id]
    world.sleep(0.19)
    assert second.holds == [], "not early"
    world.sleep(0.01 + TICK_S)
    assert second.holds == [request_id]
    assert world.core.counts.hedged_count == 1
    return world, first, second, requester, request_id


# --- when, and to which worker ---


def test_a_hedge_gets_the_remaining_time() -> None:
    _, first, second, _, _ = hedged_world()
    assert first.delivered[0].timeout_s == 10.0
    assert second.delivered[0].timeout_s == pytest.approx(9.8, abs=2 * TICK_S)


def test_a_request_answered_in_time_is_not_hedged() -> None:
    world = World()
    world.worker("first")
    world.worker("second")
    requester = world.requester()
    request_id = requester.submit(hedge=0.2, idempotent=True)
    world.sleep(0.1)
    (holder,) = (worker.port for worker in world.core.roster.workers.values() if worker.in_flight_count)
    assert isinstance(holder, FakeWorker)
    holder.succeed(request_id)
    world.sleep(1.0)
    assert world.core.counts.hedged_count == 0


def test_a_request_is_hedged_once() -> None:
    world, first, _, requester, request_id = hedged_world()
    third = world.worker("third")
    world.sleep(5.0)
    assert third.delivered == []
    first.leave()
    world.sleep(4.0)
    assert third.delivered == []
    assert world.core.counts.hedged_count == 1
    assert requester.outcome(request_id) is None


def test_without_idempotent_it_is_refused() -> None:
    world = World()
    world.worker()
    requester = world.requester()
    answer = requester.answer(requester.submit(hedge=0.2))
    text = "hedge: needs idempotent: true, because the command may run twice"
    assert answer.failure == ("bad_request", text, None, NOT_DELIVERED, None, None)


@pytest.mark.parametrize("affinity", ["a", "b", "c", "d"])
def test_a_hedge_follows_its_affinity(affinity: str) -> None:
    world = World("consistent_hash")
    workers, requester = [world.worker(f"w{number}") for number in range(8)], world.requester()
    request_id = requester.submit(affinity=affinity, hedge=0.2, idempotent=True)
    (first,) = (worker for worker in workers if worker.holds)
    world.sleep(0.3)
    (second,) = (worker for worker in workers if worker.holds and worker is not first)
    second.succeed(request_id)
    first.leave()
    following = requester.submit(affinity=affinity)
    assert second.holds == [following]


def test_a_hedge_needs_another_worker() -> None:
    world = World()
    worker, requester = world.worker(concurrency=5), world.requester()
    request_id = requester.submit(hedge=0.2, idempotent=True)
    world.sleep(5.0)
    assert worker.holds == [request_id]
    assert len(worker.delivered) == 1


def test_a_hedge_waits_for_a_free_slot_of_another_worker() -> None:
    world = World()
    first, second, requester = world.worker("first"), world.worker("second"), world.requester()
    running = requester.submit(target="second")
    request_id = requester.submit(hedge=0.2, idempotent=True)
    assert request_id in first.holds
    world.sleep(0.9)
    second.succeed(running)
    assert second.holds == []
    world.sleep(1.0)
    assert second.holds == [request_id], "checked again when it is twice as old"


def test_a_hedge_goes_only_to_workers_that_match_the_target() -> None:
    world = World()
    first = world.worker("first", labels={"gpu": "yes"})
    plain = world.worker("plain")
    requester = world.requester()
    request_id = requester.submit(target={"gpu": "yes"}, hedge=0.2, idempotent=True)
    world.sleep(1.0)
    assert plain.holds == []
    second = world.worker("second", labels={"gpu": "yes"})
    world.sleep(1.5)
    assert (first.holds, second.holds) == ([request_id], [request_id])


def test_a_waiting_request_is_not_hedged() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    running = requester.submit()
    request_id = requester.submit(hedge=0.2, idempotent=True)
    world.sleep(1.0)
    other = world.worker("other", concurrency=2)
    assert other.holds == [request_id]
    worker.succeed(running)
    world.sleep(2.0)
    assert worker.holds == [request_id]


def test_a_request_that_waits_long_is_checked_rarely() -> None:
    world = World()
    world.worker(concurrency=9)
    requester = world.requester()
    for _ in range(9):
        requester.submit(hedge=0.001, idempotent=True, timeout=1000.0)
    begin, due_at = world.now, set()
    while world.now < begin + 500.0:
        world.sleep(0.5)
        due_at |= {request.due_at for request in requester.session.requests.values()}
    assert len(due_at) < 15, "each time it is twice as old"


def test_there_is_no_hedge_after_the_deadline() -> None:
    world = World()
    world.worker("first")
    world.worker("second")
    requester = world.requester()
    request_id = requester.submit(hedge=5.0, idempotent=True, timeout=1.0)
    world.sleep(6.0)
    assert requester.outcome(request_id) == "timeout"
    assert world.core.counts.hedged_count == 0


# --- percentiles ---


def observe(world: World, count: int, duration_s: float = 0.08) -> None:
    for _ in range(count):
        world.core.roster.commands["echo"].duration.observe(duration_s)


@pytest.mark.parametrize(("count", "hedged_count"), [(DURATIONS_COUNT_MIN - 1, 0), (DURATIONS_COUNT_MIN, 1)])
def test_a_percentile_needs_enough_durations(count: int, hedged_count: int) -> None:
    world = World()
    world.worker("first")
    world.worker("second")
    observe(world, count)
    requester = world.requester()
    requester.submit(hedge="p95", idempotent=True)
    world.sleep(0.08)
    assert world.core.counts.hedged_count == 0
    world.sleep(0.2)
    assert world.core.counts.hedged_count == hedged_count


@pytest.mark.parametrize(("hedge", "expected_s"), [("p1", 0.051), ("p50", 0.1), ("p75", 0.75), ("p99", 0.99)])
def test_a_percentile_is_interpolated_in_its_bucket(hedge: str, expected_s: float) -> None:
    world = World()
    world.worker()
    observe(world, 500, 0.08)
    observe(world, 500, 0.6)
    requester = world.requester()
    requester.submit(hedge=hedge, idempotent=True)
    (request,) = requester.session.requests.values()
    assert request.due_at - world.now == pytest.approx(expected_s)


def test_old_durations_are_forgotten_turn_by_turn() -> None:
    histogram = Histogram()
    window = histogram.window()
    assert window.percentile_s(50, 1, 100.0) is None
    for _ in range(10):
        histogram.observe(0.002)
    assert window.percentile_s(50, 10, 100.0 + TURN_S / 2) == pytest.approx(0.00175)
    assert window.percentile_s(50, 11, 100.0 + TURN_S / 2) is None
    for _ in range(20):
        histogram.observe(2.0)
    assert window.percentile_s(10, 30, 100.0 + TURN_S) == pytest.approx(0.00145)
    assert window.percentile_s(10, 30, 100.0 + 2 * TURN_S) is None, "two turns have passed"
    assert window.percentile_s(50, 1, 100.0 + 3 * TURN_S) is None


def test_a_percentile_may_be_in_the_first_bucket() -> None:
    histogram = Histogram()
    window = histogram.window()
    histogram.observe(0.0002)
    assert window.percentile_s(50, 1, 100.0) == pytest.approx(0.00025), (
        "one observation is enough if one is requested"
    )


def test_above_the_highest_bound_it_is_that_bound() -> None:
    histogram = Histogram()
    window = histogram.window()
    for _ in range(10):
        histogram.observe(1000.0)
    assert window.percentile_s(50, 10, 0.0) == 60.0


# --- what happens to the two copies ---


@pytest.mark.parametrize("winner", ["first", "second"])
@pytest.mark.parametrize("succeeds", [True, False])
def test_the_first_answer_wins_and_the_other_is_cancelled(winner: str, succeeds: bool) -> None:
    world, first, second, requester, request_id = hedged_world()
    won, lost = (first, second) if winner == "first" else (second, first)
    if succeeds:
        won.succeed(request_id, b'"mine"')
    else:
        won.fail(request_id, "no", "own_code")
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("success" if succeeds else "own_code", winner)
    assert lost.cancels == [(lost.msg_id(request_id), "answered")]
    assert won.cancels == []
    assert world.core.counts.hedges_won_count == (winner == "second")
    assert lost.session.in_flight_count == 1, "its slot is taken until it reports its end"
    lost.succeed(request_id, b'"late"')
    assert world.core.counts.late_responses_count == 1
    assert len(requester.answers) == 1
    assert lost.session.in_flight_count == 0


def test_every_hedge_that_wins_is_counted() -> None:
    world = World()
    workers, requester = [world.worker("v"), world.worker("w")], world.requester()
    for _ in range(2):
        request_id = requester.submit(hedge=0.2, idempotent=True)
        (first,) = (worker for worker in workers if worker.holds)
        world.sleep(0.3)
        (second,) = (worker for worker in workers if worker is not first)
        second.succeed(request_id)
        first.fail(request_id, "cancelled", "cancelled")
    assert (world.core.counts.hedged_count, world.core.counts.hedges_won_count) == (2, 2)


def test_a_result_that_cannot_be_carried_ends_both() -> None:
    _, first, second, requester, request_id = hedged_world()
    requester.refuses = TooLarge("result: too long")
    second.succeed(request_id)
    assert requester.outcome(request_id) == "too_large"
    assert first.cancels == [(first.msg_id(request_id), "answered")]


@pytest.mark.parametrize(
    ("end", "reason", "outcome"),
    [
        ("sleep", "timeout", "timeout"),
        ("cancel", "cancelled", "cancelled"),
        ("leave", "requester_gone", None),
        ("stop", "shutting_down", "broker_stopped"),
    ],
)
def test_both_workers_are_sent_a_cancel_whatever_ends_it(end: str, reason: str, outcome: str | None) -> None:
    world, first, second, requester, request_id = hedged_world()
    match end:
        case "sleep":
            world.sleep(10.0)
        case "cancel":
            requester.cancel(request_id)
        case "leave":
            requester.leave()
        case "stop":
            world.stop()
    assert requester.outcome(request_id) == outcome
    for worker in (first, second):
        assert worker.cancels == [(worker.msg_id(request_id), reason)]
        worker.fail(request_id, "cancelled", "cancelled")
    assert world.core.counts.late_responses_count == 2


def test_a_timeout_counts_against_both_workers() -> None:
    world, first, second, _, _ = hedged_world()
    world.sleep(10.0)
    assert (first.session.failed_count, second.session.failed_count) == (1, 1)


def test_a_timeout_does_not_count_against_a_worker_that_got_it_late() -> None:
    world = World()
    first, second, requester = world.worker("first"), world.worker("second"), world.requester()
    requester.submit(hedge=6.0, idempotent=True, timeout=10.0)
    world.sleep(10.1)
    assert len(second.delivered) == 1
    assert (first.session.failed_count, second.session.failed_count) == (1, 0)


@pytest.mark.parametrize("lost", ["first", "second"])
@pytest.mark.parametrize("written", [True, False])
def test_one_copy_goes_on_if_the_worker_of_the_other_is_lost(lost: str, written: bool) -> None:
    world, first, second, requester, request_id = hedged_world()
    gone, left = (first, second) if lost == "first" else (second, first)
    if not written:
        gone.written_count = 0
    gone.leave()
    assert requester.answers == []
    assert left.holds == [request_id]
    assert (world.core.counts.retried_count, world.core.counts.reassigned_count) == (0, 0)
    left.succeed(request_id)
    assert requester.answer(request_id).worker_id == left.worker_id
    assert world.core.counts.hedges_won_count == 0, "the other copy was lost, not beaten"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("retries_count_max", [0, 2])
def test_both_workers_are_lost(order: tuple[int, int], retries_count_max: int) -> None:
    world, first, second, requester, request_id = hedged_world(retries_count_max=retries_count_max)
    third = world.worker("third", concurrency=2)
    for index in order:
        (first, second)[index].leave()
    if retries_count_max == 0:
        assert requester.outcome(request_id) == "worker_lost"
        return
    assert third.holds == [request_id]
    assert third.cancels == []
    world.sleep(5.0)
    third.succeed(request_id)
    assert requester.answer(request_id).worker_id == "third"


def test_both_workers_are_lost_and_none_is_left() -> None:
    world, first, second, requester, request_id = hedged_world()
    second.written_count = 0
    first.leave()
    second.leave()
    answer = requester.answer(request_id)
    assert answer.outcome == "worker_lost", "the first may have run it, even though the second never got it"
    assert answer.failure is not None
    assert answer.failure.delivery == "may_have_run"
    assert world.core.counts.in_flight_count == 0


def test_a_worker_that_lost_it_is_avoided_afterwards() -> None:
    world, first, second, _, request_id = hedged_world()
    first.leave()
    again, third = world.worker("first"), world.worker("third")
    second.leave()
    assert (again.holds, third.holds) == ([], [request_id])


@pytest.mark.parametrize("holder", ["first", "second"])
def test_a_copy_goes_on_while_its_worker_drains(holder: str) -> None:
    _, first, second, requester, request_id = hedged_world()
    worker = first if holder == "first" else second
    worker.drain()
    worker.succeed(request_id)
    assert requester.outcome(request_id) == "success"


def test_a_copy_that_cannot_be_carried_changes_nothing_and_is_tried_again() -> None:
    world = World()
    first, second, requester = world.worker("first"), world.worker("second"), world.requester()
    second.refuses = NotRepresentable("data: too odd")
    request_id = requester.submit(hedge=0.2, idempotent=True)
    world.sleep(0.25)
    assert requester.answers == []
    assert (first.holds, second.holds, world.core.counts.hedged_count) == ([request_id], [], 0)
    second.refuses = None
    world.sleep(0.25)
    assert second.holds == [request_id]
    first.succeed(request_id)
    assert requester.outcome(request_id) == "success"


def test_the_losing_copy_may_be_answered_before_the_cancel_arrives() -> None:
    _, first, second, requester, request_id = hedged_world()
    msg_id = second.msg_id(request_id)
    first.succeed(request_id)
    assert second.respond(msg_id, Result(True)) is True
    assert second.respond(msg_id, Result(True)) is False
    assert len(requester.answers) == 1


# --- how many ---


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.05, 12), (0.5, 35)])
def test_hedges_stay_within_their_budget(share: float, expected: int) -> None:
    world = World(hedges_share_max=share)
    world.worker("first", concurrency=100)
    world.worker("second", concurrency=100)
    requester = world.requester()
    for _ in range(50):
        requester.submit(hedge=0.2, idempotent=True)
    world.sleep(1.0)
    assert world.core.counts.hedged_count == expected
    assert world.outcomes() == {}


@pytest.mark.parametrize(
    ("idle_s", "hedged_count"), [(2 * BUDGET_TURN_S - 1.0, 50), (2 * BUDGET_TURN_S + 1.0, 15)]
)
def test_old_traffic_earns_no_hedges(idle_s: float, hedged_count: int) -> None:
    world = World(hedges_share_max=0.1)
    worker, requester = world.worker("first", concurrency=100), world.requester()
    world.worker("second", concurrency=100)
    world.sleep(0.25)
    for _ in range(400):
        worker.succeed(requester.submit(target="first"))
    world.sleep(idle_s)
    for _ in range(50):
        requester.submit(hedge=0.1, idempotent=True)
    world.sleep(0.2)
    assert world.core.counts.hedged_count == hedged_count, "a reserve, and a tenth of the recent requests"
