"""The steps that a listener is notified of, for each way that a request can take. The state machine shows on every
walk that they are complete and correct."""

import pytest
from taskferry.broker.core.delivery.deadlines import TICK_S
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable

from tests.unit.broker.core.listening import WatchfulListener
from tests.unit.broker.core.world import World


@pytest.fixture
def world() -> World:
    return World(listener=WatchfulListener())


def story(world: World) -> list[str]:
    assert world.listener is not None
    return world.listener.story


def test_a_request_that_succeeds(world: World) -> None:
    worker, requester = world.worker("w"), world.requester()
    worker.succeed(requester.submit())
    assert story(world) == ["r1 admitted", "r1 to w", "r1 success"]


def test_a_request_that_waits_first(world: World) -> None:
    worker, requester = world.worker("w"), world.requester()
    first, second = requester.submit(), requester.submit()
    worker.succeed(first)
    worker.fail(second)
    assert story(world) == [
        "r1 admitted", "r1 to w", "r2 admitted", "r2 waits", "r1 success", "r2 to w", "r2 handler_error",
    ]  # fmt: skip


def test_a_request_for_which_there_is_no_room() -> None:
    world = World(listener=WatchfulListener(), queue_count_max=0)
    world.worker("w")
    requester = world.requester()
    requester.submit()
    requester.submit()
    assert story(world)[2:] == ["r2 admitted", "r2 overloaded"]


def test_a_request_without_workers(world: World) -> None:
    world.requester().submit("nobody", trace="t")
    assert story(world) == ["r1 admitted", "r1 no_available_workers"]


def test_a_refused_call_is_not_reported(world: World) -> None:
    world.worker()
    requester = world.requester()
    requester.submit(hedge=0.2)
    assert requester.outcome("r1") == "bad_request"
    assert story(world) == []


def test_a_hedge_that_wins(world: World) -> None:
    world.worker("first")
    second = world.worker("second")
    request_id = world.requester().submit(hedge=0.2, idempotent=True)
    world.sleep(0.2 + TICK_S)
    second.succeed(request_id)
    assert story(world) == [
        "r1 admitted", "r1 to first", "r1 to second as hedge", "r1 not first: answered", "r1 success",
    ]  # fmt: skip


def test_a_retry_on_another_worker(world: World) -> None:
    first = world.worker("first")
    request_id = world.requester().submit(idempotent=True)
    second = world.worker("second")
    first.leave()
    second.succeed(request_id)
    assert story(world) == [
        "r1 admitted", "r1 to first", "r1 not first: worker_lost", "r1 to second", "r1 success",
    ]  # fmt: skip


def test_a_reassignment_that_waits_again(world: World) -> None:
    first = world.worker("first", is_stuck=True)
    second, requester = world.worker("second"), world.requester()
    running = requester.submit(target="second")
    request_id = requester.submit(timeout=5.0)
    first.leave()
    assert story(world)[-2:] == [f"{request_id} not first: not_delivered", f"{request_id} waits"]
    world.sleep(6.0)
    assert story(world)[-1] == f"{request_id} timeout"
    second.succeed(running)


def test_a_request_that_one_worker_cannot_be_sent_but_another_can(world: World) -> None:
    packs, reads = world.worker("packs", encoding=Encoding.MSGPACK), world.worker("reads")
    packs.refuses = NotRepresentable("an integer over 64 bits")
    requester = world.requester()
    for _ in range(2):  # one of them is tried with `packs` first
        reads.succeed(requester.submit())
    assert story(world).count("r1 to reads") == story(world).count("r2 to reads") == 1
    reads.leave()
    requester.submit()
    assert story(world)[-2:] == ["r3 admitted", "r3 not_representable"]


def test_a_request_whose_requester_leaves(world: World) -> None:
    world.worker("w")
    requester = world.requester()
    requester.submit()
    requester.leave()
    assert story(world)[-1] == "r1 requester_gone"
