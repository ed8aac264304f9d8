"""The first seconds after the broker's start: what nobody serves yet waits for the workers to come back."""

from typing import Any

import pytest
from taskferry.broker.core.explain import explain
from taskferry.broker.core.fleet import gathering

from tests.unit.broker.core.world import World

START_WAIT_S = 5.0
LATE_S_MAX = 0.25
"""How much longer it may take: the core checks that often."""


def started(start_wait_s: float = START_WAIT_S, **settings: Any) -> World:
    world = World(start_wait_s=start_wait_s, **settings)
    world.core.started(world.now)
    world.check()
    return world


def test_a_request_that_nobody_serves_yet_waits_for_the_first_worker() -> None:
    world = started()
    requester = world.requester()
    sent = requester.submit("echo", timeout=10.0)
    assert not world.answers
    assert world.core.queue.count == 1
    world.sleep(START_WAIT_S - 1.0)
    worker = world.worker("w", "echo")
    (delivery,) = worker.delivered
    assert (delivery.request_id, delivery.timeout_s) == (sent, 6.0)
    worker.succeed(sent)
    assert world.outcomes() == {"success": 1}
    command = world.core.roster.commands["echo"]
    assert (command.outcomes, command.strategy, command.is_listed) == ({"success": 1}, "least_loaded", True)
    assert sum(command.queue_wait.counts) == 1


def test_what_nobody_has_served_by_then_fails_and_is_counted_as_unserved() -> None:
    world = started()
    requester = world.requester()
    requester.submit("echo")
    requester.submit("echo", target="w")
    world.sleep(START_WAIT_S - 0.01)
    assert not world.answers
    world.sleep(0.01 + LATE_S_MAX)
    assert [(answer.outcome, answer.text) for answer in world.answers] == [
        ("no_available_workers", "No available workers: no worker serves 'echo'; start one that does"),
        ("no_available_workers", "No available workers: no worker serves 'echo'; start one that does"),
    ]
    assert {answer.failure.delivery for answer in world.answers if answer.failure} == {"not_delivered"}
    roster = world.core.roster
    assert (roster.unserved_count, roster.commands, roster.gathering.awaited) == (2, {}, {})
    requester.submit("echo")
    assert len(world.answers) == 3, "from now on it fails at once"
    world.sleep(60.0)
    assert world.core.next_at == float("inf"), "an idle broker sleeps"


def test_its_own_deadline_ends_a_request_that_waits() -> None:
    world = started()
    world.requester().submit("echo", timeout=1.0)
    world.sleep(1.02)
    assert world.outcomes() == {"timeout": 1}
    world.worker("w", "echo")
    assert world.core.roster.commands["echo"].outcomes == {"timeout": 1}


def test_what_a_worker_served_that_left_again_waits_too() -> None:
    world = started()
    requester = world.requester()
    flapping = world.worker("w", "echo", concurrency=1)
    written = requester.submit("echo", idempotent=True)
    risky_worker = world.worker("v", "risky", concurrency=1)
    requester.submit("risky", idempotent=False)
    queued = requester.submit("echo")
    risky_worker.leave()
    assert world.outcomes() == {"worker_lost": 1}, "it may have run, and may not run twice"
    flapping.leave()
    requester.submit("echo")
    assert world.outcomes() == {"worker_lost": 1}
    again = world.worker("w", "echo", concurrency=3)
    assert {delivery.request_id for delivery in again.delivered} >= {written, queued}
    assert world.core.queue.count == 0


def test_a_target_waits_for_the_worker_that_it_names() -> None:
    world = started()
    requester = world.requester()
    other = world.worker("other", "echo")
    by_name = requester.submit("echo", target="w")
    by_label = requester.submit("late", target={"gpu": "yes"})
    assert not other.delivered
    assert not world.answers
    worker = world.worker("w", "echo", "late", labels={"gpu": "yes"}, concurrency=2)
    assert {delivery.request_id for delivery in worker.delivered} == {by_name, by_label}


def test_attempts_of_jobs_wait_in_their_lanes_and_not_here() -> None:
    world = started()
    requester = world.requester()
    requester.attempt("echo")
    assert world.outcomes() == {"no_available_workers": 1}
    worker = world.worker("w", "other", concurrency=1)
    waiting = [requester.attempt("other") for _ in range(2)]
    requester.submit("other", request_id="live")
    worker.leave()
    assert [requester.outcome(request_id) for request_id in waiting] == [
        "worker_lost",
        "no_available_workers",
    ]
    assert requester.outcome("live") is None


def test_names_that_requesters_invent_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathering.AWAITED_COUNT_MAX == 1000
    monkeypatch.setattr(gathering, "AWAITED_COUNT_MAX", 2)
    world = started()
    requester = world.requester()
    for name in ("a", "b", "a", "c"):
        requester.submit(name)
    assert world.outcomes() == {"no_available_workers": 1}
    assert set(world.core.roster.gathering.awaited) == {"a", "b"}
    world.worker("w", "a")
    requester.submit("c")
    assert world.outcomes() == {"no_available_workers": 1}, "there is room again"


def test_the_bounds_of_what_waits_hold_here_too() -> None:
    world = started(queue_count_max=1)
    requester = world.requester()
    requester.submit("a")
    requester.submit("b")
    assert world.outcomes() == {"overloaded": 1}


def test_zero_seconds_turn_it_off() -> None:
    world = started(start_wait_s=0.0)
    world.requester().submit("echo")
    assert world.outcomes() == {"no_available_workers": 1}


def test_what_waits_for_a_free_slot_is_not_concerned_when_it_is_over() -> None:
    world = started()
    worker, requester = world.worker("w", "echo", concurrency=1), world.requester()
    first, second = requester.submit(), requester.submit()
    world.sleep(START_WAIT_S + LATE_S_MAX)
    worker.succeed(first)
    worker.succeed(second)
    assert world.outcomes() == {"success": 2}


def test_a_pause_of_the_broker_is_no_time_for_workers_to_come_back() -> None:
    world = started()
    world.requester().submit("echo", timeout=10.0)
    world.pause(60.0)
    world.sleep(START_WAIT_S - 1.0)
    assert not world.answers
    world.sleep(1.0 + LATE_S_MAX)
    assert world.outcomes() == {"no_available_workers": 1}


def test_it_is_explained_what_such_a_request_waits_for() -> None:
    world = started()
    sent = world.requester().submit("echo")
    (row,) = explain(world.core, sent, world.now)
    assert row["waits_for"].startswith("for a worker that serves it: the broker has just started")
    assert (row["command"], row["position"], row["workers_count"]) == ("echo", 1, 0)


def test_a_broker_that_stops_ends_what_waits() -> None:
    world = started()
    world.requester().submit("echo")
    world.stop()
    assert world.outcomes() == {"shutting_down": 1}
