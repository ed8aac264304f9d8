"""The registry and the classes are the same list, and what a worker may claim is bounded."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.protocol import errors
from taskferry.protocol.errors import (
    REGISTRY,
    WORKER_CODES,
    HandlerError,
    NoAvailableWorkers,
    TaskferryError,
    WorkerTimeout,
    error_from_wire,
    outcome_label,
    worker_code,
)
from taskferry.protocol.limits import CODE_LENGTH_MAX

from tests.each_case import each_case

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, TaskferryError) and value is not TaskferryError
]


def test_the_registry_holds_every_class_under_its_code_and_nothing_else() -> None:
    assert list(REGISTRY.values()) == CLASSES  # also in the order in which they are written
    assert {error.code: error for error in CLASSES} == REGISTRY


@each_case("error", CLASSES, ids=lambda error: str(error.code))
def test_every_class_has_all_that_the_contract_requires(error: type[TaskferryError]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", error.code)
    assert len(error.code) <= CODE_LENGTH_MAX
    assert {"code", "message", "blame"} <= vars(error).keys()
    assert error.message
    assert error.__doc__
    assert isinstance(error.retryable, bool)
    assert error.blame in ("requester", "worker", "broker")
    assert error.delivery in (None, "not_delivered", "may_have_run")
    # A client that may send again must be sure that nothing ran.
    assert not (error.retryable and "may have run" in error.message)
    assert not (error.retryable and error.delivery == "may_have_run")
    # A worker's own response never says by its code alone how far a request got.
    assert error.delivery is None or error.code not in WORKER_CODES


def test_the_texts_that_clients_know_stay() -> None:
    assert NoAvailableWorkers().text == "No available workers"
    assert WorkerTimeout().text == "Worker response timeout"


def test_an_error_carries_its_text_and_whom_it_is_about() -> None:
    error = WorkerTimeout("too late", request_id="r", processed_by="worker-1")
    assert (str(error), error.text, error.request_id, error.processed_by) == (
        "too late",
        "too late",
        "r",
        "worker-1",
    )
    assert str(WorkerTimeout()) == WorkerTimeout.message


@each_case("code", sorted(REGISTRY))
def test_a_worker_may_give_only_the_codes_that_it_can_know(code: str) -> None:
    assert worker_code(code) == (code if code in WORKER_CODES else "handler_error")


def test_the_codes_that_a_worker_may_give_are_few() -> None:
    assert {
        "handler_error",
        "unknown_command",
        "bad_request",
        "too_large",
        "cancelled",
        "not_representable",
        "worker_stopping",
        "worker_lost",
    } == WORKER_CODES


@pytest.mark.parametrize("code", ["customer_unknown", "e404", "x", "x" * CODE_LENGTH_MAX])
def test_a_handlers_own_code_is_carried(code: str) -> None:
    assert worker_code(code) == code


@each_case(
    "code",
    [None, "", "Customer", "4xx", "_x", "no-dash", "no space", "größe", "x\n", "x" * (CODE_LENGTH_MAX + 1)],
)
def test_what_is_no_code_becomes_a_handlers_error(code: str | None) -> None:
    assert worker_code(code) == "handler_error"


@pytest.mark.uncovered
@given(st.text() | st.from_regex(r"[a-z][a-z0-9_]{0,70}"))
def test_whatever_a_worker_says_becomes_a_code(code: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", worker_code(code))


@given(st.text() | st.sampled_from(sorted(REGISTRY)))
def test_labels_are_few(code: str) -> None:
    assert outcome_label(code) == (code if code in REGISTRY else "handler_error")


@each_case("code", sorted(REGISTRY))
def test_an_error_from_the_wire_is_of_its_class(code: str) -> None:
    error = error_from_wire(code, "what happened", request_id="r", processed_by="worker-1")
    assert type(error) is REGISTRY[code]
    assert (error.code, error.text, error.request_id, error.processed_by) == (
        code,
        "what happened",
        "r",
        "worker-1",
    )


@each_case("delivery", ["not_delivered", "may_have_run", None])
@each_case("code", ["timeout", "overloaded", "customer_unknown"])
def test_an_error_from_the_wire_says_how_far_the_request_came_and_when_to_try_again(
    code: str, delivery: str | None
) -> None:
    error = error_from_wire(code, "what happened", delivery=delivery, queue_wait_s=0.5, retry_after_s=2.0)
    assert (error.delivery, error.queue_wait_s, error.retry_after_s) == (delivery, 0.5, 2.0)
    plain = error_from_wire(code, "what happened")
    assert (plain.delivery, plain.queue_wait_s, plain.retry_after_s) == (None, None, None)


def test_what_may_have_run_is_not_retryable_whatever_its_code() -> None:
    assert error_from_wire("overloaded", "x", delivery="not_delivered").retryable
    assert error_from_wire("overloaded", "x").retryable
    assert not error_from_wire("overloaded", "x", delivery="may_have_run").retryable


def test_an_unknown_code_from_the_wire_is_a_handlers_own() -> None:
    error = error_from_wire("customer_unknown", "no such customer: 42")
    assert type(error) is HandlerError
    assert error.code == "customer_unknown"
    assert HandlerError().code == "handler_error"  # the class is unchanged
    assert (error.request_id, error.processed_by) == (None, None)
