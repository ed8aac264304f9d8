"""Requests that wait for a free slot: the bounds of the queue, and which is next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.core.queue.turns import PRIORITY_STEP_S
from taskferry.broker.core.settings import CoreSettings
from taskferry.protocol.limits import PRIORITY_DEFAULT, PRIORITY_MAX

from tests.unit.broker.core.world import FakeWorker, World


def serve_all(world: World, worker: FakeWorker, each_s: float = 0.0) -> list[str]:
    """Answer the assignments of `worker` one by one until it has none. Returns the request_ids in that order."""
    served = []
    while worker.holds:
        request_id = worker.holds[0]
        world.sleep(each_s)
        worker.succeed(request_id)
        served.append(request_id)
    return served


def test_first_come_first_served() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_ids = [requester.submit() for _ in range(5)]
    assert world.core.queue.count == 4
    assert serve_all(world, worker) == request_ids


def test_a_joining_worker_gets_waiting_requests_up_to_its_slots() -> None:
    world = World()
    busy, requester = world.worker("busy"), world.requester()
    for _ in range(5):
        requester.submit()
    fresh = world.worker("fresh", concurrency=3)
    assert (busy.holds, fresh.holds) == (["r1"], ["r2", "r3", "r4"])
    assert world.core.queue.count == 1


@pytest.mark.parametrize("bound", [0, 1, 4])
def test_the_queue_is_bounded_in_requests(bound: int) -> None:
    world = World(queue_count_max=bound)
    worker, requester = world.worker(), world.requester()
    requester.submit()
    for _ in range(bound):
        assert requester.outcome(requester.submit()) is None
    answer = requester.answer(requester.submit())
    assert (answer.outcome, answer.text) == ("overloaded", f"{bound} requests wait (queue_count_max)")
    worker.succeed("r1")
    assert requester.outcome(requester.submit()) is None, "one has been assigned: there is room again"


def test_the_bound_in_requests_holds_over_all_commands() -> None:
    world = World(queue_count_max=2)
    world.worker("w", "a", "b")
    requester = world.requester()
    outcomes = [requester.outcome(requester.submit(command)) for command in ("a", "a", "b", "a")]
    assert outcomes == [None, None, None, "overloaded"]


def test_the_queue_is_bounded_in_bytes_of_data() -> None:
    world = World(queue_size_bytes_max=10)
    worker, requester = world.worker(), world.requester()
    requester.submit(data=b'"' + b"x" * 98 + b'"')  # assigned at once, so it does not count
    fits = requester.submit(data=b'"123456"')
    answer = requester.answer(requester.submit(data=b"123"))
    assert (answer.outcome, answer.text) == ("overloaded", "10 bytes of data wait (queue_size_bytes_max)")
    assert requester.outcome(requester.submit(data=b"12")) is None, "the bound itself is allowed"
    assert world.core.queue.size_bytes == 10
    worker.succeed("r1")
    assert worker.holds == [fits]
    assert world.core.queue.size_bytes == 2


def test_a_request_that_ends_while_it_waits_makes_room() -> None:
    world = World(queue_count_max=1, queue_size_bytes_max=4)
    world.worker()
    requester = world.requester()
    requester.submit()
    waiting = requester.submit(data=b"1234")
    requester.cancel(waiting)
    assert requester.outcome(requester.submit(data=b"1234")) is None


def test_the_defaults_are_bounded() -> None:
    assert CoreSettings().queue_count_max == 100_000
    assert CoreSettings().queue_size_bytes_max == 256 * 1024 * 1024


def test_higher_priority_goes_first_and_the_default_is_in_the_middle() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit(request_id="running")
    for priority in (0, None, 9, 4, 6):
        requester.submit(request_id=f"p{priority}", priority=priority)
    assert PRIORITY_DEFAULT == 5
    assert serve_all(world, worker) == ["running", "p9", "p6", "pNone", "p4", "p0"]


@pytest.mark.parametrize(("later_s", "first"), [(-0.01, "high"), (0.01, "low")])
def test_low_priority_goes_first_once_it_has_waited_long_enough(later_s: float, first: str) -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit(request_id="running")
    requester.submit(request_id="low", priority=0)
    world.sleep(PRIORITY_MAX * PRIORITY_STEP_S + later_s)
    requester.submit(request_id="high", priority=PRIORITY_MAX)
    assert serve_all(world, worker)[1] == first


def test_of_requests_of_equal_rank_the_one_that_has_waited_longer_goes_first() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit(request_id="running")
    requester.submit(request_id="longer", priority=4)
    world.sleep(PRIORITY_STEP_S)
    requester.submit(request_id="higher", priority=5)
    assert serve_all(world, worker) == ["running", "longer", "higher"]


def test_the_lowest_priority_is_served_in_bounded_time_under_a_flood_of_the_highest() -> None:
    world = World()
    worker, requester, flood = world.worker(), world.requester(), world.requester()
    each_s = 0.2
    flood.submit(priority=9)
    flood.submit(priority=9)
    low = requester.submit(request_id="low", priority=0)
    begin = world.now
    while low not in worker.holds:
        flood.submit(priority=9)
        world.sleep(each_s)
        worker.succeed(worker.holds[0])
    assert (
        PRIORITY_MAX * PRIORITY_STEP_S - each_s
        < world.now - begin
        <= PRIORITY_MAX * PRIORITY_STEP_S + 3 * each_s
    )


def test_requesters_take_turns_within_a_priority() -> None:
    world = World()
    worker = world.worker()
    flood, modest, late = world.requester(), world.requester(), world.requester()
    flood.submit(request_id="running")
    for number in range(50):
        flood.submit(request_id=f"flood{number}")
    modest.submit(request_id="modest0")
    modest.submit(request_id="modest1")
    late.submit(request_id="late")
    assert serve_all(world, worker)[:8] == [
        "running", "flood0", "modest0", "late", "flood1", "modest1", "flood2", "flood3",
    ]  # fmt: skip


def test_a_requester_keeps_its_turn_if_its_first_waiting_request_is_cancelled() -> None:
    world = World()
    worker = world.worker()
    first, second = world.requester(), world.requester()
    first.submit(request_id="running")
    first.submit(request_id="a1")
    first.submit(request_id="a2")
    second.submit(request_id="b1")
    first.cancel("a1")
    assert serve_all(world, worker) == ["running", "a2", "b1"]


def test_a_worker_of_many_commands_takes_the_one_that_has_waited_longest() -> None:
    world = World()
    worker, requester = world.worker("w", "a", "b", "c"), world.requester()
    requester.submit("a", request_id="running")
    for command in ("c", "a", "b", "a", "c"):
        world.sleep(0.01)
        requester.submit(command)
    assert serve_all(world, worker) == ["running", "r2", "r3", "r4", "r5", "r6"]


def test_a_free_slot_takes_no_request_that_its_worker_does_not_serve() -> None:
    world = World()
    first, second, requester = world.worker("1", "a"), world.worker("2", "b"), world.requester()
    requester.submit("a")
    requester.submit("b")
    waiting = requester.submit("b")
    first.succeed("r1")
    assert first.holds == []
    second.succeed("r2")
    assert second.holds == [waiting]


def test_queue_wait_is_counted_for_requests_that_waited() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first = requester.submit()
    command = world.core.roster.commands["echo"]
    assert sum(command.queue_wait.counts) == 0
    second = requester.submit()
    world.sleep(0.5)
    worker.succeed(first)
    assert sum(command.queue_wait.counts) == 1
    assert command.queue_wait.sum_s == pytest.approx(0.5)
    worker.succeed(second)
    assert sum(command.queue_wait.counts) == 1
    assert sum(command.duration.counts) == 2


def test_waiting_requests_are_found_however_many_commands_a_worker_serves() -> None:
    world = World()
    few = world.worker("few", "a", "b")
    many = world.worker("many", *(f"c{number}" for number in range(100)))
    requester = world.requester()
    running = [requester.submit("a"), requester.submit("c0")]
    waiting = [requester.submit(command) for command in ("b", "c1", "c2")]
    many.succeed(running[1])
    assert many.holds == [waiting[1]]
    few.succeed(running[0])
    assert few.holds == [waiting[0]]
    many.succeed(waiting[1])
    assert many.holds == [waiting[2]]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0, 4, 5, 9]), st.sampled_from([0.0, 0.3, 2.0])),
        max_size=30,
    )
)
def test_in_order_is_the_order_of_service(
    submits: list[tuple[int, int, float]],
) -> None:
    world = World()
    worker = world.worker()
    requesters = [world.requester() for _ in range(3)]
    requesters[0].submit(request_id="running")
    for which, priority, pause_s in submits:
        requesters[which].submit(request_id=f"q{len(world.submitted)}", priority=priority, timeout=1000.0)
        world.now += pause_s
    line = world.core.roster.commands["echo"].route.waiting
    in_order = [request.call.request_id for request in line.in_order(world.now)]
    assert ["running", *in_order] == serve_all(world, worker)
