"""A worker's link breaks: what never left the broker runs elsewhere, what may have run is told so, unless it may run
twice."""

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


def test_which_ones_were_written_is_told_by_number() -> None:
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


def test_an_unwritten_assignment_waits_where_all_others_are_busy_and_goes_first() -> None:
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


def test_an_unwritten_assignment_with_nobody_else_to_serve_it_fails_as_if_never_placed() -> None:
    world = World()
    stuck, requester = world.worker("stuck", is_stuck=True), world.requester()
    request_id = requester.submit()
    stuck.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("no_available_workers", None)


@pytest.mark.parametrize("written", [True, False])
def test_a_lost_request_whose_time_is_up_times_out(written: bool) -> None:
    world = World()
    worker, requester = world.worker("w", is_stuck=not written), world.requester()
    other = world.worker("other")
    request_id = requester.submit(timeout=1.0, idempotent=True)
    lost = worker if worker.holds else other
    lost.is_stuck = not written
    lost.written_count = lost.sent_count if written else 0
    world.now += 1.0  # the timer has not gone off yet
    lost.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("timeout", lost.worker_id)


def test_an_idempotent_request_is_run_again_elsewhere() -> None:
    world = World("round_robin")
    worker, other, requester = world.worker("w"), world.worker("other"), world.requester()
    request_id = requester.submit(idempotent=True, timeout=10.0)
    world.sleep(4.0)
    worker.leave()
    assert requester.answers == []
    assert other.holds == [request_id]
    assert other.delivered[-1].timeout_s == pytest.approx(6.0), "within its first deadline"
    assert world.core.counts.retried_count == 1
    other.succeed(request_id)
    assert requester.answer(request_id).worker_id == "other"


def test_an_idempotent_request_with_nobody_else_to_run_it_is_lost() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    request_id = requester.submit(idempotent=True)
    worker.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("worker_lost", "w")


def test_an_idempotent_request_waits_for_a_slot_of_another() -> None:
    world = World("round_robin")
    worker, busy, requester = world.worker("w"), world.worker("busy"), world.requester()
    lost, running = requester.submit(idempotent=True), requester.submit()
    worker.leave()
    assert requester.answers == []
    busy.succeed(running)
    assert busy.holds == [lost]


@pytest.mark.parametrize("bound", [0, 1, 2])
def test_how_often_an_idempotent_request_may_cost_a_worker_is_bounded(bound: int) -> None:
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


def test_losses_before_it_was_written_do_not_count_as_retries() -> None:
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


def test_what_cannot_be_carried_to_the_other_worker_ends() -> None:
    from taskferry.protocol.errors import NotRepresentable

    world = World("round_robin")
    worker, other, requester = world.worker("w"), world.worker("other"), world.requester()
    request_id = requester.submit(idempotent=True)
    other.refuses = NotRepresentable("data: too odd")
    worker.leave()
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.worker_id) == ("not_representable", None)


def test_an_assignment_that_nobody_waits_for_any_more_is_dropped_with_its_worker() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit(idempotent=True)
    requester.cancel(request_id)
    world.worker("other")
    worker.leave()
    assert [answer.outcome for answer in requester.answers] == ["cancelled"]
    assert world.core.counts.retried_count == 0


def test_who_waits_for_a_lost_worker_alone_is_told_at_once() -> None:
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
        "No available workers",
        None,
    )
    assert requester.outcome(for_b) is None, "b has another worker: it waits on"


def test_all_workers_lost_at_once_settle_every_request() -> None:
    world = World()
    workers = [world.worker(f"w{number}", concurrency=4) for number in range(3)]
    requester = world.requester()
    for number in range(20):
        requester.submit(idempotent=number % 2 == 0)
    for worker in workers:
        worker.leave()
    assert len(requester.answers) == 20
    assert set(world.outcomes()) == {"worker_lost", "no_available_workers"}


def test_what_may_have_run_is_never_said_not_to_have_run() -> None:
    # It was written to one worker, lost with it, and waits for another when that one goes too.
    world = World("round_robin")
    worker, busy, requester = world.worker("w"), world.worker("busy"), world.requester()
    lost, running, waiting = requester.submit(idempotent=True), requester.submit(), requester.submit()
    worker.leave()
    busy.drain()
    assert requester.outcome(waiting) == "no_available_workers"
    answer = requester.answer(lost)
    assert (answer.outcome, answer.text) == ("worker_lost", LOST_TEXT)
    busy.succeed(running)


def test_what_may_have_run_is_told_so_at_the_end_of_the_broker() -> None:
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


def test_a_worker_is_always_told_that_some_time_is_left() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first = requester.submit()
    requester.submit(timeout=1.0)
    world.now += 1.0 - 1e-6
    worker.succeed(first)
    assert worker.delivered[-1].timeout_s == 0.001


def test_unwritten_assignments_of_one_requester_keep_their_order_when_they_wait() -> None:
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
