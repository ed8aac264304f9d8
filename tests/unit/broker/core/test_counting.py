"""The counts that operators read: outcomes, durations, and the books that must balance."""

import pytest
from taskferry.broker.core.invariants import check_invariants
from taskferry.broker.core.measures.histogram import DURATION_BOUNDS_S, Histogram

from tests.each_case import each_case
from tests.unit.broker.core.world import World


def test_each_outcome_is_counted_under_its_command() -> None:
    world = World()
    worker, requester = world.worker("w", "a", "b", concurrency=10), world.requester()
    for command, answers in (("a", 3), ("b", 2)):
        for _ in range(answers):
            worker.succeed(requester.submit(command))
    worker.fail(requester.submit("a"), "no", "own_code")
    requester.cancel(requester.submit("b"))
    requester.submit("a", timeout=1.0)
    world.sleep(2.0)
    commands = world.core.roster.commands
    assert commands["a"].outcomes == {"success": 3, "handler_error": 1, "timeout": 1}
    assert commands["b"].outcomes == {"success": 2, "cancelled": 1}
    assert world.core.counts.submitted_count == world.core.counts.ended_count == 8


def test_an_attempt_counts_only_if_a_worker_had_it() -> None:
    world = World()
    worker = world.worker("w", concurrency=1)
    jobs = world.requester()
    first, second = jobs.attempt(), jobs.attempt()
    jobs.cancel(second)
    third = jobs.attempt()
    worker.leave()
    assert jobs.outcome(first) == "worker_lost"
    assert jobs.outcome(third) == "no_available_workers"
    outcomes = {name: count for name, count in world.core.roster.commands["echo"].outcomes.items() if count}
    assert outcomes == {"worker_lost": 1}
    assert world.core.counts.submitted_count == world.core.counts.ended_count == 3


def test_waiting_requests_count_under_their_command_whatever_their_target() -> None:
    world = World()
    world.worker("w", "a", "b")
    requester = world.requester()
    for command, target in (("a", None), ("a", "w"), ("a", None), ("b", "w"), ("a", "w")):
        requester.submit(command, target=target)
    commands = world.core.roster.commands
    assert (commands["a"].waiting_count, commands["b"].waiting_count, world.core.queue.count) == (3, 1, 4)


@each_case(
    ("duration_s", "index"),
    [(0.0, 0), (0.0005, 0), (0.00051, 1), (1.0, 10), (60.0, 15), (60.1, 16), (1e9, 16)],
)
def test_a_duration_is_counted_in_the_bucket_whose_bound_it_does_not_exceed(
    duration_s: float, index: int
) -> None:
    histogram = Histogram()
    histogram.observe(duration_s)
    assert histogram.counts.index(1) == index
    assert len(histogram.counts) == len(DURATION_BOUNDS_S) + 1
    assert histogram.sum_s == duration_s


def test_the_bounds_of_the_buckets_increase() -> None:
    assert list(DURATION_BOUNDS_S) == sorted(set(DURATION_BOUNDS_S))


def test_durations_run_from_admission_to_outcome() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first, second = requester.submit(), requester.submit()
    world.sleep(0.5)
    worker.succeed(first)
    world.sleep(0.25)
    worker.succeed(second)
    assert world.core.roster.commands["echo"].duration.sum_s == pytest.approx(0.5 + 0.75)


def test_books_that_do_not_balance_are_detected() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    requester.submit()
    requester.submit()
    core = world.core
    check_invariants(core)
    core.counts.ended_count += 1
    with pytest.raises(AssertionError, match="submitted = ended"):
        check_invariants(core)
    core.counts.ended_count -= 1
    worker.session.in_flight_count -= 1
    with pytest.raises(AssertionError, match="slots"):
        check_invariants(core)
    worker.session.in_flight_count += 1
    core.queue.count += 1
    with pytest.raises(AssertionError):
        check_invariants(core)
    core.queue.count -= 1
    requester.session.requests["r2"].is_waiting = False
    with pytest.raises(AssertionError):
        check_invariants(core)


def test_a_slot_taken_for_a_request_that_does_not_know_of_it_is_detected() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=2), world.requester()
    requester.submit()
    requester.submit()
    first, second = worker.session.assignments.values()
    requester.cancel("r2")
    check_invariants(world.core)
    second.request = first.request
    with pytest.raises(AssertionError):
        check_invariants(world.core)


def test_a_request_that_waits_while_a_slot_is_free_is_detected() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    requester.submit()
    requester.submit()
    check_invariants(world.core)
    worker.session.concurrency = worker.session.capacity = 2
    pool = next(iter(worker.session.pools))
    pool.slots_count = 2
    with pytest.raises(AssertionError, match="while a slot is free"):
        check_invariants(world.core)
