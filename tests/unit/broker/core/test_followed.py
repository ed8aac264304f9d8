"""What a follower of requests is told of the ways that one can go. That it is told all of it, and nothing else, the
state machine shows on every walk."""

import pytest
from taskferry.broker.core.delivery.deadlines import TICK_S
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable

from tests.unit.broker.core.following import WatchfulFollower
from tests.unit.broker.core.world import World


@pytest.fixture
def world() -> World:
    return World(follower=WatchfulFollower())


def told(world: World) -> list[str]:
    assert world.follower is not None
    return world.follower.told


def test_a_request_that_goes_well(world: World) -> None:
    worker, requester = world.worker("w"), world.requester()
    worker.succeed(requester.submit())
    assert told(world) == ["r1 admitted", "r1 to w", "r1 success"]


def test_one_that_waits_first(world: World) -> None:
    worker, requester = world.worker("w"), world.requester()
    first, second = requester.submit(), requester.submit()
    worker.succeed(first)
    worker.fail(second)
    assert told(world) == [
        "r1 admitted", "r1 to w", "r2 admitted", "r2 waits", "r1 success", "r2 to w", "r2 handler_error",
    ]  # fmt: skip


def test_one_for_which_there_is_no_room() -> None:
    world = World(follower=WatchfulFollower(), queue_count_max=0)
    world.worker("w")
    requester = world.requester()
    requester.submit()
    requester.submit()
    assert told(world)[2:] == ["r2 admitted", "r2 overloaded"]


def test_one_that_nobody_serves(world: World) -> None:
    world.requester().submit("nobody", trace="t")
    assert told(world) == ["r1 no_available_workers, trace t"]


def test_what_is_not_admitted_is_not_followed(world: World) -> None:
    world.worker()
    requester = world.requester()
    requester.submit(hedge=0.2)
    assert requester.outcome("r1") == "bad_request"
    assert told(world) == []


def test_the_second_copy_and_the_first_in_vain(world: World) -> None:
    world.worker("first")
    second = world.worker("second")
    request_id = world.requester().submit(hedge=0.2, idempotent=True)
    world.sleep(0.2 + TICK_S)
    second.succeed(request_id)
    assert told(world) == [
        "r1 admitted", "r1 to first", "r1 to second as hedge", "r1 not first: answered", "r1 success",
    ]  # fmt: skip


def test_a_lost_worker_and_another_one(world: World) -> None:
    first = world.worker("first")
    request_id = world.requester().submit(idempotent=True)
    second = world.worker("second")
    first.leave()
    second.succeed(request_id)
    assert told(world) == [
        "r1 admitted", "r1 to first", "r1 not first: worker_lost", "r1 to second", "r1 success",
    ]  # fmt: skip


def test_a_lost_worker_that_had_not_been_sent_it_and_a_new_wait(world: World) -> None:
    first = world.worker("first", is_stuck=True)
    second, requester = world.worker("second"), world.requester()
    running = requester.submit(target="second")
    request_id = requester.submit(timeout=5.0)
    first.leave()
    assert told(world)[-2:] == [f"{request_id} not first: not_delivered", f"{request_id} waits"]
    world.sleep(6.0)
    assert told(world)[-1] == f"{request_id} timeout"
    second.succeed(running)


def test_what_one_worker_cannot_be_sent_and_another_can(world: World) -> None:
    packs, reads = world.worker("packs", encoding=Encoding.MSGPACK), world.worker("reads")
    packs.refuses = NotRepresentable("an integer over 64 bits")
    requester = world.requester()
    for _ in range(2):  # one of them is tried with `packs` first
        reads.succeed(requester.submit())
    assert told(world).count("r1 to reads") == told(world).count("r2 to reads") == 1
    reads.leave()
    requester.submit()
    assert told(world)[-2:] == ["r3 admitted", "r3 not_representable"]


def test_one_whose_requester_goes(world: World) -> None:
    world.worker("w")
    requester = world.requester()
    requester.submit()
    requester.leave()
    assert told(world)[-1] == "r1 requester_gone"
