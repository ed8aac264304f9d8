"""Some commands of a worker need a place, of which it has fewer than slots: the rest goes elsewhere, or waits."""

import pytest
from taskferry.broker.core.explain import explain
from taskferry.broker.core.offer import PlacesOffer
from taskferry.loadbalance.registry import STRATEGIES

from tests.unit.broker.core.world import CANARY, FakeWorker, World

CPU = PlacesOffer(frozenset({"render", "resize"}), 2)


def placed(world: World, worker_id: str = "w", concurrency: int = 8, places: PlacesOffer = CPU) -> FakeWorker:
    return world.worker(worker_id, "echo", "render", "resize", concurrency=concurrency, places=places)


def test_places_are_shared_by_their_commands_and_by_no_other() -> None:
    world = World()
    worker, requester = placed(world), world.requester()
    first, second = requester.submit("render"), requester.submit("resize")
    waiting = [requester.submit("render"), requester.submit("resize")]
    echoed = [requester.submit("echo") for _ in range(3)]
    assert worker.holds == [first, second, *echoed]
    worker.succeed(echoed[0])
    assert world.core.queue.count == 2, "a free slot is no free place"
    worker.succeed(first)
    assert worker.holds == [second, *echoed[1:], waiting[0]]
    worker.fail(second)
    assert world.core.queue.count == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_finds_no_place_goes_to_another_worker(strategy: str) -> None:
    world = World(strategy)
    first, second, requester = placed(world, "first"), placed(world, "second"), world.requester()
    sent = [requester.submit("render", affinity="a") for _ in range(5)]
    assert (len(first.holds), len(second.holds)) == (2, 2)
    assert [request_id for request_id in sent if request_id not in first.holds + second.holds] == [sent[4]]


def test_slots_bound_what_has_a_place_too() -> None:
    world = World()
    worker, requester = placed(world, concurrency=1), world.requester()
    running, waiting = requester.submit("echo"), requester.submit("render")
    assert worker.holds == [running]
    worker.succeed(running)
    assert worker.holds == [waiting]


def test_a_timed_out_request_keeps_its_place_until_its_worker_answers() -> None:
    world = World()
    worker, requester = placed(world, places=PlacesOffer(frozenset({"render"}), 1)), world.requester()
    late = requester.submit("render", timeout=1.0)
    world.sleep(1.1)
    assert requester.outcome(late) == "timeout"
    waiting = requester.submit("render", timeout=60.0)
    assert worker.holds == [late]
    worker.fail(late, code="cancelled")
    assert worker.holds == [waiting]


def test_workers_with_places_and_without_serve_the_same_commands() -> None:
    world = World("round_robin")
    plain = world.worker("plain", "echo", "render", "resize", concurrency=2)
    bounded, requester = placed(world, places=PlacesOffer(frozenset({"render"}), 1)), world.requester()
    for _ in range(4):
        requester.submit("render")
    assert (len(plain.holds), len(bounded.holds)) == (2, 1)
    requester.submit("resize")
    assert len(bounded.holds) == 2
    pools = {name: command.route.pool for name, command in world.core.roster.commands.items()}
    assert pools["echo"] is pools["resize"] is not pools["render"]
    assert pools["render"] is not None
    assert pools["render"].slots_count == 3


def test_pools_whose_workers_are_alike_but_for_places_stay_two() -> None:
    world = World()
    placed(world)
    world.sleep(5)
    pools = {command.route.pool for command in world.core.roster.commands.values()}
    assert len(pools) == 2


def test_a_target_does_not_evade_the_places() -> None:
    world = World()
    worker, requester = placed(world, places=PlacesOffer(frozenset({"render"}), 1)), world.requester()
    running = requester.submit("render", target="w")
    waiting = requester.submit("render", target="w")
    assert worker.holds == [running]
    worker.succeed(running)
    assert worker.holds == [waiting]


def test_a_canary_that_needs_a_place_is_sent_when_one_is_free() -> None:
    world = World()
    worker = world.worker(
        "w", "render", concurrency=8, canary="render", places=PlacesOffer(frozenset({"render"}), 1)
    )
    worker.succeed(CANARY)
    requester = world.requester()
    running = requester.submit("render", timeout=3600)
    world.sleep(60)
    assert worker.holds == [running]
    worker.succeed(running)
    world.sleep(20)
    assert worker.holds == [CANARY]


def test_an_explanation_names_the_places() -> None:
    world = World()
    placed(world)
    requester = world.requester()
    waiting = [requester.submit("render") for _ in range(3)][-1]
    (answer,) = explain(world.core, waiting, world.now)
    assert [worker["reason"] for worker in answer["workers"]] == ["2 of 2 places taken"]
    assert answer["waits_for"].startswith("for a free slot at its worker")


def test_adopted_attempts_take_places_even_if_there_are_fewer() -> None:
    world = World()
    jobs, requester = world.requester(), world.requester()
    worker = FakeWorker(world, "w", ("render",), concurrency=8, places=PlacesOffer(frozenset({"render"}), 1))
    worker.join([worker.adopt(jobs, f"job{n}", f"old.{n}", command="render") for n in (1, 2)])
    waiting = requester.submit("render")
    worker.succeed("job1")
    assert waiting not in worker.holds
    worker.succeed("job2")
    assert worker.holds == [waiting]


def test_places_are_back_after_a_drain_is_undone() -> None:
    world = World()
    worker, requester = placed(world), world.requester()
    running = [requester.submit("render"), requester.submit("render")]
    worker.drain_by_operator()
    worker.succeed(running[0])
    worker.resume_by_operator()
    again, waiting = requester.submit("render"), requester.submit("render")
    assert worker.holds == [running[1], again]
    assert waiting not in worker.holds
