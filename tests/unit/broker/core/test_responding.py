"""What workers report, and its effects: results, failures, and reports that come too late."""

import pytest
from taskferry.broker.core.fleet.pool import PASSED_COUNT_MAX
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable, TooLarge
from taskferry.protocol.limits import TEXT_LENGTH_MAX
from taskferry.protocol.messages import Result

from tests.unit.broker.core.world import World


def test_a_failure_of_the_handler_is_answered_with_its_text_and_code() -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    request_id = requester.submit()
    worker.fail(request_id, "no such image", "image_missing")
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.text, answer.worker_id) == ("image_missing", "no such image", "w")
    assert world.core.roster.commands["echo"].outcomes == {"handler_error": 1}, "labels are a closed set"
    assert (worker.session.succeeded_count, worker.session.failed_count) == (0, 1)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, "handler_error"),
        ("timeout", "handler_error"),
        ("Not A Code", "handler_error"),
        ("bad_request", "bad_request"),
    ],
)
def test_a_worker_cannot_claim_what_only_the_broker_knows(code: str | None, expected: str) -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    worker.fail(request_id, "x", code)
    assert requester.outcome(request_id) == expected


def test_a_failure_without_a_text_gets_the_default_text() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    worker.fail(request_id)
    assert requester.answer(request_id).text == "Handler failed"


def test_a_long_error_text_is_cut() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    worker.fail(request_id, "x" * (TEXT_LENGTH_MAX + 1))
    assert requester.answer(request_id).text == "x" * TEXT_LENGTH_MAX


def test_success_without_a_result_is_success_with_null() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    worker.succeed(request_id, None)
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.data) == ("success", b"null")


@pytest.mark.parametrize("error", [NotRepresentable("data: too odd"), TooLarge("result: too long")])
def test_a_result_that_cannot_be_carried_to_the_requester_is_an_error(
    error: NotRepresentable | TooLarge,
) -> None:
    world = World()
    worker, requester = world.worker("w"), world.requester()
    requester.refuses = error
    request_id = requester.submit()
    worker.succeed(request_id)
    answer = requester.answer(request_id)
    assert (answer.outcome, answer.text, answer.worker_id) == (error.code, error.text, "w")


@pytest.mark.parametrize("error", [NotRepresentable("data: too odd"), TooLarge("data: too long")])
def test_data_that_cannot_be_carried_to_the_worker_is_an_error_and_takes_no_slot(
    error: NotRepresentable | TooLarge,
) -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    worker.refuses = error
    answer = requester.answer(requester.submit())
    assert (answer.outcome, answer.text, answer.worker_id) == (error.code, error.text, None)
    worker.refuses = None
    assert worker.holds == []
    requester.submit()
    assert worker.holds == ["r2"]


def test_a_request_that_cannot_be_carried_does_not_block_those_behind_it() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first, second, third = (requester.submit() for _ in range(3))
    worker.refuses = NotRepresentable("data: too odd")
    worker.succeed(first)
    assert requester.outcome(second) == requester.outcome(third) == "not_representable"
    assert worker.session.in_flight_count == 0


def test_the_requester_port_gets_the_encoding_of_the_result() -> None:
    world = World()
    requester = world.requester()
    for encoding in Encoding:
        worker = world.worker(encoding=encoding)
        worker.succeed(requester.submit())
        worker.leave()
    assert requester.encodings == list(Encoding)


@pytest.mark.parametrize("result", [Result(True), Result(False, error="no")], ids=["success", "failure"])
def test_an_unknown_msg_id_changes_nothing(result: Result) -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    for _ in range(2):
        assert worker.respond("never-given", result) is False
    assert worker.holds == [request_id]
    assert worker.session.in_flight_count == 1
    assert world.core.counts.unknown_assignments_count == 2


def test_a_worker_cannot_answer_for_another() -> None:
    world = World("round_robin")
    honest, liar = world.worker("honest"), world.worker("liar")
    requester = world.requester()
    request_id = requester.submit()
    assert honest.holds == [request_id]
    assert liar.respond(honest.msg_id(request_id), Result(True)) is False
    assert requester.outcome(request_id) is None
    honest.succeed(request_id)
    assert requester.answer(request_id).worker_id == "honest"


def test_an_assignment_can_be_answered_once() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    request_id = requester.submit()
    msg_id = worker.msg_id(request_id)
    worker.succeed(request_id)
    assert worker.respond(msg_id, Result(True)) is False
    assert [answer.outcome for answer in requester.answers] == ["success"]
    assert worker.session.in_flight_count == 0


def test_a_freed_slot_takes_the_next_request() -> None:
    world = World()
    worker, requester = world.worker(), world.requester()
    first, second = requester.submit(), requester.submit()
    assert worker.holds == [first]
    worker.succeed(first)
    assert worker.holds == [second]


def test_responses_may_come_in_any_order() -> None:
    world = World()
    worker, requester = world.worker(concurrency=3), world.requester()
    first, second, third = (requester.submit() for _ in range(3))
    for request_id in (third, first, second):
        worker.succeed(request_id)
    assert [answer.request_id for answer in requester.answers] == [third, first, second]


def test_a_worker_that_cannot_be_sent_a_request_does_not_attract_the_next_one() -> None:
    world = World()
    world.worker("odd").refuses = NotRepresentable("data: too odd")
    plain, requester = world.worker("plain", concurrency=2), world.requester()
    first, second = requester.submit(), requester.submit()
    assert requester.outcome(first) == "not_representable"
    assert plain.holds == [second]


def test_a_request_that_a_worker_cannot_be_sent_goes_to_one_with_its_encoding() -> None:
    world = World()
    packed = world.worker("packed", encoding=Encoding.MSGPACK, weight=100.0, concurrency=100)
    packed.refuses = NotRepresentable("data: too big an integer")
    plain = world.worker("plain", concurrency=2)
    requester = world.requester()
    for request_id in ("a", "b"):
        requester.submit(request_id=request_id)
    assert plain.holds == ["a", "b"]
    assert requester.outcome(requester.submit()) == "not_representable", (
        "no worker with its encoding has a free slot"
    )
    plain.succeed("a")
    plain.refuses = NotRepresentable("data: odd for everybody")
    assert requester.outcome(requester.submit()) == "not_representable", "and it ends with the second refusal"


@pytest.mark.parametrize("affinity", ["a", "b", "c", "d"])
def test_a_request_that_a_worker_cannot_be_sent_follows_its_affinity_to_another(affinity: str) -> None:
    world = World("consistent_hash")
    workers, requester = [world.worker(f"w{number}") for number in range(8)], world.requester()
    preferred = requester.submit(affinity=affinity)
    (first,) = (worker for worker in workers if worker.holds)
    second_choice = requester.submit(affinity=affinity)
    (second,) = (worker for worker in workers if worker.holds == [second_choice])
    first.succeed(preferred)
    second.succeed(second_choice)
    first.encoding, first.refuses = Encoding.MSGPACK, NotRepresentable("data: too big an integer")
    moved = requester.submit(affinity=affinity)
    assert second.holds == [moved]


def test_a_worker_with_the_encoding_is_searched_for_among_a_few_dozen() -> None:
    world = World()
    fleet = [
        world.worker(f"packed{number}", encoding=Encoding.MSGPACK, weight=100.0)
        for number in range(PASSED_COUNT_MAX)
    ]
    for packed in fleet:
        packed.refuses = NotRepresentable("data: too big an integer")
    plain, requester = world.worker("plain"), world.requester()
    assert requester.outcome(requester.submit()) == "not_representable"
    world.core.drain_worker(fleet[0].session, world.now)
    assert requester.outcome(found := requester.submit()) is None
    assert plain.holds == [found]
