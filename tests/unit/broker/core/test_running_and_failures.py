"""Which requests run longest, and how the last ones failed: what is listed, in which order, and within which bounds."""

import pytest
from taskferry.broker.core import explain as explain_module
from taskferry.broker.core.explain import LISTED_COUNT_MAX, longest_running, recent_failures
from taskferry.broker.core.fleet.lack import SEARCH_INTERVAL_S
from taskferry.broker.core.measures.recent_failures import FAILURES_COUNT_MAX

from tests.unit.broker.core.world import World


def running(world: World) -> list[tuple[str, str, float]]:
    rows = longest_running(world.core, world.now)
    return [(row["request_id"], row["worker_id"], row["running_s"]) for row in rows]


def test_requests_that_run_are_listed_longest_first() -> None:
    world = World("round_robin")
    first, second = world.worker("w1", concurrency=3), world.worker("w2", concurrency=3)
    requester = world.requester()
    assert running(world) == []
    sent = []
    for _ in range(3):
        sent.append(requester.submit())
        world.sleep(1.0)
    assert running(world) == [(sent[0], "w1", 3.0), (sent[1], "w2", 2.0), (sent[2], "w1", 1.0)]
    first.succeed(sent[0])
    requester.cancel(sent[1])
    assert running(world) == [(sent[2], "w1", 1.0)], "what was cancelled takes its slot, and no place here"
    assert second.cancels
    (row,) = longest_running(world.core, world.now)
    assert (row["command"], row["state"], row["remaining_s"]) == ("echo", "assigned", 29.0)


def test_a_screenful_of_them_is_listed() -> None:
    world = World()
    for number in range(3):
        world.worker(f"w{number}", concurrency=LISTED_COUNT_MAX)
    requester = world.requester()
    sent = []
    for _ in range(2 * LISTED_COUNT_MAX):
        sent.append(requester.submit())
        world.sleep(0.01)
    assert [request_id for request_id, *_ in running(world)] == sent[:LISTED_COUNT_MAX]


def test_only_so_many_assignments_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("round_robin")
    for number in range(4):
        world.worker(f"w{number}", concurrency=5)
    requester = world.requester()
    for _ in range(20):
        requester.submit()
    assert len(running(world)) == 20
    for bound, listed_count in ((8, 8), (3, 3)):
        monkeypatch.setattr(explain_module, "ASSIGNMENTS_COUNT_MAX", bound)
        assert len(running(world)) == listed_count


def test_failures_are_listed_latest_first_and_counted_by_command_and_code() -> None:
    world = World()
    worker, requester = world.worker("w", "echo", "slow", concurrency=9), world.requester()
    assert recent_failures(world.core, world.now) == []
    late = requester.submit("slow", timeout=1.0)
    failed = ""
    for _ in range(2):
        failed = requester.submit("echo")
        world.sleep(0.25)
        worker.fail(failed, "no such customer")
    world.sleep(2.0)
    unserved = requester.submit("unheard-of")
    world.sleep(0.5)
    by_worker = {"worker_id": "w", "command": "echo", "code": "handler_error", "request_id": failed}
    assert recent_failures(world.core, world.now) == [
        {
            "command": "unheard-of",
            "code": "no_available_workers",
            "count": 1,
            "request_id": unserved,
            "worker_id": None,
            "error": "No available workers: no worker serves 'unheard-of'; start one that does",
            "ago_s": 0.5,
            "duration_s": 0.0,
        },
        {
            "command": "slow",
            "code": "timeout",
            "count": 1,
            "request_id": late,
            "worker_id": "w",
            "error": "Worker response timeout",
            "ago_s": pytest.approx(2.0, abs=0.05),
            "duration_s": pytest.approx(1.0, abs=0.05),
        },
        {**by_worker, "count": 2, "error": None, "ago_s": 2.5, "duration_s": 0.25},
    ]


def test_one_that_invents_commands_hides_no_other() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    worker.fail(requester.submit(), "broken")
    for number in range(2 * FAILURES_COUNT_MAX):
        requester.submit(f"invented-{number}")
    world.sleep(SEARCH_INTERVAL_S)
    rows = recent_failures(world.core, world.now)
    assert [(row["command"], row["count"]) for row in rows] == [
        (f"invented-{2 * FAILURES_COUNT_MAX - 1}", 2 * FAILURES_COUNT_MAX),
        ("echo", 1),
    ]


def test_only_so_many_are_remembered_and_the_oldest_is_dropped() -> None:
    world = World()
    names = [f"c{number}" for number in range(FAILURES_COUNT_MAX + 1)]
    worker, requester = world.worker("w", *names), world.requester()
    for name in names[:-1]:
        worker.fail(requester.submit(name), "broken")
    worker.fail(requester.submit(names[0]), "broken")
    remembered = [failure.command for failure in world.core.recent_failures.latest_first()]
    assert remembered == [names[0], *reversed(names[1:-1])]
    worker.fail(requester.submit(names[-1]), "broken")
    remembered = [failure.command for failure in world.core.recent_failures.latest_first()]
    assert remembered == [names[-1], names[0], *reversed(names[2:-1])]
    assert len(recent_failures(world.core, world.now)) == LISTED_COUNT_MAX
