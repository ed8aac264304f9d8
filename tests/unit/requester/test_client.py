"""Requester: what a call sends, what it returns or raises, and what it refuses by itself."""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from types import MappingProxyType
from typing import Any, assert_type

import msgspec
import pytest
from taskferry import requester as package
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import REGISTRY, TaskferryError
from taskferry.protocol.limits import (
    MESSAGE_SIZE_BYTES_MAX,
    REQUEST_ID_LENGTH_MAX,
    TIMEOUT_S_DEFAULT,
    TIMEOUT_S_MAX,
)
from taskferry.requester import (
    BadRequest,
    Cancelled,
    CannotConnect,
    DuplicateRequestId,
    HandlerError,
    NoAvailableWorkers,
    NotRepresentable,
    Overloaded,
    Requester,
    Response,
    ShuttingDown,
    TooLarge,
)
from taskferry.requester.wire import DATA_SIZE_BYTES_MAX, WIRES, OutgoingRequest

from tests.unit.requester.fake_broker import FakeBroker
from tests.unit.requester.waiting import until


class Point(msgspec.Struct):
    x: int
    y: int = 0


@pytest.fixture(params=["json", "msgpack"])
async def any_requester(broker: FakeBroker, request: pytest.FixtureRequest) -> AsyncIterator[Requester]:
    """One in each encoding."""
    async with Requester(broker.url, encoding=request.param) as requester:
        await requester.connect()
        yield requester
        assert requester.in_flight_count == 0


@pytest.mark.parametrize(
    "data", [{"message": "Hello"}, [1, 2.5, None, True], "Grüße 🚢", 0, None, {"nested": {"a": [{}]}}]
)
async def test_a_result_is_what_the_worker_returned(any_requester: Requester, data: object) -> None:
    assert await any_requester.call("echo", data) == data


async def test_data_left_out_is_an_empty_object(requester: Requester, broker: FakeBroker) -> None:
    assert await requester.call("echo") == {}
    assert broker.requests[0].data is msgspec.UNSET


async def test_options_travel_with_the_request(any_requester: Requester, broker: FakeBroker) -> None:
    await any_requester.call(
        "echo",
        {},
        timeout=7.5,
        idempotent=True,
        priority=9,
        affinity="customer-1",
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        request_id="my-id",
    )
    sent = broker.requests[0]
    assert (sent.request_id, sent.timeout, sent.idempotent, sent.priority) == ("my-id", 7.5, True, 9)
    assert (sent.affinity, sent.trace) == (
        "customer-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("worker-1", "worker-1"),
        ({"gpu": "yes"}, {"gpu": "yes"}),
        ({"gpu": "yes", "zone": ["a", "b"]}, {"gpu": "yes", "zone": ["a", "b"]}),
        (MappingProxyType({"zone": ("a", "b")}), {"zone": ["a", "b"]}),
        (OrderedDict(zone={"a"}), {"zone": ["a"]}),
        (None, None),
    ],
)
async def test_a_target_travels_with_the_request(
    any_requester: Requester, broker: FakeBroker, target: Any, sent: object
) -> None:
    await any_requester.call("echo", target=target)
    await any_requester.request("echo", target=target)
    assert [request.target for request in broker.requests] == [sent, sent]


@pytest.mark.parametrize("hedge", [0.001, 0.05, 1, 3600, "p1", "p95", "p99", None])
async def test_a_hedge_travels_with_the_request(
    any_requester: Requester, broker: FakeBroker, hedge: float | str | None
) -> None:
    await any_requester.call("echo", idempotent=True, hedge=hedge)
    await any_requester.request("echo", idempotent=True, hedge=hedge)
    assert [request.hedge for request in broker.requests] == [hedge, hedge]


async def test_the_timeout_is_sent_even_when_it_is_the_default(
    requester: Requester, broker: FakeBroker
) -> None:
    # The broker's default may be another one, and both sides must agree on the deadline.
    await requester.call("echo")
    assert broker.requests[0].timeout == 30.0


async def test_request_ids_are_unique_and_differ_between_clients(
    requester: Requester, broker: FakeBroker
) -> None:
    async with Requester(broker.url) as other:
        await asyncio.gather(*(client.call("echo") for client in (requester, other) for _ in range(50)))
    ids = [request.request_id for request in broker.requests]
    assert len(set(ids)) == 100


async def test_many_calls_at_once_each_get_their_own_result(requester: Requester) -> None:
    results = await asyncio.gather(*(requester.call("echo", n) for n in range(2000)))
    assert results == list(range(2000))


async def test_a_failed_command_raises_the_class_of_its_code(any_requester: Requester) -> None:
    with pytest.raises(NoAvailableWorkers, match="nobody there") as caught:
        await any_requester.call("fail", {"code": "no_available_workers", "error": "nobody there"})
    assert caught.value.processed_by == "worker-1"
    assert caught.value.request_id is not None


@pytest.mark.parametrize("code", REGISTRY)
async def test_every_code_of_the_registry_has_its_exception(requester: Requester, code: str) -> None:
    # What a broker that is shutting down does not take waits for the next one, until its deadline.
    timeout_s = 0.3 if code == ShuttingDown.code else TIMEOUT_S_DEFAULT
    with pytest.raises(TaskferryError) as caught:
        await requester.call("fail", {"code": code, "error": "x"}, timeout=timeout_s)
    assert type(caught.value) is REGISTRY[code]


async def test_a_handlers_own_code_is_carried(requester: Requester) -> None:
    with pytest.raises(HandlerError) as caught:
        await requester.call("fail", {"code": "no_such_image", "error": "no image at this address"})
    assert (caught.value.code, caught.value.text) == ("no_such_image", "no image at this address")


FAILURE = {
    "code": "overloaded",
    "error": "too much",
    "delivery": "not_delivered",
    "queue_wait": 0.5,
    "retry_after": 2.0,
}


async def test_a_failure_says_how_far_the_request_came_and_when_to_send_it_again(
    any_requester: Requester, broker: FakeBroker
) -> None:
    with pytest.raises(Overloaded) as caught:
        await any_requester.call("fail", FAILURE)
    error = caught.value
    assert (error.delivery, error.queue_wait_s, error.retry_after_s) == ("not_delivered", 0.5, 2.0)
    response = await any_requester.request("fail", FAILURE)
    assert (response.delivery, response.queue_wait_s, response.retry_after_s) == ("not_delivered", 0.5, 2.0)
    assert len(broker.requests) == 2  # sent again by the user only


async def test_a_failure_that_says_nothing_of_it_leaves_it_open(any_requester: Requester) -> None:
    with pytest.raises(HandlerError) as caught:
        await any_requester.call("fail", {"code": "handler_error", "error": "x"})
    error = caught.value
    assert (error.delivery, error.queue_wait_s, error.retry_after_s) == (None, None, None)


async def test_request_returns_the_whole_response(any_requester: Requester) -> None:
    response = await any_requester.request("echo", {"a": 1}, request_id="r1")
    assert response == Response("r1", True, {"a": 1}, None, "worker-1", None)


async def test_request_returns_failures_too(any_requester: Requester) -> None:
    response = await any_requester.request("fail", {"code": "too_blue", "error": "too blue"}, request_id="r1")
    assert response == Response("r1", False, None, "too blue", "worker-1", "too_blue")


async def test_a_second_answer_is_ignored(requester: Requester) -> None:
    assert await requester.call("twice", 1) == 1
    assert await requester.call("echo", 2) == 2


# --- typed results ---


async def test_a_result_is_converted_to_the_type_asked_for(any_requester: Requester) -> None:
    assert await any_requester.call("echo", {"x": 1}, type=Point) == Point(1, 0)
    assert await any_requester.call("echo", {"1": 2}, type=dict[str, int]) == {"1": 2}


async def test_a_type_checker_knows_the_type_of_the_result(requester: Requester) -> None:
    assert_type(await requester.call("echo", {"x": 1}, type=Point), Point)
    assert_type(await requester.call("echo", [1], type=list[int]), list[int])
    assert_type(await requester.call("echo", 1), Any)


async def test_keys_of_json_become_the_numbers_asked_for(requester: Requester) -> None:
    assert await requester.call("echo", {"1": 2}, type=dict[int, int]) == {1: 2}


async def test_a_result_that_does_not_fit_its_type_names_the_place(requester: Requester) -> None:
    with pytest.raises(NotRepresentable, match=r"Expected `int`, got `str` - at `\$.x`"):
        await requester.call("echo", {"x": "one"}, type=Point)


# --- what is refused here ---


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), TIMEOUT_S_MAX + 0.1, "5", None])
async def test_a_senseless_timeout_is_refused_and_nothing_sent(
    requester: Requester, broker: FakeBroker, timeout: Any
) -> None:
    with pytest.raises(BadRequest, match=r"timeout: .* over 0 and at most 3600"):
        await requester.call("echo", timeout=timeout)
    assert (await requester.request("echo", timeout=timeout)).code == "bad_request"
    assert broker.requests == []


async def test_the_longest_timeout_is_accepted(requester: Requester) -> None:
    assert await requester.call("echo", 1, timeout=TIMEOUT_S_MAX) == 1


@pytest.mark.parametrize(
    ("data", "named"), [(object(), "object"), ({"a": {1j}}, "complex"), ("\ud800", "surrogates")]
)
async def test_data_that_cannot_be_written_is_refused_naming_it(
    any_requester: Requester, data: object, named: str
) -> None:
    with pytest.raises(BadRequest, match=f"data: cannot be written as (JSON|MessagePack): .*{named}"):
        await any_requester.call("echo", data)


async def test_another_field_that_cannot_be_written_is_refused_by_its_name(
    any_requester: Requester, broker: FakeBroker
) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"affinity": object()}, "affinity: expected a text, got object"),
        ({"trace": b"x"}, "trace: expected a text, got bytes"),
        ({"otherwise": b"submit"}, "otherwise: expected a text, got bytes"),
        ({"trace": "\ud800"}, "trace: cannot be written as .*surrogates"),
        ({"request_id": "\ud800"}, "request_id: cannot be written as .*surrogates"),
        ({"target": {"gpu": "\ud800"}}, "target: cannot be written as .*surrogates"),
        ({"priority": object()}, "priority: cannot be written as .*object"),
    ]
    for options, text in refused:
        with pytest.raises(BadRequest, match=f"^{text}"):
            await any_requester.call("echo", **options)
    assert broker.requests == []


async def test_a_command_that_is_no_text_is_refused_and_nothing_sent(
    any_requester: Requester, broker: FakeBroker
) -> None:
    for command, text in ((b"x", "bytes"), (5, "int"), (None, "NoneType")):
        with pytest.raises(BadRequest, match=f"^command: expected a text, got {text}$"):
            await any_requester.call(command)  # type: ignore[call-overload]
    with pytest.raises(BadRequest, match=r"^command: cannot be written as .*surrogates"):
        await any_requester.call("ec\ud800ho")
    assert broker.requests == []


async def test_a_field_of_a_question_that_cannot_be_written_is_refused_by_its_name(
    any_requester: Requester, broker: FakeBroker
) -> None:
    with pytest.raises(BadRequest, match=r"^job_id: cannot be written as .*surrogates"):
        await any_requester.submit("echo", job_id="\ud800")
    with pytest.raises(BadRequest, match=r"^filter: cannot be written as .*surrogates"):
        await any_requester.cancel_jobs(owner="\ud800")
    assert broker.questions == []


def test_data_that_is_too_deep_only_within_its_message_is_blamed_itself() -> None:
    def fault_at(depth: int) -> str:
        deep: object = 0
        for _ in range(depth):
            deep = [deep]
        try:
            WIRES[Encoding.JSON].encode_request(OutgoingRequest("r", "echo", deep, 1.0))
        except BadRequest as error:
            return error.text
        return ""

    depth = next(depth for depth in range(10, 1_000_000, 10) if fault_at(depth))
    faults = {fault_at(each).partition(":")[0] for each in range(depth - 10, depth)}
    assert faults <= {"", "data"}


async def test_data_that_contains_itself_is_refused(any_requester: Requester) -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(BadRequest, match="recursion"):
        await any_requester.call("echo", endless)


async def test_an_integer_over_64_bits_travels_as_json_only(broker: FakeBroker) -> None:
    async with Requester(broker.url) as requester:
        assert await requester.call("echo", 2**70) == 2**70
    async with Requester(broker.url, encoding="msgpack") as requester:
        with pytest.raises(BadRequest, match="MessagePack"):
            await requester.call("echo", 2**70)


async def test_data_up_to_the_bound_is_sent(requester: Requester) -> None:
    text = "x" * (DATA_SIZE_BYTES_MAX - 2)  # and two quotes
    assert await requester.call("echo", text) == text


async def test_data_over_the_bound_is_refused_and_the_link_lives_on(
    requester: Requester, broker: FakeBroker
) -> None:
    with pytest.raises(
        TooLarge, match=f"data: {DATA_SIZE_BYTES_MAX + 1} bytes, at most {DATA_SIZE_BYTES_MAX}"
    ):
        await requester.call("echo", "x" * (DATA_SIZE_BYTES_MAX - 1))
    assert await requester.call("echo", 1) == 1
    assert broker.connection_count == 1


async def test_a_message_that_is_too_large_without_its_data_is_refused(requester: Requester) -> None:
    with pytest.raises(TooLarge, match=f"request: .* at most {MESSAGE_SIZE_BYTES_MAX}"):
        await requester.call("echo", trace="x" * MESSAGE_SIZE_BYTES_MAX)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (5, "target: Expected `str | object | null`, got `int`"),
        (["worker-1"], "target: Expected `str | object | null`, got `array`"),
        ("x" * 129, "target: Expected `str` of length <= 128"),
        ({}, "target: Expected `object` of length >= 1"),
        ({str(number): "v" for number in range(33)}, "target: Expected `object` of length <= 32"),
        ({"gpu": []}, "target[...]: Expected `array` of length >= 1"),
        ({"gpu": ["v"] * 33}, "target[...]: Expected `array` of length <= 32"),
        ({"gpu": True}, "target[...]: Expected `str | array`, got `bool`"),
        ({"gpu": None}, "target[...]: Expected `str | array`, got `null`"),
    ],
)
async def test_a_senseless_target_is_refused_and_nothing_sent(
    requester: Requester, broker: FakeBroker, target: Any, why: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await requester.call("echo", target=target)
    assert (caught.value.text, caught.value.delivery) == (why, "not_delivered")
    assert (await requester.request("echo", target=target)).delivery == "not_delivered"
    assert broker.requests == []


@pytest.mark.parametrize(
    ("hedge", "why"),
    [
        (float("nan"), "hedge: Expected `float` >= 0.001"),
        (float("inf"), "hedge: Expected `float` <= 3600.0"),
        (0, "hedge: Expected `float` >= 0.001"),
        (3600.1, "hedge: Expected `float` <= 3600.0"),
        (True, "hedge: Expected `float | str | null`, got `bool`"),
        ("p100", "hedge: expected a number of seconds, or a percentile: p1 to p99"),
        ("0.5", "hedge: expected a number of seconds, or a percentile: p1 to p99"),
    ],
)
async def test_a_senseless_hedge_is_refused_and_nothing_sent(
    any_requester: Requester, broker: FakeBroker, hedge: Any, why: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await any_requester.call("echo", idempotent=True, hedge=hedge)
    assert caught.value.text == why
    assert broker.requests == []


async def test_a_hedge_of_what_may_not_run_twice_is_refused(requester: Requester, broker: FakeBroker) -> None:
    with pytest.raises(BadRequest, match="hedge: needs idempotent=True, because the command may run twice"):
        await requester.call("echo", hedge=0.05)
    assert broker.requests == []


@pytest.mark.parametrize(
    "options", [{"timeout": -1}, {"data": object()}, {"data": "x" * DATA_SIZE_BYTES_MAX}]
)
async def test_what_is_refused_here_was_not_delivered(requester: Requester, options: dict[str, Any]) -> None:
    assert (await requester.request("echo", **options)).delivery == "not_delivered"


@pytest.mark.parametrize("request_id", ["", "x" * (REQUEST_ID_LENGTH_MAX + 1), 5])
async def test_a_request_id_out_of_bounds_is_refused(requester: Requester, request_id: Any) -> None:
    with pytest.raises(BadRequest, match="request_id: expected text of 1 to 128 characters"):
        await requester.call("echo", request_id=request_id)


async def test_a_request_id_in_flight_is_refused_and_the_first_continues(
    requester: Requester, broker: FakeBroker
) -> None:
    first = asyncio.create_task(requester.call("hold", 1, request_id="one"))
    await until(lambda: broker.requests)
    with pytest.raises(DuplicateRequestId) as caught:
        await requester.call("echo", request_id="one")
    assert caught.value.delivery == "not_delivered"
    broker.release()
    assert await first == 1


@pytest.mark.parametrize("url", ["http://localhost:8766", "localhost", "", "ws://"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="ws://HOST:PORT"):
        Requester(url)


def test_senseless_arguments_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="encoding: 'xml' is not one of json, msgpack"):
        Requester(encoding="xml")
    with pytest.raises(ValueError, match="in_flight_count_max: 0"):
        Requester(in_flight_count_max=0)


# --- a broker that says odd things ---


async def test_a_result_that_python_cannot_hold_fails_its_own_request_only(requester: Requester) -> None:
    other = asyncio.create_task(requester.call("echo", 1))
    text = '{"request_id":"ID","success":true,"data":1e400,"error":null,"processed_by":"worker-1"}'
    with pytest.raises(NotRepresentable, match="result: cannot be read: data: Number out of range"):
        await requester.call("verbatim", text)
    assert await other == 1


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("nonsense", "sent something that is not a response: not valid JSON"),
        (
            '{"request_id":null,"success":false,"error":"too odd","code":"bad_request"}',
            "refused a message: too odd",
        ),
    ],
)
async def test_what_answers_no_request_is_logged_and_harmless(
    requester: Requester, caplog: pytest.LogCaptureFixture, text: str, logged: str
) -> None:
    waiting = asyncio.create_task(requester.call("verbatim", text, request_id="unanswered"))
    with caplog.at_level(logging.WARNING, "taskferry"):
        await until(lambda: logged in caplog.text)
    assert await requester.call("echo", 1) == 1
    waiting.cancel()


@pytest.mark.parametrize("text", ['{"type":"pong"}', '{"request_id":"stranger","success":true,"data":1}'])
async def test_an_answer_to_no_request_is_ignored(
    requester: Requester, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    waiting = asyncio.create_task(requester.call("verbatim", text))
    assert await requester.call("echo", 1) == 1
    assert not waiting.done()
    assert caplog.text == ""
    waiting.cancel()


async def test_a_message_of_the_wrong_kind_is_logged(
    requester: Requester, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    transport = broker.sessions[0].link._transport
    transport.write(bytes((0x82, 2)) + b"{}")  # a binary frame on a JSON link
    await until(lambda: "not in the encoding agreed on" in caplog.text)
    assert await requester.call("echo", 1) == 1


# --- cancelling and closing ---


async def test_cancelling_a_call_cancels_the_request(requester: Requester, broker: FakeBroker) -> None:
    call = asyncio.create_task(requester.call("hold", 1, request_id="one"))
    await until(lambda: broker.requests)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert requester.in_flight_count == 0
    await until(lambda: broker.cancelled == ["one"])
    broker.release()  # the late answer
    assert await requester.call("echo", 2) == 2


async def test_a_task_cancelled_in_the_moment_of_its_failure_leaves_no_complaint(
    requester: Requester, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    call = asyncio.create_task(requester.call("hold"))
    await until(lambda: broker.requests)
    exchange = requester._exchange
    assert exchange is not None
    (in_flight,) = exchange._requests.in_flight.values()
    in_flight.waiter.set_exception(NoAvailableWorkers())
    call.cancel()  # before the task has seen it
    with pytest.raises(asyncio.CancelledError):
        await call
    del call, in_flight
    assert caplog.text == ""


async def test_a_call_cancelled_in_the_moment_of_its_answer_or_of_closing_is_cancelled(
    broker: FakeBroker,
) -> None:
    requester = Requester(broker.url)
    calls = [asyncio.create_task(requester.call("never", request_id=request_id)) for request_id in "ab"]
    await until(lambda: len(broker.requests) == 2)
    exchange = requester._exchange
    assert exchange is not None
    for call in calls:
        call.cancel()
    exchange.messages_received(
        [b'{"request_id":"a","success":true,"data":1}']
    )  # in the same turn of the loop
    await requester.close()
    for call in calls:
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_closing_ends_a_wait_for_the_link(broker: FakeBroker) -> None:
    await broker.stop()
    requester = Requester(broker.url)
    connecting = asyncio.create_task(requester.connect(timeout=60))
    await asyncio.sleep(0.02)
    await requester.close()
    with pytest.raises(Cancelled, match="was closed"):
        await connecting


async def test_closing_ends_calls_with_cancelled(broker: FakeBroker) -> None:
    requester = Requester(broker.url)
    await requester.connect()
    call = asyncio.create_task(requester.call("never"))
    response = asyncio.create_task(requester.request("never"))
    await until(lambda: len(broker.requests) == 2)
    await requester.close()
    with pytest.raises(Cancelled, match="was closed; the command may have run") as caught:
        await call
    assert caught.value.delivery == "may_have_run"
    assert ((await response).code, (await response).delivery) == ("cancelled", "may_have_run")
    await until(lambda: not broker.sessions)


async def test_closing_says_so_to_a_call_that_was_never_sent(broker: FakeBroker) -> None:
    await broker.stop()
    requester = Requester(broker.url)
    call = asyncio.create_task(requester.call("echo"))
    await until(lambda: requester.in_flight_count == 1)
    await requester.close()
    with pytest.raises(Cancelled, match="it was not sent") as caught:
        await call
    assert caught.value.delivery == "not_delivered"


async def test_a_closed_requester_says_so(broker: FakeBroker) -> None:
    async with Requester(broker.url) as requester:
        pass
    with pytest.raises(RuntimeError, match="this Requester is closed"):
        await requester.call("echo")
    await requester.close()  # twice is fine


async def test_a_requester_that_was_never_used_closes(broker: FakeBroker) -> None:
    await Requester(broker.url).close()
    assert broker.connection_count == 0


async def test_another_event_loop_is_refused_before_anything_is_sent(
    requester: Requester, broker: FakeBroker
) -> None:
    def each_call() -> list[str]:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: requester.call("echo"),
            lambda: requester.request("echo"),
            lambda: requester.submit("echo"),
            lambda: anext(requester.job("a").receipts()),
            requester.connect,
            requester.__aenter__,
            requester.close,
        ]
        return [asyncio.run(error_of(call)) for call in calls]

    async def error_of(call: Callable[[], Awaitable[object]]) -> str:
        try:
            await call()
        except RuntimeError as error:
            return str(error)
        return "none"

    for error in await asyncio.to_thread(each_call):
        assert error == (
            "this Requester belongs to another event loop: make one in each loop, or share a BlockingRequester "
            "among threads"
        )
    assert await requester.call("echo", 1) == 1
    assert broker.commands == ["echo"]
    assert broker.questions == []


def test_one_whose_loop_has_ended_says_so_and_closes() -> None:
    requester = Requester("ws://127.0.0.1:1")

    async def use() -> None:
        with pytest.raises(CannotConnect):
            await requester.connect(retry=False)

    async def use_again() -> None:
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await requester.call("echo")
        await requester.close()

    asyncio.run(use())
    asyncio.run(use_again())


async def test_repr_shows_the_state(broker: FakeBroker) -> None:
    requester = Requester(broker.url)
    assert repr(requester) == f"<Requester {broker.url} not started, 0 in flight>"
    await requester.connect()
    assert repr(requester) == f"<Requester {broker.url} connected, 0 in flight>"
    await requester.close()
    assert repr(requester) == f"<Requester {broker.url} closed, 0 in flight>"


async def test_what_is_sent_is_plain_json_of_the_fewest_bytes(broker: FakeBroker) -> None:
    seen: list[bytes] = []

    async with Requester(broker.url) as requester:
        await requester.connect()
        session = broker.sessions[0]
        take = session.messages_received

        def look(payloads: list[bytes]) -> None:
            seen.extend(payloads)
            take(payloads)

        session.messages_received = look  # type: ignore[method-assign]  # listens in on one session
        await requester.call("echo", {"message": "Hello"}, timeout=5, request_id="r1")
    assert json.loads(seen[0]) == {
        "request_id": "r1",
        "command": "echo",
        "data": {"message": "Hello"},
        "timeout": 5,
    }


def test_every_exception_of_the_registry_is_at_hand() -> None:
    names = {error.__name__ for error in REGISTRY.values()} | {TaskferryError.__name__}
    assert names <= set(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


class Text(str):
    __slots__ = ()


class Count(int): ...


async def test_data_of_subclasses_is_sent_as_what_they_are(any_requester: Requester) -> None:
    assert await any_requester.call("echo", {Text("a"): [Text("b"), Count(3)]}) == {"a": ["b", 3]}
    assert await any_requester.call(Text("echo"), Count(3)) == 3
