"""From a call to an assignment, or to a refusal that names what was wrong."""

import pytest
from taskferry.broker.core.failure import Failure
from taskferry.broker.core.fleet.gathering import UNKNOWN
from taskferry.broker.core.settings import CoreSettings
from taskferry.protocol.errors import NOT_DELIVERED
from taskferry.protocol.limits import TIMEOUT_S_DEFAULT

from tests.unit.broker.core.world import World


def test_a_request_goes_to_a_free_worker_and_its_result_comes_back() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    request_id = requester.submit(data=b'{"message": "hi"}')
    assert worker.holds == [request_id]
    assert requester.answers == []
    world.now += 0.25
    worker.succeed(request_id, b'"Echo: hi"')
    answer = requester.answer(request_id)
    assert answer.outcome == "success"
    assert answer.data == b'"Echo: hi"'
    assert answer.worker_id == "w"
    assert world.core.counts.in_flight_count == 0
    assert worker.session.succeeded_count == 1


def test_the_worker_receives_the_remaining_seconds() -> None:
    world = World(timeout_s=12.0)
    worker, requester = world.worker("w", concurrency=2), world.requester()
    requester.submit(timeout=3.5)
    requester.submit()
    assert [delivery.timeout_s for delivery in worker.delivered] == [3.5, 12.0]


def test_the_seconds_spent_waiting_are_taken_from_the_budget() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first = requester.submit()
    requester.submit(timeout=3.5)
    world.sleep(1.2)
    worker.succeed(first)
    assert worker.delivered[-1].timeout_s == pytest.approx(2.3)


def test_the_default_timeout_is_thirty_seconds() -> None:
    assert CoreSettings().timeout_s == TIMEOUT_S_DEFAULT == 30.0


def test_a_command_that_no_worker_has_ever_served_fails_at_once() -> None:
    world = World()
    world.worker("w", "echo")
    requester = world.requester()
    answer = requester.answer(requester.submit("unheard-of"))
    assert (answer.outcome, answer.text, answer.worker_id) == (
        "no_available_workers",
        "No available workers: no worker serves 'unheard-of'; start one that does",
        None,
    )
    assert world.core.roster.unserved_count == 1
    assert "unheard-of" not in world.core.roster.commands, "names that requesters make up must not be kept"
    unknown = world.core.roster.unknown
    assert (unknown.name, unknown.is_listed) == (UNKNOWN, False)
    assert not any(unknown.exemplars.kept)


def test_a_command_whose_last_worker_has_left_fails_at_once() -> None:
    world = World()
    world.worker("w", "echo").leave()
    requester = world.requester()
    answer = requester.answer(requester.submit())
    assert (answer.outcome, answer.text, answer.worker_id) == (
        "no_available_workers",
        "No available workers: no worker serves echo any more; start one that does",
        None,
    )
    assert world.core.roster.unserved_count == 0
    assert world.core.roster.commands["echo"].outcomes == {"no_available_workers": 1}


def test_a_request_id_in_flight_is_refused_and_the_first_request_goes_on() -> None:
    world = World()
    worker, requester = world.worker(concurrency=2), world.requester()
    requester.submit(request_id="same")
    requester.submit(request_id="same")
    (refusal,) = requester.answers
    assert refusal.outcome == "duplicate_request_id"
    assert refusal.failure is not None
    assert refusal.failure.delivery == NOT_DELIVERED
    assert refusal.text == "request_id: 'same' is already in flight on this connection"
    assert world.core.counts.refused == {"duplicate_request_id": 1}
    worker.succeed("same")
    assert [answer.outcome for answer in requester.answers] == ["duplicate_request_id", "success"]


def test_two_requesters_may_use_the_same_request_id_at_once() -> None:
    world = World()
    workers = world.worker("v"), world.worker("w")
    requester, other = world.requester(), world.requester()
    requester.submit(request_id="same")
    other.submit(request_id="same")
    for worker in workers:
        worker.succeed("same")
    assert requester.outcome("same") == other.outcome("same") == "success"


def test_a_request_id_may_be_used_again_once_it_has_ended() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    for _ in range(2):
        requester.submit(request_id="same")
        worker.succeed("same")
    assert [answer.outcome for answer in requester.answers] == ["success", "success"]


@pytest.mark.parametrize("bound", [1, 3])
def test_requests_in_flight_on_one_connection_are_bounded(bound: int) -> None:
    world = World(in_flight_count_max=bound)
    worker, requester, other = world.worker(concurrency=1), world.requester(), world.requester()
    for _ in range(bound):
        requester.submit()
    assert requester.answers == []
    refusal = requester.answer(requester.submit())
    assert refusal.outcome == "overloaded"
    assert refusal.text == f"over {bound} requests in flight on this connection (in_flight_count_max)"
    assert other.outcome(other.submit()) is None, "the bound is per connection"
    worker.succeed("r1")
    assert requester.outcome(requester.submit()) is None, "one has ended: there is room again"


@pytest.mark.parametrize("timeout_s", [1e-20, 0.0005, 0.001])
def test_a_worker_gets_at_least_a_millisecond(timeout_s: float) -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    requester.submit(timeout=timeout_s)
    assert worker.delivered[0].timeout_s == 0.001


def test_nothing_is_admitted_while_the_broker_drains() -> None:
    world = World()
    worker, requester = world.worker(concurrency=2), world.requester()
    first = requester.submit()
    assert world.core.is_draining is False
    world.drain()
    assert world.core.is_draining is True
    answer = requester.answer(requester.submit())
    assert answer.failure == ("shutting_down", "Broker is shutting down", None, NOT_DELIVERED, None, None)
    worker.succeed(first)
    assert requester.outcome(first) == "success"


def test_a_message_that_is_no_valid_call_is_answered_and_counted() -> None:
    world = World()
    requester = world.requester()
    failure = Failure("bad_request", "priority: Expected `int`", None, NOT_DELIVERED)
    for request_id in ("r1", None):
        requester.receive_invalid(request_id, failure)
    assert [(answer.request_id, answer.failure) for answer in requester.answers] == [
        ("r1", failure),
        ("", failure),
    ]
    assert world.core.counts.refused == {"bad_request": 2}
    assert world.core.counts.submitted_count == 0


def test_requests_spread_over_workers_by_the_strategy() -> None:
    world = World("round_robin")
    workers = [world.worker(f"w{number}", concurrency=5) for number in range(3)]
    requester = world.requester()
    for _ in range(6):
        requester.submit()
    assert [worker.holds for worker in workers] == [["r1", "r4"], ["r2", "r5"], ["r3", "r6"]]


@pytest.mark.parametrize("strategy", ["least_loaded", "round_robin", "random", "weighted_random"])
def test_no_strategy_gives_a_worker_more_than_its_slots(strategy: str) -> None:
    world = World(strategy)
    small, large = world.worker("small", concurrency=1, weight=100.0), world.worker("large", concurrency=3)
    requester = world.requester()
    for _ in range(6):
        requester.submit()
    assert (len(small.holds), len(large.holds), world.core.queue.count) == (1, 3, 2)
