"""What a failure contains besides its code: whether the command may have run, how long it waited, when to retry."""

import pytest
from taskferry.broker.core.delivery.failures import RETRY_AFTER_S
from taskferry.broker.core.failure import Failure, plain_failure
from taskferry.broker.core.queue.queue import RETRY_AFTER_S_MAX, RETRY_AFTER_S_MIN, RETRY_AFTER_S_UNKNOWN
from taskferry.protocol.errors import REGISTRY, NotRepresentable, TooLarge, WorkerTimeout

from tests.unit.broker.core.world import FakeRequester, World

MAY = "may_have_run"
NOT = "not_delivered"


def failure_of(requester: FakeRequester, request_id: str) -> Failure:
    """The failure that a requester received. One that may have run never has a code that promises it did not."""
    failure = requester.answer(request_id).failure
    assert failure is not None
    if failure.delivery == MAY:
        assert not REGISTRY[failure.code].retryable
    return failure


def code_and_delivery(requester: FakeRequester, request_id: str) -> tuple[str, str | None]:
    failure = failure_of(requester, request_id)
    return failure.code, failure.delivery


def test_a_request_without_workers_was_not_delivered() -> None:
    world = World()
    world.worker("w", "served").leave()
    requester = world.requester()
    for command in ("served", "unheard-of"):
        failure = failure_of(requester, requester.submit(command))
        assert (failure.code, failure.delivery, failure.queue_wait_s) == ("no_available_workers", NOT, 0.0)
        assert failure.retry_after_s is None


def test_an_assigned_request_may_have_run_whatever_ends_it() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=5), world.requester()
    late, cancelled, lost = requester.submit(timeout=1.0), requester.submit(), requester.submit()
    requester.cancel(cancelled)
    world.sleep(1.1)
    worker.leave()
    last = world.worker("last")
    stopped = requester.submit()
    world.stop()
    assert [code_and_delivery(requester, request_id) for request_id in (late, cancelled, lost, stopped)] == [
        ("timeout", MAY),
        ("cancelled", MAY),
        ("worker_lost", MAY),
        ("broker_stopped", MAY),
    ]
    assert last.cancels


def test_a_waiting_request_was_not_delivered_whatever_ends_it() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    running = requester.submit()
    late, cancelled, stranded = requester.submit(timeout=1.0), requester.submit(), requester.submit()
    requester.cancel(cancelled)
    world.sleep(1.1)
    worker.drain()
    worker.succeed(running)
    world.worker("busy")
    requester.submit()
    stopped = requester.submit()
    world.stop()
    assert [
        code_and_delivery(requester, request_id) for request_id in (late, cancelled, stranded, stopped)
    ] == [
        ("timeout", NOT),
        ("cancelled", NOT),
        ("no_available_workers", NOT),
        ("shutting_down", NOT),
    ]


@pytest.mark.parametrize("end", ["timeout", "cancelled", "broker_stopped"])
def test_an_assignment_still_held_by_the_link_may_have_run(end: str) -> None:
    # It cannot be withdrawn: once the worker reads again, it gets the assignment and then the cancel.
    world = World()
    worker, requester = world.worker("w", is_stuck=True), world.requester()
    request_id = requester.submit(timeout=1.0)
    if end == "cancelled":
        requester.cancel(request_id)
    elif end == "broker_stopped":
        world.stop()
    world.sleep(1.1)
    assert code_and_delivery(requester, request_id) == (end, MAY)
    assert worker.holds == [request_id]


def test_an_assignment_lost_before_it_was_written_was_not_delivered() -> None:
    world = World()
    worker, requester = world.worker("w", is_stuck=True), world.requester()
    alone = requester.submit()
    worker.leave()
    assert code_and_delivery(requester, alone) == ("no_available_workers", NOT)
    stuck, busy = world.worker("stuck", is_stuck=True), world.worker("busy")
    busy_with, waits = requester.submit(target="busy"), requester.submit(timeout=1.0)
    assert stuck.holds == [waits]
    stuck.leave()
    world.sleep(1.1)
    assert code_and_delivery(requester, waits) == ("timeout", NOT)
    busy.succeed(busy_with)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("drain", "worker_lost"),
        ("sleep", "timeout"),
        ("cancel", "cancelled"),
        ("stop", "broker_stopped"),
        ("refuse", "not_representable"),
    ],
)
def test_a_request_that_may_have_run_stays_so_while_it_waits_for_another_worker(end: str, code: str) -> None:
    world = World("round_robin")
    worker, busy, requester = world.worker("w"), world.worker("busy"), world.requester()
    lost, running = requester.submit(idempotent=True, timeout=1.0), requester.submit()
    worker.leave()
    assert world.core.queue.count == 1
    match end:
        case "drain":
            busy.drain()
        case "sleep":
            world.sleep(1.1)
        case "cancel":
            requester.cancel(lost)
        case "stop":
            world.stop()
        case "refuse":
            busy.refuses = NotRepresentable("data: too odd")
            busy.succeed(running)
    assert code_and_delivery(requester, lost) == (code, MAY)


def test_a_retry_that_was_never_written_does_not_hide_the_first_delivery() -> None:
    world = World("round_robin")
    worker, stuck = world.worker("w"), world.worker("stuck", is_stuck=True)
    requester = world.requester()
    request_id = requester.submit(idempotent=True)
    worker.leave()
    assert stuck.holds == [request_id]
    stuck.leave()
    assert code_and_delivery(requester, request_id) == ("worker_lost", MAY)


def test_a_failure_of_the_handler_has_no_delivery() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    for code in (None, "own_code", "bad_request", "unknown_command"):
        request_id = requester.submit()
        worker.fail(request_id, "no", code)
        failure = failure_of(requester, request_id)
        assert (failure.delivery, failure.queue_wait_s) == (None, 0.0)


def test_uncarriable_data_was_not_delivered_and_an_uncarriable_result_may_have_run() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    worker.refuses = NotRepresentable("data: too odd")
    assert code_and_delivery(requester, requester.submit()) == ("not_representable", NOT)
    worker.refuses = None
    requester.refuses = TooLarge("result: too long")
    request_id = requester.submit()
    worker.succeed(request_id)
    assert code_and_delivery(requester, request_id) == ("too_large", MAY)


def test_queue_wait_is_the_sum_of_all_waits() -> None:
    world = World("round_robin")
    worker, busy, requester = world.worker("w"), world.worker("busy"), world.requester()
    running = [requester.submit(), requester.submit()]
    request_id = requester.submit(idempotent=True)
    world.sleep(0.5)
    worker.succeed(running[0])
    assert worker.holds == [request_id]
    world.sleep(2.0)
    worker.leave()
    world.sleep(0.25)
    busy.succeed(running[1])
    assert busy.holds == [request_id]
    busy.fail(request_id)
    assert failure_of(requester, request_id).queue_wait_s == pytest.approx(0.75)
    first, second, third = (requester.submit(idempotent=True) for _ in range(3))
    busy.succeed(first)
    assert busy.holds == [second]
    world.sleep(1.0)
    requester.cancel(third)
    assert failure_of(requester, third).queue_wait_s == pytest.approx(1.0)


def test_a_failure_of_the_handler_has_the_queue_wait_too() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit()
    second = requester.submit()
    world.sleep(0.3004)
    worker.succeed("r1")
    world.sleep(5.0)
    worker.fail(second)
    assert failure_of(requester, second).queue_wait_s == 0.3, "in milliseconds"


@pytest.mark.parametrize(
    ("served_per_s", "expected"),
    [
        (0.0, RETRY_AFTER_S_UNKNOWN),
        (2.0, 1.0),
        (19.9, 0.101),
        (20.1, RETRY_AFTER_S_MIN),
        (2 / 59.9, 59.9),
        (2 / 60.1, RETRY_AFTER_S_MAX),
    ],
)
def test_a_full_queue_says_when_to_retry(served_per_s: float, expected: float) -> None:
    world = World(queue_count_max=2)
    world.worker()
    requester = world.requester()
    for _ in range(3):
        requester.submit()
    world.core.roster.commands["echo"].route.waiting.overload.served_per_s = served_per_s
    failure = failure_of(requester, requester.submit())
    assert (failure.code, failure.delivery) == ("overloaded", NOT)
    assert failure.retry_after_s == pytest.approx(expected)


def test_a_full_queue_whose_speed_is_not_known_yet_says_so_too() -> None:
    world = World(queue_count_max=2)
    world.worker()
    requester = world.requester()
    for _ in range(3):
        requester.submit()
    assert failure_of(requester, requester.submit()).retry_after_s == RETRY_AFTER_S_UNKNOWN


def test_failures_of_the_broker_have_the_code_and_the_text_of_the_registry() -> None:
    assert plain_failure(WorkerTimeout) == Failure("timeout", "Worker response timeout")


def test_a_connection_with_too_much_in_flight_is_refused_with_a_time_to_retry() -> None:
    world = World(in_flight_count_max=1)
    world.worker(concurrency=5)
    requester = world.requester()
    requester.submit()
    failure = failure_of(requester, requester.submit())
    assert (failure.code, failure.delivery, failure.retry_after_s) == ("overloaded", NOT, RETRY_AFTER_S)
    world.drain()
    other = world.requester()
    refused = failure_of(other, other.submit())
    assert (refused.code, refused.retry_after_s) == ("shutting_down", None)
