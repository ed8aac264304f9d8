"""An explanation gives a request's position, what it waits for, and why each worker does not take it."""

from typing import Any

import pytest
from taskferry.broker.core import explain as explain_module
from taskferry.broker.core.explain import LISTED_COUNT_MAX, explain, explain_workers, longest_waiting
from taskferry.broker.core.health.ejection import EJECTION_S

from tests.unit.broker.core.world import CANARY, World


def explained(world: World, request_id: str) -> dict[str, Any]:
    (answer,) = explain(world.core, request_id, world.now)
    return answer


def reasons(world: World, request_id: str) -> dict[str, str]:
    return {worker["worker_id"]: worker["reason"] for worker in explained(world, request_id)["workers"]}


def test_a_request_that_is_not_in_flight_has_no_explanation() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    worker.succeed(request_id)
    assert explain(world.core, request_id, world.now) == []
    assert explain(world.core, "never-sent", world.now) == []


def test_an_assigned_request() -> None:
    world = World()
    world.worker("w", concurrency=2)
    requester = world.requester()
    request_id = requester.submit(timeout=10.0, priority=7)
    world.sleep(1.5004)
    assert explained(world, request_id) == {
        "request_id": request_id,
        "is_job": False,
        "command": "echo",
        "state": "assigned",
        "priority": 7,
        "age_s": 1.5,
        "remaining_s": 8.5,
        "position": None,
        "position_is_exact": False,
        "queued_count": 0,
        "target": None,
        "is_overloaded": False,
        "waits_for": "for the answer of w",
        "retries_count": 0,
        "assignments": [{"worker_id": "w", "assigned_s": 1.5, "is_hedge": False}],
        "workers_count": 1,
        "workers": [
            {"worker_id": "w", "state": "healthy", "in_flight": 1, "concurrency": 2, "reason": "has it"}
        ],
    }


def test_a_hedged_request() -> None:
    world = World()
    for worker_id in ("first", "second", "third"):
        world.worker(worker_id)
    request_id = world.requester().submit(hedge=0.2, idempotent=True)
    world.sleep(1.0)
    assignments = explained(world, request_id)["assignments"]
    assert [(assignment["worker_id"], assignment["is_hedge"]) for assignment in assignments] == [
        ("first", False),
        ("second", True),
    ]
    assert reasons(world, request_id) == {"first": "has it", "second": "has it", "third": "free"}


def test_equal_ids_of_two_requesters_are_both_explained() -> None:
    world = World()
    world.worker()
    for _ in range(2):
        world.requester().submit(request_id="same")
    assert [answer["state"] for answer in explain(world.core, "same", world.now)] == ["assigned", "waiting"]


def test_the_position_is_the_order_of_service() -> None:
    world = World()
    worker, first, second = world.worker(), world.requester(), world.requester()
    first.submit()
    for requester, priority in ((first, 5), (first, 5), (first, 0), (second, 5), (second, 9), (first, 5)):
        requester.submit(request_id=f"q{len(world.submitted)}", priority=priority)
        world.sleep(0.01)
    positions = {
        request_id: explained(world, request_id)["position"] for request_id in (f"q{n}" for n in range(1, 7))
    }
    served = []
    while worker.holds:
        served += worker.holds
        worker.succeed(worker.holds[0])
    assert sorted(positions, key=lambda request_id: positions[request_id]) == served[1:]
    assert sorted(positions.values()) == [1, 2, 3, 4, 5, 6]


def test_a_position_far_behind_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain_module.POSITION_MAX == 10_000
    monkeypatch.setattr(explain_module, "POSITION_MAX", 2)
    world = World()
    world.worker()
    requester = world.requester()
    requester.submit()
    explanations = [explained(world, requester.submit()) for _ in range(4)]
    assert [(each["position"], each["position_is_exact"]) for each in explanations] == [
        (1, True),
        (2, True),
        (3, False),
        (3, False),
    ]


def test_the_number_of_listed_workers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain_module.WORKERS_LISTED_COUNT_MAX == 100
    monkeypatch.setattr(explain_module, "WORKERS_LISTED_COUNT_MAX", 2)
    world = World()
    for number in range(3):
        world.worker(f"w{number}")
    answer = explained(world, world.requester().submit())
    assert (answer["workers_count"], len(answer["workers"])) == (3, 2)


def test_a_request_usually_waits_for_a_free_slot() -> None:
    world = World()
    world.worker("w")
    requester = world.requester()
    requester.submit()
    waiting = requester.submit()
    assert explained(world, waiting)["waits_for"] == "for a free slot at its worker"
    world.worker("v", concurrency=2)
    requester.submit()
    last = requester.submit()
    answer = explained(world, last)
    assert answer["waits_for"] == "for a free slot at one of its 2 workers"
    assert reasons(world, last) == {"w": "1 of 1 slots taken", "v": "2 of 2 slots taken"}
    requester.submit()
    assert explained(world, last)["waits_for"] == (
        "for a free slot at one of its 2 workers; clients take turns, and one priority class is worth 1 s of waiting"
    )


def test_workers_that_serve_something_else_are_not_listed() -> None:
    world = World()
    world.worker("w")
    world.worker("other", "other-command")
    assert list(reasons(world, world.requester().submit())) == ["w"]


def test_a_target_excludes_workers_that_do_not_match() -> None:
    world = World()
    world.worker("w", labels={"gpu": "yes", "zone": "a"})
    world.worker("v", labels={"gpu": "no"})
    world.worker("u")
    requester = world.requester()
    requester.submit(target="w")
    target = {"gpu": "yes", "zone": ["a", "b"]}
    by_labels, by_id = requester.submit(target=target), requester.submit(target="w")
    answer = explained(world, by_labels)
    assert (answer["target"], answer["waits_for"]) == (target, "for a free slot at its worker")
    assert reasons(world, by_labels) == {
        "w": "1 of 1 slots taken",
        "v": "labels do not match: gpu is no",
        "u": "labels do not match: no gpu",
    }
    assert reasons(world, by_id) == {
        "w": "1 of 1 slots taken",
        "v": "not the requested worker",
        "u": "not the requested worker",
    }


def test_each_worker_that_cannot_take_it_has_a_reason() -> None:
    world = World()
    ejected, suspect, draining = world.worker("ejected"), world.worker("suspect"), world.worker("draining")
    world.worker("joining", canary="echo")
    busy = [world.worker(f"busy{number}") for number in range(4)]
    world.eject(ejected)
    world.sleep(2.0)
    suspect.fall_silent()
    draining.drain_by_operator()
    requester = world.requester()
    for worker in busy:
        requester.submit(target=worker.worker_id)
    waiting = requester.submit()
    assert reasons(world, waiting) == {
        "ejected": "ejected for 28 s more: 5 failures in a row: broken",
        "suspect": "suspect: its link is silent",
        "draining": "draining: drained by an operator",
        "joining": "joining: its first canary is not answered yet",
        **{worker.worker_id: "1 of 1 slots taken" for worker in busy},
    }
    (answer,) = explain(world.core, waiting, world.now + 60.0)
    assert answer["workers"][0]["reason"].startswith("ejected for 0 s more"), "the next check ends it"


def test_a_worker_that_is_probed_has_a_limit_of_one() -> None:
    world = World()
    worker, other = world.worker("w", concurrency=5), world.worker("other")
    world.eject(worker)
    world.sleep(EJECTION_S + 0.3)
    requester = world.requester()
    for _ in range(3):
        requester.submit()
    assert reasons(world, "r3") == {
        "w": "1 of 1 slots taken, its limit while it is probed",
        "other": "1 of 1 slots taken",
    }
    assert other.holds


def test_in_a_panic_unhealthy_workers_are_eligible_too() -> None:
    world = World()
    ejected, suspect = world.worker("ejected"), world.worker("suspect")
    world.eject(ejected)
    suspect.fall_silent()
    requester = world.requester()
    requester.submit()
    requester.submit()
    waiting = requester.submit()
    answer = explained(world, waiting)
    assert answer["waits_for"] == "for a free slot at one of its 2 workers"
    panic = "eligible all the same, because too few others are healthy"
    assert reasons(world, waiting) == {
        "ejected": f"ejected for 30 s more: 5 failures in a row: broken; {panic}",
        "suspect": f"suspect: its link is silent; {panic}",
    }


def test_a_request_without_an_eligible_worker() -> None:
    world = World()
    worker = world.worker("w", canary="echo")
    waiting = world.requester().submit()
    assert explained(world, waiting)["waits_for"] == (
        "for an eligible worker: each that serves it is ejected, suspect, joining or draining"
    )
    worker.succeed(CANARY)
    assert explained(world, waiting)["state"] == "assigned"


def test_the_longest_waiting_requests_are_listed() -> None:
    world = World()
    world.worker("w", "a", "b")
    requesters = [world.requester() for _ in range(3)]
    assert longest_waiting(world.core, world.now) == []
    requesters[0].submit("a")
    for number in range(LISTED_COUNT_MAX + 5):
        requesters[number % 3].submit(
            "ab"[number % 2],
            request_id=f"q{number}",
            priority=number % 10,
            target="w" if number % 4 else None,
        )
        world.sleep(0.01)
    listed = longest_waiting(world.core, world.now)
    assert [request["request_id"] for request in listed] == [
        f"q{number}" for number in range(LISTED_COUNT_MAX)
    ]
    answer = explained(world, "q1")
    assert listed[1].items() <= answer.items(), "a summary is a part of its explanation"


def test_the_workers_of_a_command_are_explained_without_a_request() -> None:
    world = World()
    assert explain_workers(world.core, "echo", None, world.now) == {
        "workers_count": 0, "matching_count": 0, "workers": [],
    }  # fmt: skip
    here = world.worker("here", concurrency=1, labels={"zone": "a"})
    world.worker("there", concurrency=1, labels={"zone": "b"})
    world.requester().submit(target="here")
    found = explain_workers(world.core, "echo", {"zone": "a"}, world.now)
    assert (found["workers_count"], found["matching_count"]) == (2, 1)
    assert {worker["worker_id"]: worker["reason"] for worker in found["workers"]} == {
        "here": "1 of 1 slots taken",
        "there": "labels do not match: zone is b",
    }
    here.leave()
    assert explain_workers(world.core, "echo", {"zone": "a"}, world.now)["matching_count"] == 0
    for worker in tuple(world.core.roster.workers.values()):
        world.core.worker_left(worker, world.now)
    assert explain_workers(world.core, "echo", None, world.now)["workers_count"] == 0
