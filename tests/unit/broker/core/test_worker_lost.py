"""A worker's link breaks: requests that never left the broker run elsewhere, and so do those that may run twice; others
fail as lost."""

from typing import Final

import pytest

from tests.unit.broker.core.world import World

LOST_TEXT = "Worker lost: the command may have run"


def test_an_assignment_that_was_written_ends_as_worker_lost() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    world.worker("other")
    request_id = requester.submit()
    worker.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.text, answer.worker_id) == ("worker_lost", LOST_TEXT, "w")
    assert (world.core.counts.retried_count, world.core.counts.reassigned_count) == (0, 0)


def test_an_assignment_that_was_never_written_goes_to_another_worker_silently() -> None:
    world = World("round_robin")
    stuck, other = world.worker("stuck", is_stuck=True), world.worker("other")
    requester = world.requester()
    request_id = requester.submit()
    assert stuck.holds == [request_id]
    stuck.leave()
    assert requester.answers == []
    assert other.holds == [request_id]
    assert world.core.counts.reassigned_count == 1
    other.succeed(request_id)
    assert requester.answer(request_id).worker_id == "other"


@pytest.mark.parametrize("affinity", ["a", "b", "c", "d"])
def test_a_retry_follows_its_affinity(affinity: str) -> None:
    world = World("consistent_hash")
    workers, requester = [world.worker(f"w{number}") for number in range(8)], world.requester()
    retried = requester.submit(affinity=affinity, idempotent=True)
    (first,) = (worker for worker in workers if worker.holds)
    first.leave()
    (second,) = (worker for worker in workers if worker.holds == [retried] and worker is not first)
    second.succeed(retried)
    following = requester.submit(affinity=affinity)
    assert second.holds == [following]


def test_written_assignments_are_distinguished_by_number() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=3), world.requester()
    first, second = requester.submit(), requester.submit()
    worker.is_stuck = True
    third = requester.submit()
    other = world.worker("other", concurrency=3)
    worker.leave()
    assert [requester.outcome(request_id) for request_id in (first, second, third)] == [
        "worker_lost",
        "worker_lost",
        None,
    ]
    assert other.holds == [third]


def test_an_unwritten_assignment_waits_first_in_line_if_all_other_workers_are_busy() -> None:
    world = World("round_robin")
    stuck, busy = world.worker("stuck", is_stuck=True), world.worker("busy")
    requester = world.requester()
    lost, running, waiting = requester.submit(), requester.submit(), requester.submit()
    stuck.leave()
    assert requester.answers == []
    assert world.core.queue.count == 2
    busy.succeed(running)
    assert busy.holds == [lost], "before its requester's others"
    busy.succeed(lost)
    assert busy.holds == [waiting]


def test_an_unwritten_assignment_without_another_worker_fails_as_if_never_assigned() -> None:
    world = World()
    stuck, requester = world.worker("stuck", is_stuck=True), world.requester()
    request_id = requester.submit()
    stuck.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("no_available_workers", None)


@pytest.mark.parametrize("written", [True, False])
def test_a_lost_request_past_its_deadline_times_out(written: bool) -> None:
    world = World()
    worker, requester = world.worker("w", is_stuck=not written), world.requester()
    other = world.worker("other")
    request_id = requester.submit(timeout=1.0, idempotent=True)
    lost = worker if worker.holds else other
    lost.is_stuck = not written
    lost.written_count = lost.sent_count if written else 0
    world.now += 1.0  # the timer has not fired yet
    lost.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("timeout", lost.worker_id)


def test_an_idempotent_request_is_retried_on_another_worker() -> None:
    world = World("round_robin")
    worker, other, requester = world.worker("w"), world.worker("other"), world.requester()
    request_id = requester.submit(idempotent=True, timeout=10.0)
    world.sleep(4.0)
    worker.leave()
    assert requester.answers == []
    assert other.holds == [request_id]
    assert other.delivered[-1].timeout_s == pytest.approx(6.0), "within its original deadline"
    assert world.core.counts.retried_count == 1
    other.succeed(request_id)
    assert requester.answer(request_id).worker_id == "other"


def test_an_idempotent_request_without_another_worker_is_lost() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    request_id = requester.submit(idempotent=True)
    worker.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("worker_lost", "w")


def test_an_idempotent_request_waits_for_a_slot_of_another_worker() -> None:
    world = World("round_robin")
    worker, busy, requester = world.worker("w"), world.worker("busy"), world.requester()
    lost, running = requester.submit(idempotent=True), requester.submit()
    worker.leave()
    assert requester.answers == []
    busy.succeed(running)
    assert busy.holds == [lost]


@pytest.mark.parametrize("bound", [0, 1, 2])
def test_the_retries_of_an_idempotent_request_are_bounded(bound: int) -> None:
    world = World(retries_count_max=bound)
    requester = world.requester()
    workers = [world.worker(f"w{number}") for number in range(bound + 2)]
    request_id = requester.submit(idempotent=True)
    for lost_count in range(1, bound + 2):
        (holder,) = (worker for worker in workers if worker.holds)
        workers.remove(holder)
        holder.leave()
        expected = None if lost_count <= bound else "worker_lost"
        assert requester.outcome(request_id) == expected
    assert world.core.counts.retried_count == bound


def test_losses_before_the_write_do_not_count_as_retries() -> None:
    world = World(retries_count_max=0)
    requester = world.requester()
    workers = [world.worker(f"w{number}", is_stuck=True) for number in range(5)]
    request_id = requester.submit()
    for _ in range(4):
        (holder,) = (worker for worker in workers if worker.holds)
        workers.remove(holder)
        holder.leave()
    assert requester.outcome(request_id) is None
    assert workers[0].holds == [request_id]
    assert world.core.counts.reassigned_count == 4


def test_a_retry_that_cannot_be_carried_to_the_other_worker_ends() -> None:
    from taskferry.protocol.errors import NotRepresentable

    world = World("round_robin")
    worker, other, requester = world.worker("w"), world.worker("other"), world.requester()
    request_id = requester.submit(idempotent=True)
    other.refuses = NotRepresentable("data: too odd")
    worker.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("not_representable", None)


def test_an_assignment_whose_request_has_ended_is_dropped_with_its_worker() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(idempotent=True)
    requester.cancel(request_id)
    world.worker("other")
    worker.leave()
    assert [answer.outcome for answer in requester.answers] == ["cancelled"]
    assert world.core.counts.retried_count == 0


def test_requests_that_wait_only_for_a_lost_worker_fail_at_once() -> None:
    world = World()
    worker, requester = world.worker("w", "a", "b"), world.requester()
    world.worker("other", "b")
    requester.submit("b", request_id="on-other")
    requester.submit("a", request_id="running")
    for_a, for_b = requester.submit("a"), requester.submit("b")
    worker.leave()
    answer = requester.answer(for_a)
    assert (answer.outcome, answer.text, answer.worker_id) == (
        "no_available_workers",
        "No available workers: no worker serves a any more; start one that does",
        None,
    )
    assert requester.outcome(for_b) is None, "b has another worker: it goes on waiting"


def test_losing_all_workers_at_once_ends_every_request() -> None:
    world = World()
    workers = [world.worker(f"w{number}", concurrency=4) for number in range(3)]
    requester = world.requester()
    for number in range(20):
        requester.submit(idempotent=number % 2 == 0)
    for worker in workers:
        worker.leave()
    assert len(requester.answers) == 20
    assert set(world.outcomes()) == {"worker_lost", "no_available_workers"}


def test_a_request_that_may_have_run_never_fails_as_not_run() -> None:
    # It was written to one worker, lost with it, and waits for another one when that is lost too.
    world = World("round_robin")
    worker, busy, requester = world.worker("w"), world.worker("busy"), world.requester()
    lost, running, waiting = requester.submit(idempotent=True), requester.submit(), requester.submit()
    worker.leave()
    busy.drain()
    assert requester.outcome(waiting) == "no_available_workers"
    answer = requester.answer(lost)
    assert (answer.outcome, answer.text) == ("worker_lost", LOST_TEXT)
    busy.succeed(running)


def test_a_request_that_may_have_run_ends_as_such_when_the_broker_stops() -> None:
    world = World("round_robin")
    worker, busy, requester = world.worker("w"), world.worker("busy"), world.requester()
    lost, running, waiting = requester.submit(idempotent=True), requester.submit(), requester.submit()
    worker.leave()
    world.stop()
    assert [requester.outcome(request_id) for request_id in (lost, running, waiting)] == [
        "broker_stopped",
        "broker_stopped",
        "shutting_down",
    ]
    assert busy.cancels == [(busy.msg_id(running), "shutting_down")]


def test_a_worker_always_gets_some_remaining_time() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first = requester.submit()
    requester.submit(timeout=1.0)
    world.now += 1.0 - 1e-6
    worker.succeed(first)
    assert worker.delivered[-1].timeout_s == 0.001


def test_unwritten_assignments_of_one_requester_wait_in_their_order() -> None:
    world = World()
    stuck = world.worker("stuck", concurrency=3, is_stuck=True)
    busy, requester = world.worker("busy", "echo", "other"), world.requester()
    requester.submit("other")
    first, second, third = (requester.submit() for _ in range(3))
    stuck.leave()
    assert world.core.queue.count == 3
    served = []
    while busy.holds:
        (held,) = busy.holds
        served.append(held)
        busy.succeed(held)
    assert served[1:] == [first, second, third]


CRASH: Final = ("The process for the handler was ended by SIGSEGV", "worker_lost")


def test_what_ran_a_request_is_lost_although_its_worker_is_not() -> None:
    world = World("round_robin")
    worker, other, requester = world.worker("w"), world.worker("other"), world.requester()
    request_id = requester.submit()
    worker.fail(request_id, *CRASH)
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.text, answer.worker_id) == ("worker_lost", CRASH[0], "w")
    assert not other.holds
    assert worker.session.in_flight_count == 0


def test_an_idempotent_request_is_retried_elsewhere_after_a_crash() -> None:
    world = World("round_robin")
    worker, other, requester = world.worker("w", concurrency=9), world.worker("other"), world.requester()
    request_id = requester.submit(idempotent=True)
    worker.fail(request_id, *CRASH)
    assert requester.answers == []
    assert (worker.holds, other.holds) == ([], [request_id])
    other.fail(request_id, *CRASH)
    assert worker.holds == [request_id], "all others have lost it too"
    assert world.core.counts.retried_count == 2
    worker.succeed(request_id)
    assert requester.answer(request_id).worker_id == "w"


def test_after_a_crash_it_waits_for_a_slot_elsewhere_or_gets_the_same_again() -> None:
    world = World("round_robin")
    worker, requester = world.worker("w", concurrency=1), world.requester()
    crashing, waiting = requester.submit(idempotent=True), requester.submit()
    worker.fail(crashing, *CRASH)
    assert worker.holds == [crashing], "there is no other, and it is first in line"
    worker.succeed(crashing)
    assert worker.holds == [waiting]


def test_after_a_crash_at_a_draining_worker_it_waits_for_another() -> None:
    world = World("round_robin")
    leaving, busy, requester = world.worker("leaving"), world.worker("busy"), world.requester()
    crashing, running, waiting = (requester.submit(idempotent=True) for _ in range(3))
    assert (leaving.holds, busy.holds) == ([crashing], [running])
    leaving.drain()
    leaving.fail(crashing, *CRASH)
    assert world.core.queue.count == 2
    busy.succeed(running)
    assert busy.holds == [crashing], "before what came later"
    busy.succeed(crashing)
    assert busy.holds == [waiting]


def test_a_request_that_crashes_wherever_it_runs_ends() -> None:
    world = World("round_robin", retries_count_max=2)
    worker, requester = world.worker("w"), world.requester()
    request_id = requester.submit(idempotent=True)
    for _ in range(3):
        worker.fail(request_id, *CRASH)
    assert requester.outcome(request_id) == "worker_lost"


@pytest.mark.parametrize("crashes", ["first", "hedge"])
def test_if_one_of_two_copies_crashes_the_other_goes_on(crashes: str) -> None:
    world = World("round_robin")
    first, second, requester = world.worker("first"), world.worker("hedge"), world.requester()
    request_id = requester.submit(idempotent=True, hedge=0.5)
    world.sleep(0.6)
    assert first.holds == second.holds == [request_id]
    crashing, other = (first, second) if crashes == "first" else (second, first)
    crashing.fail(request_id, *CRASH)
    assert requester.answers == []
    assert other.holds == [request_id]
    assert not other.cancels
    other.succeed(request_id)
    assert requester.answer(request_id).worker_id == other.worker_id
