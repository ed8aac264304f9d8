"""Where most workers of a command are not trusted the fault is elsewhere: all are asked, until half are well."""

import pytest
from taskferry.broker.core.health.canary import CANARY_TIMEOUT_S
from taskferry.broker.core.health.ejection import EJECTION_S

from tests.unit.broker.core.world import CANARY, FakeWorker, World


def world_of(count: int, **hello: int) -> tuple[World, list[FakeWorker]]:
    world = World("round_robin")
    return world, [world.worker(f"w{number}", **hello) for number in range(count)]


def asked(world: World, workers: list[FakeWorker]) -> str:
    """Who is given work, of those that are free."""
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
def test_below_half_of_them_trusted_all_are_asked(count: int, silent: int, expected: str) -> None:
    world, workers = world_of(count)
    for worker in workers[:silent]:
        worker.fall_silent()
    assert asked(world, workers) == expected


def test_once_half_are_well_the_others_are_asked_no_more() -> None:
    world, workers = world_of(4)
    for worker in workers[:3]:
        worker.fall_silent()
    workers[2].speak_again()
    assert asked(world, workers) == "w2 w3"


def test_who_waits_is_given_to_the_suspect_when_the_panic_begins() -> None:
    world, workers = world_of(3, concurrency=2)
    requester = world.requester()
    workers[0].fall_silent()
    for _ in range(5):
        requester.submit()
    assert (workers[0].holds, world.core.queue.count) == ([], 1)
    workers[1].fall_silent()
    assert (workers[0].holds, world.core.queue.count) == (["r5"], 0)


def test_the_end_of_a_panic_takes_nothing_away() -> None:
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
    assert asked(world, [worker, other]) == rest.worker_id


def test_workers_come_and_go_during_a_panic() -> None:
    world, workers = world_of(3)
    for worker in workers[:2]:
        worker.fall_silent()
    assert asked(world, workers) == "w0 w1 w2"
    workers.append(world.worker("fresh"))
    assert asked(world, workers) == "w2 fresh", "half are well"
    workers.pop(2).leave()
    assert asked(world, workers) == "w0 w1 fresh"
    workers.pop(2).drain()
    assert asked(world, workers) == "w0 w1"


def test_one_whose_first_canary_is_out_is_not_asked_even_then() -> None:
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


def test_the_ejected_are_asked_too_and_are_ejected_still() -> None:
    world, (worker, other) = world_of(2)
    world.eject(worker)
    other.fall_silent()
    assert asked(world, [worker, other]) == "w0 w1"
    assert (worker.state, other.state) == ("ejected", "suspect")
    requester = world.requester()
    worker.succeed(requester.submit(target="w0"))
    assert worker.state == "ejected"
    world.sleep(EJECTION_S + 0.3)
    assert worker.state == "probing"
    assert asked(world, [worker]) == "w0"


def test_what_fails_in_a_panic_ejects_nobody_who_is_not_trusted() -> None:
    world, (first, second, _) = world_of(3)
    for worker in (first, second):
        worker.fall_silent()
    requester = world.requester()
    for _ in range(20):
        first.fail(requester.submit(target="w0"))
    assert first.state == "suspect"


def test_panic_in_one_command_is_none_in_another() -> None:
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


def test_a_worker_that_is_ejected_for_its_canary_makes_no_half() -> None:
    world = World()
    silent = world.worker("w", canary="echo")
    requester = world.requester()
    waiting = requester.submit()
    assert requester.outcome(waiting) is None, "it is there, and may be well in a moment"
    world.sleep(CANARY_TIMEOUT_S + 0.3)
    assert silent.state == "ejected"
    assert silent.holds == [CANARY], "its one slot is taken"
    silent.fail(CANARY)
    assert silent.holds == [waiting], "there is nobody else"
