"""What gives way when a bound on what waits is reached: that of whoever has most, and nothing of others."""

from typing import Any

import pytest
from taskferry.broker.core.delivery import room
from taskferry.protocol.limits import TARGET_VALUES_COUNT_MAX

from tests.unit.broker.core.world import FakeRequester, FakeWorker, World

BOUND = 20


def full_world(
    *names: str, is_of_one_account: bool = False, **settings: Any
) -> tuple[World, list[FakeRequester]]:
    """A worker that is busy, and requesters of these names, each with an account unless all share one."""
    world = World(**(settings or {"queue_count_max": BOUND}))
    world.worker("w", "slow", "fast")
    common = world.account("common")
    requesters = [world.requester(common if is_of_one_account else world.account(name)) for name in names]
    requesters[0].submit("slow", request_id="running")
    return world, requesters


def waiting_count(requester: FakeRequester) -> int:
    return sum(request.is_waiting for request in requester.session.requests.values())


def test_eleven_connections_that_fill_the_queue_keep_out_no_other() -> None:
    world = World(queue_count_max=BOUND)
    worker = world.worker("w", "slow", "fast")
    flood, victim = world.account("flood"), world.requester(world.account("victim"))
    connections = [world.requester(flood) for _ in range(11)]
    for number in range(5 * BOUND):
        connections[number % 11].submit("slow")
    assert world.core.queue.count == BOUND
    mine = [victim.submit("fast", request_id=f"mine{number}") for number in range(8)]
    assert [victim.outcome(request_id) for request_id in mine] == [None] * 8
    assert (world.core.queue.count, world.core.counts.yielded_count) == (BOUND, 8)
    yielded = [
        answer for connection in connections for answer in connection.answers if "has most" in answer.text
    ]
    assert len(yielded) == 8
    for answer in yielded:
        assert answer.text == f"{BOUND} requests wait (queue_count_max), and flood has most of that"
        assert answer.failure is not None
        assert (answer.outcome, answer.failure.delivery) == ("overloaded", "not_delivered")
        assert answer.failure.retry_after_s == 1.0
    while worker.holds:
        worker.succeed(worker.holds[0])
    assert {answer.outcome for answer in victim.answers} == {"success"}


@pytest.mark.parametrize("is_of_one_account", [True, False])
def test_two_clients_come_to_share_the_queue(is_of_one_account: bool) -> None:
    world, (one, other) = full_world("one", "other", is_of_one_account=is_of_one_account)
    for number in range(2 * BOUND):
        one.submit("slow", request_id=f"one {number}")
    for number in range(2 * BOUND):
        other.submit("slow", request_id=f"other {number}")
    assert abs(waiting_count(one) - waiting_count(other)) <= 1
    assert world.core.queue.count == BOUND
    for number in range(BOUND):
        one.submit("slow", request_id=f"one again {number}")
    assert abs(waiting_count(one) - waiting_count(other)) <= 1
    whose = "of common this connection" if is_of_one_account else "one"
    yielded = one.answer("one 19")
    assert yielded.text == f"{BOUND} requests wait (queue_count_max), and {whose} has most of that"
    assert one.outcome("one 0") is None, "the newest gives way, for it would be served last"


def test_the_one_that_has_most_is_refused_itself() -> None:
    _, (one, other) = full_world("one", "other")
    for _ in range(BOUND - 1):
        one.submit("slow")
    other.submit("slow")
    refused = one.answer(one.submit("slow"))
    assert (refused.outcome, refused.text) == ("overloaded", f"{BOUND} requests wait (queue_count_max)")
    assert other.answers == []


def test_what_waits_for_one_command_keeps_out_nothing_for_another() -> None:
    world, (one,) = full_world("one")
    for number in range(BOUND):
        one.submit("slow", request_id=f"slow {number}", priority=number % 3)
    fast = [one.submit("fast") for _ in range(BOUND)]
    outcomes = [one.outcome(request_id) for request_id in fast]
    assert outcomes == [None] * (BOUND // 2) + ["overloaded"] * (BOUND // 2)
    text = f"{BOUND} requests wait (queue_count_max), and of this connection slow has most of that"
    assert one.answer("slow 18").text == text, "the newest of the lowest class"
    assert one.outcome("slow 0") == "overloaded"
    assert one.outcome("slow 1") is None
    assert world.core.queue.count == BOUND


def test_during_its_overload_the_oldest_gives_way() -> None:
    world, (one, other) = full_world("one", "other", queue_count_max=40)
    worker = one.world.core.roster.workers["w"].port
    assert isinstance(worker, FakeWorker)
    for number in range(40):
        one.submit("slow", request_id=f"one {number}", timeout=10.0)
    world.sleep(1.5)
    for _ in range(6):
        worker.succeed(worker.holds[0])
        one.submit("slow", timeout=10.0)
    world.sleep(0.8)
    waiting = [request for request in one.session.requests.values() if request.is_waiting]
    assert waiting[0].route.waiting.is_overloaded
    mine = other.submit("fast")
    assert other.outcome(mine) is None
    assert one.outcome(waiting[0].call.request_id) == "overloaded"


@pytest.mark.parametrize("is_of_one_account", [True, False])
def test_the_bound_in_bytes_is_shared_too(is_of_one_account: bool) -> None:
    world, (one, other) = full_world(
        "one", "other", is_of_one_account=is_of_one_account, queue_size_bytes_max=100
    )
    for _ in range(20):
        one.submit("slow", data=b"1" * 5)
    assert world.core.queue.size_bytes == 100
    large = other.submit("slow", data=b"1" * 30)
    assert other.outcome(large) is None
    assert (world.core.queue.size_bytes, world.core.counts.yielded_count) == (100, 6)
    refused = other.answer(other.submit("slow", data=b"1" * 41))
    assert (refused.outcome, refused.text) == ("overloaded", "100 bytes of data wait (queue_size_bytes_max)")
    assert world.core.counts.yielded_count == 6, "it would have most itself"
    third = world.requester(world.account("third"))
    assert third.outcome(third.submit("fast", data=b"1" * 20)) is None


def test_the_bytes_of_one_account_are_shared_by_its_connections() -> None:
    world = World()
    worker = world.worker("w", "slow", "fast")
    account = world.account("alice", waiting=20)
    one, other = world.requester(account), world.requester(account)
    stranger = world.requester(world.account("stranger"))
    one.submit("slow", request_id="running")
    for _ in range(5):
        one.submit("slow", data=b"12345")
    for _ in range(20):
        stranger.submit("slow", data=b"12345")
    mine = other.submit("fast", data=b"12345")
    assert other.outcome(mine) is None
    assert stranger.answers == [], "the bound is not theirs"
    assert account.waiting_size_bytes == 20
    worker.succeed("running")
    assert world.core.queue.account_refused_count == 1


NOBODY_TAKES: dict[str, dict[str, Any]] = {
    "unserved": {"command": "unheard_of"},
    "gone": {"command": "gone"},
    "no such worker": {"command": "slow", "target": "nobody"},
    "no such label": {"command": "slow", "target": {"gpu": "yes"}},
    "a target that is too large": {
        "command": "slow",
        "target": {str(number): ["a", "b"] for number in range(TARGET_VALUES_COUNT_MAX)},
    },
}


@pytest.mark.parametrize("fields", NOBODY_TAKES.values(), ids=NOBODY_TAKES)
def test_nothing_in_flight_gives_way_to_a_call_that_no_worker_can_take(fields: dict[str, Any]) -> None:
    world = World()
    world.worker("w", "slow")
    world.worker("left", "gone").leave()
    account = world.account("alice", in_flight=10)
    one, other = world.requester(account), world.requester(account)
    for _ in range(10):
        one.submit("slow")
    assert other.outcome(other.submit(**fields)) == "overloaded"
    assert one.answers == []
    assert other.outcome(other.submit("slow", target="w")) is None


def test_while_workers_come_back_what_is_in_flight_gives_way_to_what_may_wait_for_them() -> None:
    world = World(start_wait_s=5.0)
    world.core.started(world.now)
    account = world.account("alice", in_flight=10)
    one, other = world.requester(account), world.requester(account)
    for _ in range(10):
        one.submit("slow")
    assert other.outcome(other.submit("fast")) is None
    assert len(one.answers) == 1


def test_requests_in_flight_of_one_account_are_shared_by_its_connections() -> None:
    world = World()
    worker = world.worker("w", "slow", "fast")
    idle = world.worker("idle", "other", concurrency=2)
    account = world.account("alice", in_flight=10)
    one, other = world.requester(account), world.requester(account)
    for number in range(12):
        one.submit("slow", request_id=f"one {number}")
    assert [one.outcome(f"one {number}") for number in (9, 10, 11)] == [None, "overloaded", "overloaded"]
    mine = other.submit("other")
    assert idle.holds == [mine], "a worker is free for it"
    text = (
        "alice has 10 requests in flight (account_in_flight_count_max), and this connection has most of them"
    )
    assert one.answer("one 9").text == text
    assert account.in_flight_count == 10
    for _ in range(3):
        other.submit("slow")
    assert (waiting_count(one), waiting_count(other)) == (5, 3)
    assert other.outcome(other.submit("slow")) is None
    assert other.outcome(other.submit("slow")) == "overloaded", "now it has as many waiting as the other"
    worker.succeed("one 0")
    assert other.outcome(other.submit("slow")) is None


def test_what_runs_gives_way_to_nothing() -> None:
    world = World()
    world.worker(concurrency=20)
    account = world.account("alice", in_flight=10)
    one, other = world.requester(account), world.requester(account)
    running = [one.submit() for _ in range(10)]
    assert other.outcome(other.submit()) == "overloaded"
    assert [one.outcome(request_id) for request_id in running] == [None] * 10


@pytest.mark.parametrize("why", ["duplicate_request_id", "bad_request", "shutting_down"])
def test_a_call_that_is_refused_for_another_reason_makes_nothing_give_way(why: str) -> None:
    world = World()
    world.worker()
    account = world.account("alice", in_flight=10)
    one, other = world.requester(account), world.requester(account)
    other.submit(request_id="same")
    for _ in range(9):
        one.submit()
    if why == "shutting_down":
        world.drain()
    other.submit(
        request_id="same" if why.startswith("dup") else "another", hedge=1.0 if why[0] == "b" else None
    )
    assert other.answers[-1].outcome == why
    assert one.answers == []


def test_attempts_of_jobs_give_way_to_nothing_and_get_their_places() -> None:
    world = World(queue_count_max=6)
    world.worker("w", "slow", "fast")
    jobs, one = world.requester(world.account("jobs")), world.requester(world.account("one"))
    one.submit("slow")
    for _ in range(6):
        one.submit("slow")
    attempts = [jobs.attempt("slow") for _ in range(5)]
    assert [jobs.outcome(request_id) for request_id in attempts] == [None] * 5
    assert waiting_count(one) == 1
    other = world.requester(world.account("other"))
    assert other.outcome(other.submit("fast")) == "overloaded", "of what may give way, none has more"
    assert [jobs.outcome(request_id) for request_id in attempts] == [None] * 5


def test_the_number_that_gives_way_to_one_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room.YIELDED_COUNT_MAX == 1000
    monkeypatch.setattr(room, "YIELDED_COUNT_MAX", 3)
    world, (one, other) = full_world("one", "other", queue_size_bytes_max=100)
    for _ in range(100):
        one.submit("slow", data=b"1")
    assert other.outcome(other.submit("slow", data=b"123")) is None
    assert other.outcome(other.submit("slow", data=b"1234")) == "overloaded"
    assert world.core.counts.yielded_count == 6


def test_a_lowered_bound_makes_nothing_give_way_by_itself() -> None:
    world, (one, other) = full_world("one", "other")
    for _ in range(BOUND):
        one.submit("slow")
    world.reconfigure(queue_count_max=5)
    assert one.answers == []
    mine = other.submit("fast")
    assert other.outcome(mine) is None
    assert world.core.queue.count == 5, "but whoever has most gives way as far as it takes"
