"""What all connections of one account have in the broker together, and what they may not have more of."""

import pytest
from taskferry.broker.core.account import NO_BOUND, unlimited
from taskferry.protocol.errors import NOT_DELIVERED

from tests.unit.broker.core.world import World


@pytest.mark.parametrize("bound", [0, 1, 4])
def test_requests_in_flight_are_bounded_over_all_connections_of_an_account(bound: int) -> None:
    world = World()
    worker, account = world.worker(concurrency=20), world.account("alice", in_flight=bound)
    connections = world.requester(account), world.requester(account)
    for number in range(bound):
        connections[number % 2].submit(request_id=f"q{number}")
    for requester in connections:
        answer = requester.answer(requester.submit(request_id="one more"))
        assert answer.outcome == "overloaded"
        assert answer.text == f"alice has {bound} requests in flight (account_in_flight_count_max)"
        assert answer.failure is not None
        assert answer.failure.delivery == NOT_DELIVERED
        assert answer.failure.retry_after_s == 1.0
    assert world.core.counts.account_refused_count == world.core.counts.refused["overloaded"] == 2
    stranger = world.requester(world.account("bob", in_flight=1))
    assert stranger.outcome(stranger.submit()) is None, "the bound is of the account"
    if bound:
        worker.succeed("q0")
        assert connections[1].outcome(connections[1].submit(request_id="again")) is None, (
            "there is room again"
        )


@pytest.mark.parametrize("waiting_size_bytes_max", [0, 10])
def test_bytes_that_wait_are_bounded_over_all_connections_of_an_account(waiting_size_bytes_max: int) -> None:
    world = World()
    worker, account = world.worker(), world.account("alice", waiting=waiting_size_bytes_max)
    one, other = world.requester(account), world.requester(account)
    assert one.outcome(one.submit(request_id="running", data=b'"' + b"x" * 98 + b'"')) is None, (
        "it does not wait"
    )
    for number in range(waiting_size_bytes_max // 5):
        assert one.outcome(one.submit(request_id=f"fits{number}", data=b"12345")) is None
    answers = [one.answer(one.submit(request_id=f"more{number}", data=b"1")) for number in range(2)]
    answers.append(other.answer(other.submit(request_id="large", data=b"1" * 11)))
    text = f"{waiting_size_bytes_max} bytes of data of alice wait (account_waiting_size_bytes_max)"
    assert [(answer.outcome, answer.text) for answer in answers] == [("overloaded", text)] * 3
    assert world.core.queue.account_refused_count == 3
    stranger = world.requester(world.account("bob", waiting=5))
    assert stranger.outcome(stranger.submit(data=b"12345")) is None, "the bound is of the account"
    worker.succeed("running")
    if waiting_size_bytes_max:
        assert account.waiting_size_bytes == 5
        assert other.outcome(other.submit(data=b"12345")) is None, "there is room again"


def test_the_broker_s_own_bounds_hold_for_an_account_without_bounds() -> None:
    world = World(queue_size_bytes_max=4, in_flight_count_max=2)
    world.worker()
    requester = world.requester(unlimited("alice"))
    requester.submit()
    assert "queue_size_bytes_max" in requester.answer(requester.submit(data=b"12345")).text
    requester.submit()
    assert "in_flight_count_max" in requester.answer(requester.submit()).text
    assert world.core.counts.account_refused_count == world.core.queue.account_refused_count == 0


def test_a_lowered_bound_keeps_what_there_is_and_adds_nothing_until_there_is_room() -> None:
    world = World()
    worker, account = world.worker(concurrency=2), world.account(in_flight=9, waiting=99)
    requester = world.requester(account)
    running = [requester.submit(data=b"12345") for _ in range(2)]
    waiting = [requester.submit(data=b"12345") for _ in range(2)]
    account.in_flight_count_max, account.waiting_size_bytes_max = 3, 8
    assert requester.outcome(requester.submit()) == "overloaded"
    worker.succeed(running[0])
    assert requester.outcome(requester.submit()) == "overloaded", "three are still in flight"
    worker.succeed(running[1])
    assert (account.in_flight_count, account.waiting_size_bytes) == (2, 0)
    assert requester.outcome(requester.submit(data=b"1" * 9)) == "overloaded", "it would wait"
    assert requester.outcome(requester.submit(data=b"1" * 8)) is None
    for request_id in waiting:
        worker.succeed(request_id)
        assert requester.outcome(request_id) == "success"


def test_a_connection_that_closes_frees_what_it_had_and_no_more() -> None:
    world = World()
    world.worker(concurrency=2)
    account = world.account()
    one, other = world.requester(account), world.requester(account)
    for requester in (one, other, one, other):
        requester.submit(data=b"12345")
    assert (account.in_flight_count, account.waiting_size_bytes) == (4, 10)
    one.leave()
    assert (account.in_flight_count, account.waiting_size_bytes) == (2, 5), "its worker still has the slot"
    other.leave()
    assert (account.in_flight_count, account.waiting_size_bytes) == (0, 0)


def test_a_hedged_request_counts_once() -> None:
    world = World()
    first, second, account = world.worker("first"), world.worker("second"), world.account(in_flight=2)
    requester = world.requester(account)
    request_id = requester.submit(idempotent=True, hedge=0.5)
    world.sleep(1.0)
    assert first.holds == second.holds == [request_id]
    assert account.in_flight_count == 1
    second.succeed(request_id)
    assert account.in_flight_count == 0
    first.succeed(request_id)
    assert account.in_flight_count == 0, "the answer of the other copy ends nothing"


@pytest.mark.parametrize("is_stuck", [True, False])
def test_a_request_that_waits_again_after_its_worker_was_lost_counts_once_whatever_the_bounds(
    is_stuck: bool,
) -> None:
    world = World()
    account = world.account(in_flight=2, waiting=5)
    requester = world.requester(account)
    lost = world.worker("lost", is_stuck=is_stuck)
    running = requester.submit(data=b"12345", idempotent=True)
    busy = world.worker("busy")
    other = requester.submit(data=b"12345")
    assert (lost.holds, busy.holds) == ([running], [other])
    account.in_flight_count_max, account.waiting_size_bytes_max = 0, 0
    lost.leave()
    assert requester.outcome(running) is None, "it was admitted, and is neither refused nor lost"
    assert (account.in_flight_count, account.waiting_size_bytes) == (2, 5)
    busy.succeed(other)
    assert (account.in_flight_count, account.waiting_size_bytes) == (1, 0)
    busy.succeed(running)
    assert account.in_flight_count == 0


@pytest.mark.parametrize("end", ["cancel", "timeout", "fail", "stop"])
def test_however_a_request_ends_its_account_has_it_no_more(end: str) -> None:
    world = World()
    worker, account = world.worker(), world.account(waiting=5)
    requester = world.requester(account)
    running, waiting = requester.submit(timeout=1.0), requester.submit(timeout=1.0, data=b"12345")
    match end:
        case "cancel":
            requester.cancel(waiting)
            requester.cancel(running)
        case "timeout":
            world.sleep(1.1)
        case "fail":
            worker.fail(running, "no")
            worker.fail(waiting, "no")
        case "stop":
            world.stop()
    assert None not in (requester.outcome(running), requester.outcome(waiting))
    assert (account.in_flight_count, account.waiting_size_bytes) == (0, 0)


def test_a_call_that_is_refused_for_another_reason_counts_for_nothing() -> None:
    world = World()
    world.worker()
    account = world.account(in_flight=2)
    requester = world.requester(account)
    requester.submit(request_id="same")
    requester.submit(request_id="same")
    assert requester.outcome(requester.submit("nobody-serves-this")) == "no_available_workers"
    assert requester.outcome(requester.submit(hedge=0.1)) == "bad_request"
    assert account.in_flight_count == 1
    assert world.core.counts.account_refused_count == 0


def test_no_bound_is_more_than_there_can_be() -> None:
    account = unlimited("anonymous")
    assert account.name == "anonymous"
    assert account.in_flight_count_max == account.waiting_size_bytes_max == NO_BOUND > 10**18
