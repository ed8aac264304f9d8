"""If most workers of a command are not trusted, the cause is elsewhere: all are eligible until half are healthy."""

import pytest
from taskferry.broker.core.health.canary import CANARY_INTERVAL_S, CANARY_TIMEOUT_S
from taskferry.broker.core.health.ejection import EJECTION_S
from taskferry.broker.core.health.streak import FAILURES_COUNT_MIN

from tests.unit.broker.core.world import CANARY, FakeWorker, World


def world_of(count: int, **hello: int) -> tuple[World, list[FakeWorker]]:
    world = World("round_robin")
    return world, [world.worker(f"w{number}", **hello) for number in range(count)]


def with_requests(world: World, workers: list[FakeWorker]) -> str:
    """The workers that get requests, of those with a free slot."""
    requester = world.requester()
    for number in range(len(workers)):
        requester.submit(request_id=f"asked-{number}")
    names = " ".join(worker.worker_id for worker in workers if worker.holds)
    requester.leave()
    for worker in workers:
        for request_id in worker.holds:
            worker.fail(request_id, "cancelled", "cancelled")
    return names


@pytest.mark.parametrize(
    ("count", "silent", "expected"),
    [(4, 2, "w2 w3"), (4, 3, "w0 w1 w2 w3"), (3, 1, "w1 w2"), (3, 2, "w0 w1 w2"), (1, 1, "w0"), (2, 1, "w1")],
)
def test_all_workers_are_eligible_if_fewer_than_half_are_trusted(
    count: int, silent: int, expected: str
) -> None:
    world, workers = world_of(count)
    for worker in workers[:silent]:
        worker.fall_silent()
    assert with_requests(world, workers) == expected


def test_once_half_are_healthy_the_others_are_not_eligible() -> None:
    world, workers = world_of(4)
    for worker in workers[:3]:
        worker.fall_silent()
    workers[2].speak_again()
    assert with_requests(world, workers) == "w2 w3"


def test_waiting_requests_go_to_suspect_workers_when_the_panic_starts() -> None:
    world, workers = world_of(3, concurrency=2)
    requester = world.requester()
    workers[0].fall_silent()
    for _ in range(5):
        requester.submit()
    assert (workers[0].holds, world.core.queue.count) == ([], 1)
    workers[1].fall_silent()
    assert (workers[0].holds, world.core.queue.count) == (["r5"], 0)


@pytest.mark.parametrize("cause", ["its canary fails", "it fails too often", "it is ejected and returns"])
def test_whatever_starts_the_panic_waiting_requests_go_to_suspect_workers(cause: str) -> None:
    world, (suspect, busy) = world_of(2)
    suspect.fall_silent()
    requester = world.requester()
    requester.submit(target=busy.worker_id)
    third = world.worker("third", canary="echo" if cause == "its canary fails" else None)
    last = CANARY
    match cause:
        case "its canary fails":
            third.succeed(CANARY)
            world.sleep(CANARY_INTERVAL_S)
        case "it fails too often":
            for _ in range(FAILURES_COUNT_MIN - 1):
                last = f"failure {len(world.submitted)}"
                world.anyone().submit(target="third", request_id=last)
                third.fail(last)
            last = world.anyone().submit(request_id="last")
        case "it is ejected and returns":
            world.eject(third)
            third.leave()
    for _ in range(2):
        requester.submit()
    assert (suspect.holds, world.core.queue.count) == ([], 2)
    if last in third.holds:
        third.fail(last)
    else:
        third = world.worker("third")
    assert (len(suspect.holds), len(third.holds), world.core.queue.count) == (1, 1, 0)


def test_a_suspect_worker_that_succeeds_takes_waiting_requests_at_once() -> None:
    world = World()
    worker, other, requester = world.worker("w", concurrency=2), world.worker("other"), world.requester()
    held = requester.submit(target="w")
    worker.fail(requester.submit(target="w"), "no")
    worker.fall_silent()
    requester.submit()
    waiting = requester.submit()
    assert (worker.holds, len(other.holds)) == ([held], 1)
    worker.succeed(held)
    assert (worker.state, worker.holds) == ("healthy", [waiting])


def test_the_end_of_a_panic_leaves_assignments_alone() -> None:
    world, (worker, other) = world_of(2)
    requester = world.requester()
    worker.fall_silent()
    other.fall_silent()
    request_id = requester.submit()
    (holder,) = (each for each in (worker, other) if each.holds)
    (rest,) = {worker, other} - {holder}
    rest.speak_again()
    assert holder.holds == [request_id]
    holder.succeed(request_id)
    assert requester.outcome(request_id) == "success"
    assert with_requests(world, [worker, other]) == rest.worker_id


def test_workers_join_and_leave_during_a_panic() -> None:
    world, workers = world_of(3)
    for worker in workers[:2]:
        worker.fall_silent()
    assert with_requests(world, workers) == "w0 w1 w2"
    workers.append(world.worker("fresh"))
    assert with_requests(world, workers) == "w2 fresh", "half are healthy"
    workers.pop(2).leave()
    assert with_requests(world, workers) == "w0 w1 fresh"
    workers.pop(2).drain()
    assert with_requests(world, workers) == "w0 w1"


def test_a_joining_worker_is_not_eligible_even_in_a_panic() -> None:
    world, workers = world_of(1)
    joining = world.worker("joining", canary="echo")
    workers[0].fall_silent()
    assert workers[0].state == "suspect"
    requester = world.requester()
    requester.submit()
    requester.submit()
    assert (joining.holds, workers[0].holds) == ([CANARY], ["r1"])
    joining.succeed(CANARY)
    assert joining.holds == ["r2"]


def test_ejected_workers_are_eligible_in_a_panic_and_stay_ejected() -> None:
    world, (worker, other) = world_of(2)
    world.eject(worker)
    other.fall_silent()
    assert with_requests(world, [worker, other]) == "w0 w1"
    assert (worker.state, other.state) == ("ejected", "suspect")
    requester = world.requester()
    worker.succeed(requester.submit(target="w0"))
    assert worker.state == "ejected"
    world.sleep(EJECTION_S + 0.3)
    assert worker.state == "probing"
    assert with_requests(world, [worker]) == "w0"


def test_failures_in_a_panic_eject_only_trusted_workers() -> None:
    world, (first, second, _) = world_of(3)
    for worker in (first, second):
        worker.fall_silent()
    requester = world.requester()
    for _ in range(20):
        first.fail(requester.submit(target="w0"))
    assert first.state == "suspect"


def test_a_panic_in_one_command_does_not_affect_another() -> None:
    world = World()
    both, only_a = world.worker("both", "a", "b"), world.worker("only", "a")
    both.fall_silent()
    requester = world.requester()
    requester.submit("b")
    assert both.holds == ["r1"]
    both.succeed("r1")
    requester.submit("a")
    requester.submit("a")
    assert (both.holds, only_a.holds) == ([], ["r2"])


def test_a_worker_ejected_for_its_canary_is_not_trusted() -> None:
    world = World()
    silent = world.worker("w", canary="echo")
    requester = world.requester()
    waiting = requester.submit()
    assert requester.outcome(waiting) is None, "the worker is connected, and may soon be healthy"
    world.sleep(CANARY_TIMEOUT_S + 0.3)
    assert silent.state == "ejected"
    assert silent.holds == [CANARY], "its one slot is taken"
    silent.fail(CANARY)
    assert silent.holds == [waiting], "there is no other worker"
