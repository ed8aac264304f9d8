"""What a failure says beside its code: whether the command can have run, how long it waited, when to come again."""

import pytest
from taskferry.broker.core.delivery.admission import RETRY_AFTER_S
from taskferry.broker.core.queue.queue import RETRY_AFTER_S_MAX, RETRY_AFTER_S_MIN, RETRY_AFTER_S_UNKNOWN
from taskferry.protocol.errors import REGISTRY, NotRepresentable, TaskferryError, TooLarge

from tests.unit.broker.core.world import FakeRequester, World

MAY = "may_have_run"
NOT = "not_delivered"


def error_of(requester: FakeRequester, request_id: str) -> TaskferryError:
    """What a requester was told. What may have run is never under a code that says it certainly did not."""
    error = requester.answer(request_id).error
    assert error is not None
    if error.delivery == MAY:
        assert not REGISTRY[error.code].retryable
    return error


def told(requester: FakeRequester, request_id: str) -> tuple[str, str | None]:
    error = error_of(requester, request_id)
    return error.code, error.delivery


def test_what_nobody_serves_was_not_delivered() -> None:
    world = World()
    world.worker("w", "served").leave()
    requester = world.requester()
    for command in ("served", "unheard-of"):
        error = error_of(requester, requester.submit(command))
        assert (error.code, error.delivery, error.queue_wait_s) == ("no_available_workers", NOT, 0.0)
        assert error.retry_after_s is None


def test_what_a_worker_has_may_have_run_whatever_ends_it() -> None:
    world = World()
    worker, requester = world.worker("w", concurrency=5), world.requester()
    late, cancelled, lost = requester.submit(timeout=1.0), requester.submit(), requester.submit()
    requester.cancel(cancelled)
    world.sleep(1.1)
    worker.leave()
    last = world.worker("last")
    stopped = requester.submit()
    world.stop()
    assert [told(requester, request_id) for request_id in (late, cancelled, lost, stopped)] == [
        ("timeout", MAY),
        ("cancelled", MAY),
        ("worker_lost", MAY),
        ("broker_stopped", MAY),
    ]
    assert last.cancels


def test_what_waits_was_not_delivered_whatever_ends_it() -> None:
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
    assert [told(requester, request_id) for request_id in (late, cancelled, stranded, stopped)] == [
        ("timeout", NOT),
        ("cancelled", NOT),
        ("no_available_workers", NOT),
        ("shutting_down", NOT),
    ]


@pytest.mark.parametrize("end", ["timeout", "cancelled", "broker_stopped"])
def test_what_a_link_still_holds_may_yet_run(end: str) -> None:
    # Nothing takes it back: once the worker reads again it gets the assignment, and the cancel after it.
    world = World()
    worker, requester = world.worker("w", is_stuck=True), world.requester()
    request_id = requester.submit(timeout=1.0)
    if end == "cancelled":
        requester.cancel(request_id)
    elif end == "broker_stopped":
        world.stop()
    world.sleep(1.1)
    assert told(requester, request_id) == (end, MAY)
    assert worker.holds == [request_id]


def test_what_was_lost_before_it_left_was_not_delivered() -> None:
    world = World()
    worker, requester = world.worker("w", is_stuck=True), world.requester()
    alone = requester.submit()
    worker.leave()
    assert told(requester, alone) == ("no_available_workers", NOT)
    stuck, busy = world.worker("stuck", is_stuck=True), world.worker("busy")
    busy_with, waits = requester.submit(target="busy"), requester.submit(timeout=1.0)
    assert stuck.holds == [waits]
    stuck.leave()
    world.sleep(1.1)
    assert told(requester, waits) == ("timeout", NOT)
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
def test_what_one_worker_may_have_run_stays_so_while_it_waits_for_another(end: str, code: str) -> None:
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
    assert told(requester, lost) == (code, MAY)


def test_what_two_workers_had_may_have_run_though_the_second_never_got_it() -> None:
    world = World("round_robin")
    worker, stuck = world.worker("w"), world.worker("stuck", is_stuck=True)
    requester = world.requester()
    request_id = requester.submit(idempotent=True)
    worker.leave()
    assert stuck.holds == [request_id]
    stuck.leave()
    assert told(requester, request_id) == ("worker_lost", MAY)


def test_an_answer_of_the_handler_says_nothing_of_delivery() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    for code in (None, "own_code", "bad_request", "unknown_command"):
        request_id = requester.submit()
        worker.fail(request_id, "no", code)
        error = error_of(requester, request_id)
        assert (error.delivery, error.queue_wait_s) == (None, 0.0)


def test_data_that_cannot_be_carried_was_not_delivered_and_a_result_that_cannot_has_run() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    worker.refuses = NotRepresentable("data: too odd")
    assert told(requester, requester.submit()) == ("not_representable", NOT)
    worker.refuses = None
    requester.refuses = TooLarge("result: too long")
    request_id = requester.submit()
    worker.succeed(request_id)
    assert told(requester, request_id) == ("too_large", MAY)


def test_the_wait_is_told_as_the_sum_of_all_waits() -> None:
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
    requester.cancel(request_id)
    assert error_of(requester, request_id).queue_wait_s == pytest.approx(0.75)
    busy.succeed(running[1])


def test_a_failure_of_the_handler_tells_the_wait_too() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit()
    second = requester.submit()
    world.sleep(0.3)
    worker.succeed("r1")
    world.sleep(5.0)
    worker.fail(second)
    assert error_of(requester, second).queue_wait_s == 0.3


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
def test_a_full_queue_says_when_it_will_have_moved(served_per_s: float, expected: float) -> None:
    world = World(queue_count_max=2)
    world.worker()
    requester = world.requester()
    for _ in range(3):
        requester.submit()
    world.core.roster.commands["echo"].route.overload.served_per_s = served_per_s
    error = error_of(requester, requester.submit())
    assert (error.code, error.delivery) == ("overloaded", NOT)
    assert error.retry_after_s == pytest.approx(expected)


def test_a_connection_with_too_much_in_flight_is_told_when_to_come_again() -> None:
    world = World(in_flight_count_max=1)
    world.worker(concurrency=5)
    requester = world.requester()
    requester.submit()
    error = error_of(requester, requester.submit())
    assert (error.code, error.retry_after_s) == ("overloaded", RETRY_AFTER_S)
    world.drain()
    other = world.requester()
    refused = error_of(other, other.submit())
    assert (refused.code, refused.retry_after_s) == ("shutting_down", None)
