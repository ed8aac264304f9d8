"""How the time of answered requests is divided: their worker's, and the broker's own two turns."""

import pytest
from taskferry.broker.core.fleet.command import Command

from tests.unit.broker.core.world import FakeWorker, World


def command(world: World, name: str = "echo") -> Command:
    return world.core.roster.commands[name]


def count(world: World, name: str = "echo") -> tuple[int, int]:
    """How many requests are in the worker's and in the broker's histogram."""
    of = command(world, name)
    return sum(of.worker_duration.counts), sum(of.broker_duration.counts)


def end_turn(world: World, took_s: float) -> None:
    """End a turn that began `took_s` ago."""
    world.core.turn_ended(world.now - took_s, world.now)


def answer_after(world: World, worker: FakeWorker, request_id: str, seconds: float) -> None:
    """Make `worker` answer; its response is read `seconds` from now."""
    world.sleep(seconds)
    worker.succeed(request_id)


def test_the_time_between_the_two_turns_is_the_worker_s_and_the_turns_are_the_broker_s() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    world.sleep(0.25)  # the loop is held up before the assignment is written
    end_turn(world, took_s=0.25)
    world.sleep(2.0)
    answer_after(world, worker, request_id, 1.0)
    world.sleep(0.5)  # and again before the answer is written
    assert count(world) == (0, 0), "known when the turn ends"
    end_turn(world, took_s=0.5)
    assert count(world) == (1, 1)
    assert command(world).worker_duration.sum_s == pytest.approx(3.0)
    assert command(world).broker_duration.sum_s == pytest.approx(0.75)


def test_waiting_for_a_slot_is_neither() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first, second = requester.submit(), requester.submit()
    end_turn(world, took_s=0.0)
    answer_after(world, worker, first, 4.0)
    end_turn(world, took_s=0.0)
    answer_after(world, worker, second, 1.0)
    end_turn(world, took_s=0.0)
    of = command(world)
    assert (of.queue_wait.sum_s, of.worker_duration.sum_s, of.broker_duration.sum_s) == (4.0, 5.0, 0.0)
    assert of.duration.sum_s == pytest.approx(4.0 + 5.0)


def test_each_request_that_shares_both_turns_counts() -> None:
    world = World()
    worker = world.worker("w", "a", "b", concurrency=9)
    requester = world.requester()
    sent = [requester.submit(name) for name in ("a", "b", "a", "a")]
    end_turn(world, took_s=0.0)
    world.sleep(1.0)
    for request_id in sent[:3]:
        worker.succeed(request_id)
    end_turn(world, took_s=0.0)
    assert (count(world, "a"), count(world, "b")) == ((2, 2), (1, 1))
    world.sleep(1.0)
    worker.fail(sent[3])
    end_turn(world, took_s=0.0)
    assert count(world, "a") == (3, 3), "a failure that a worker reports is an answer"
    assert command(world, "a").worker_duration.sum_s == pytest.approx(1 + 1 + 2)


def test_requests_not_answered_in_time_are_not_counted() -> None:
    world = World()
    worker, requester = world.worker(concurrency=9), world.requester()
    late, cancelled = requester.submit(timeout=1.0), requester.submit()
    end_turn(world, took_s=0.0)
    requester.cancel(cancelled)
    world.sleep(2.0)
    for msg_id in tuple(worker.deliveries):
        worker.succeed(worker.deliveries[msg_id].request_id)
    end_turn(world, took_s=0.0)
    assert count(world) == (0, 0)
    assert world.core.counts.late_responses_count == 2
    assert requester.outcome(late) == "timeout"


def test_a_canary_is_not_counted() -> None:
    world = World()
    worker = world.worker(canary="echo")
    end_turn(world, took_s=0.0)
    worker.succeed("canary")
    end_turn(world, took_s=0.0)
    assert count(world) == (0, 0)


def test_an_answer_before_the_assignment_was_written_took_no_time() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    world.sleep(1.0)
    worker.succeed(requester.submit())
    end_turn(world, took_s=1.0)
    assert command(world).worker_duration.sum_s == 0.0
    assert count(world) == (1, 1)


def test_of_two_copies_the_answered_one_counts() -> None:
    world = World(hedges_share_max=1.0)
    first, requester = world.worker("first"), world.requester()
    request_id = requester.submit(idempotent=True, hedge=5.0)
    end_turn(world, took_s=0.0)
    second = world.worker("second")
    world.sleep(5.5)
    assert second.holds == first.holds == [request_id]
    end_turn(world, took_s=0.0)
    answer_after(world, second, request_id, 2.0)
    end_turn(world, took_s=0.0)
    assert count(world) == (1, 1)
    assert command(world).worker_duration.sum_s == pytest.approx(2.0)
