"""More requests than the workers can handle, for longer than a burst: newest first, oldest rejected, until it ends."""

import pytest
from taskferry.broker.core.core import LOOK_INTERVAL_S
from taskferry.broker.core.queue import queue
from taskferry.broker.core.queue.overload import (
    INTERVAL_S,
    WAIT_SHARE_MAX,
    WAIT_SHARE_TARGET,
    WAITS_COUNT_MIN,
    Overload,
)

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World

TIMEOUT_S = 10.0
EACH_S = 0.1


def flood(world: World, requester: FakeRequester, worker: FakeWorker, seconds: float) -> None:
    """For each request that `worker` ends, another one is submitted just before."""
    end = world.now + seconds
    while world.now < end:
        requester.submit(timeout=TIMEOUT_S)
        world.sleep(EACH_S)
        worker.succeed(worker.holds[0])


def overloaded_world() -> tuple[World, FakeWorker, FakeRequester]:
    """30 requests wait for a worker that handles 10 per second, and 10 per second arrive."""
    world = World()
    worker, requester = world.worker(), world.requester()
    for _ in range(31):
        requester.submit(timeout=TIMEOUT_S)
    while not world.events.notified:
        flood(world, requester, worker, EACH_S)
        assert world.now < 1010.0
    assert world.events.notified == ["echo: overloaded"]
    return world, worker, requester


# --- the rule, check by check ---


def begun(
    *, count: int = 10, served: int = WAITS_COUNT_MIN, share: float = WAIT_SHARE_TARGET + 0.01
) -> Overload:
    overload = Overload()
    assert not overload.look(count, 0.0, 0.0)
    for _ in range(served):
        overload.served(share)
    return overload


def test_overload_starts_when_the_shortest_wait_of_an_interval_was_too_long() -> None:
    overload = begun()
    assert overload.look(10, 0.5, INTERVAL_S)
    assert overload.is_overloaded
    assert overload.served_per_s == WAITS_COUNT_MIN / INTERVAL_S
    assert not overload.look(10, 0.5, INTERVAL_S + 0.1), "it is notified once"


@pytest.mark.parametrize(
    ("overload", "count", "oldest", "now"),
    [
        (begun(), 10, 0.5, INTERVAL_S - 0.01),
        (begun(served=WAITS_COUNT_MIN - 1), 10, 0.5, INTERVAL_S),
        (begun(share=WAIT_SHARE_TARGET), 10, 0.5, INTERVAL_S),
        (begun(), 10, WAIT_SHARE_TARGET, INTERVAL_S),
        (begun(), 9, 0.5, INTERVAL_S),
    ],
    ids=["too soon", "too few", "short wait", "short line", "it shrinks"],
)
def test_a_burst_is_not_an_overload(overload: Overload, count: int, oldest: float, now: float) -> None:
    assert not overload.look(count, oldest, now)
    assert not overload.is_overloaded


def test_an_interval_goes_on_until_enough_were_served() -> None:
    overload = begun(served=WAITS_COUNT_MIN - 1)
    assert not overload.look(10, 0.5, 5 * INTERVAL_S)
    overload.served(0.5)
    assert overload.look(10, 0.5, 10 * INTERVAL_S)
    assert overload.served_per_s == WAITS_COUNT_MIN / (10 * INTERVAL_S)


def test_the_first_interval_starts_with_the_first_check_of_the_line() -> None:
    overload = Overload()
    for _ in range(WAITS_COUNT_MIN):
        overload.served(0.5)
    assert not overload.look(10, 0.5, 100.0), "how long these have waited is not its own"
    for _ in range(WAITS_COUNT_MIN):
        overload.served(0.5)
    assert overload.look(10, 0.5, 100.0 + INTERVAL_S)
    assert overload.served_per_s == WAITS_COUNT_MIN / INTERVAL_S
    overload.end()
    for _ in range(WAITS_COUNT_MIN):
        overload.served(0.5)
    assert not overload.look(10, 0.5, 200.0), "nor after it has ended"


def test_each_interval_is_judged_by_its_own_waits() -> None:
    overload = begun(share=0.01)
    assert not overload.look(10, 0.5, INTERVAL_S)
    for _ in range(WAITS_COUNT_MIN):
        overload.served(0.2)
    assert overload.look(10, 0.5, 2 * INTERVAL_S)


@pytest.mark.parametrize(("oldest", "ends"), [(WAIT_SHARE_TARGET, False), (WAIT_SHARE_TARGET - 0.01, True)])
def test_it_ends_when_the_longest_wait_is_short(oldest: float, ends: bool) -> None:
    overload = begun()
    overload.look(10, 0.5, INTERVAL_S)
    assert overload.look(10, oldest, INTERVAL_S + 0.1) is ends
    assert overload.is_overloaded is not ends


def test_it_goes_on_through_whole_intervals() -> None:
    overload = begun()
    overload.look(10, 0.5, INTERVAL_S)
    for _ in range(WAITS_COUNT_MIN):
        overload.served(0.0)
    assert not overload.look(10, 0.2, 2 * INTERVAL_S), "neither started nor ended"
    assert overload.is_overloaded


# --- in the broker ---


def test_during_overload_the_newest_goes_first() -> None:
    _, worker, requester = overloaded_world()
    newest = requester.submit(timeout=TIMEOUT_S)
    worker.succeed(worker.holds[0])
    assert worker.holds == [newest]


def test_during_overload_of_one_client_others_take_turns_with_it_and_get_their_oldest() -> None:
    world, worker, requester = overloaded_world()
    other = world.requester()
    older, _ = (other.submit(timeout=TIMEOUT_S) for _ in range(2))
    newest = requester.submit(timeout=TIMEOUT_S)
    served = []
    for _ in range(2):
        worker.succeed(worker.holds[0])
        served += worker.holds
    assert sorted(served) == sorted([older, newest])


def test_a_request_that_has_waited_a_quarter_of_its_timeout_is_rejected() -> None:
    world, worker, requester = overloaded_world()
    patient = world.requester()
    patient.submit(request_id="patient", timeout=1000.0)
    flood(world, requester, worker, 3.0)
    shed = [answer for answer in requester.answers if answer.outcome == "overloaded"]
    assert shed
    assert len(shed) == world.core.queue.shed_count
    for answer in shed:
        assert answer.failure is not None
        assert answer.text.startswith(
            "requests for echo come faster than they are done, and this one has waited "
        )
        assert answer.failure.delivery == "not_delivered"
        assert answer.failure.retry_after_s is not None
        waited_s = answer.failure.queue_wait_s
        assert waited_s is not None
        assert waited_s >= WAIT_SHARE_MAX * TIMEOUT_S
    waits_s = [
        answer.failure.queue_wait_s for answer in shed if answer.failure and answer.failure.queue_wait_s
    ]
    assert min(waits_s) <= WAIT_SHARE_MAX * TIMEOUT_S + LOOK_INTERVAL_S + EACH_S
    assert patient.outcome("patient") in {None, "success"}, "its timeout is long"


@pytest.mark.parametrize(("waited_s", "is_rejected"), [(2.25, False), (2.5, True)])
def test_a_wait_of_just_a_quarter_is_too_long(waited_s: float, is_rejected: bool) -> None:
    world = World()
    world.worker()
    requester = world.requester()
    requester.submit()
    waiting = requester.submit(timeout=TIMEOUT_S)
    world.sleep(waited_s - LOOK_INTERVAL_S)
    world.core.roster.commands["echo"].route.waiting.overload.is_overloaded = True
    world.sleep(LOOK_INTERVAL_S)
    if is_rejected:
        assert requester.answer(waiting).text.endswith(" and this one has waited 2.5 s")
    else:
        assert requester.outcome(waiting) is None


def test_without_overload_no_request_is_rejected() -> None:
    world = World()
    world.worker()
    requester = world.requester()
    for _ in range(50):
        requester.submit(timeout=TIMEOUT_S)
    world.sleep(0.99 * TIMEOUT_S)
    assert requester.answers == [], "nothing was served: it may be one long task"


def test_overload_ends_when_the_line_is_worked_off() -> None:
    world, worker, requester = overloaded_world()
    while worker.holds:
        world.sleep(EACH_S)
        worker.succeed(worker.holds[0])
    assert world.events.notified == ["echo: overloaded", "echo: relieved"]
    first, second, third = (requester.submit() for _ in range(3))
    worker.succeed(first)
    assert worker.holds == [second], "the oldest goes first again"
    worker.succeed(second)
    worker.succeed(third)


def test_overload_ends_when_the_last_waiting_requests_end_otherwise() -> None:
    world, _, requester = overloaded_world()
    requester.leave()
    assert world.events.notified == ["echo: overloaded", "echo: relieved"]
    assert world.core.queue.routes == {}


def test_overload_ends_when_all_waiting_requests_were_rejected() -> None:
    world, _, _ = overloaded_world()
    world.sleep(WAIT_SHARE_MAX * TIMEOUT_S + LOOK_INTERVAL_S)
    assert world.core.queue.count == 0
    assert world.events.notified == ["echo: overloaded", "echo: relieved"]


def test_overload_ends_when_the_longest_wait_is_short() -> None:
    world, worker, requester = overloaded_world()
    while world.core.queue.count > 5:
        worker.succeed(worker.holds[0])
    patient = world.requester()
    patient.submit(timeout=10_000.0, priority=0)
    flood(world, requester, worker, WAIT_SHARE_MAX * TIMEOUT_S + LOOK_INTERVAL_S)
    assert patient.answers == [], "it has waited all the time, so the line was never empty"
    assert world.events.notified == ["echo: overloaded", "echo: relieved"]


def test_overload_of_one_command_leaves_others_alone() -> None:
    world = World()
    worker, other, requester = world.worker("w"), world.worker("other", "b"), world.requester()
    requester.submit("b")
    waiting, newer = requester.submit("b", timeout=TIMEOUT_S), requester.submit("b", timeout=TIMEOUT_S)
    for _ in range(31):
        requester.submit(timeout=TIMEOUT_S)
    flood(world, requester, worker, 8.0)
    assert {event.split(":")[0] for event in world.events.notified} == {"echo"}
    other.succeed("r1")
    assert other.holds == [waiting]
    assert requester.outcome(newer) is None


def test_the_number_rejected_per_check_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert queue.SHED_COUNT_MAX == 2000
    world, _, requester = overloaded_world()
    for _ in range(20):
        requester.submit(timeout=TIMEOUT_S)
    monkeypatch.setattr(queue, "SHED_COUNT_MAX", 3)
    shed_counts = []
    while world.core.queue.count:
        before = world.core.queue.shed_count
        world.sleep(LOOK_INTERVAL_S)
        shed_counts.append(world.core.queue.shed_count - before)
    assert max(shed_counts) == 3


@pytest.mark.parametrize(
    ("bound", "looked_at"), [(1, "abc"), (2, "abcabc"), (3, "abcabcabc"), (4, "abcabcabc")]
)
def test_the_number_of_shares_looked_at_per_check_is_bounded_and_routes_take_turns(
    monkeypatch: pytest.MonkeyPatch, bound: int, looked_at: str
) -> None:
    assert queue.LOOKED_COUNT_MAX == 5000
    monkeypatch.setattr(queue, "LOOKED_COUNT_MAX", bound)
    world = World()
    world.worker("w", "a", "b", "c")
    requester = world.requester()
    requester.submit("a")
    names = {}
    for command in "abc":
        requester.submit(command)
        names[world.core.roster.commands[command].route.waiting] = command
    seen: list[str] = []
    monkeypatch.setattr(queue, "look", lambda line, *_: seen.append(names[line]))
    for _ in range(3):
        assert world.core.queue.overdue(world.now) == []
    assert "".join(seen) == looked_at


def test_what_is_looked_at_in_turns_is_found_overloaded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LOOKED_COUNT_MAX", 1)
    world = World()
    requester = world.requester()
    workers = {command: world.worker(command, command) for command in "abc"}
    for command in "abc" * 31:
        requester.submit(command, timeout=TIMEOUT_S)
    for _ in range(60):
        for command, worker in workers.items():
            requester.submit(command, timeout=TIMEOUT_S)
            worker.succeed(worker.holds[0])
        world.sleep(EACH_S)
    assert {"a: overloaded", "b: overloaded", "c: overloaded"} <= set(world.events.notified)


def test_a_rejected_request_that_may_have_run_is_reported_as_lost() -> None:
    world = World()
    again, crashing = world.requester(), world.worker("crashing")
    request_id = again.submit(idempotent=True, timeout=TIMEOUT_S)
    world.worker("busy")
    again.submit(timeout=TIMEOUT_S)
    crashing.leave()
    assert again.outcome(request_id) is None
    world.sleep(WAIT_SHARE_MAX * TIMEOUT_S - LOOK_INTERVAL_S)
    world.core.roster.commands["echo"].route.waiting.overload.is_overloaded = True
    world.sleep(2 * LOOK_INTERVAL_S)
    assert again.outcome(request_id) == "worker_lost"


def test_the_shortest_timeout_is_a_millisecond_and_waiting_is_a_share_of_it() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    running = requester.submit()
    requester.submit(timeout=1e-20)
    world.now += 0.002
    worker.succeed(running)
    assert requester.outcome("r2") == "timeout"
    requester.submit()
    requester.submit(timeout=1e-20)
    world.sleep(LOOK_INTERVAL_S)
    assert requester.outcome("r4") == "timeout"
