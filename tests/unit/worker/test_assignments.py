"""Assignments: each ends with exactly one response, however its handler ends."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from taskferry.protocol.limits import ENVELOPE_SIZE_BYTES_MAX, TEXT_LENGTH_MAX
from taskferry.worker import CommandError, Context, Dead, Retry, Worker, limits

from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker, welcome

Encodings = Literal["json", "msgpack"]


@dataclass
class Picture:
    url: str
    width: int


class Stage:
    """A worker with handlers of all kinds, and what they recorded."""

    def __init__(self, encoding: Encodings = "json") -> None:
        self.worker = worker = Worker(concurrency=4, encoding=encoding, thread_count=2)
        self.contexts: list[Context] = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.thread_may_end = threading.Event()
        handlers: list[Callable[..., Any]] = [
            self.double,
            self.picture,
            self.raises,
            self.stubborn,
            self.sleeps,
            self.told,
            self.returns,
            self.blocks,
            self.polls,
            self.thread_raises,
            self.thread_told,
        ]
        for handler in handlers:
            worker.command()(handler)

    async def double(self, number: int) -> int:
        return number * 2

    async def picture(self, picture: Picture) -> Picture:
        return Picture(picture.url, picture.width + 1)

    async def raises(self, kind: str) -> None:
        await asyncio.sleep(0)
        raise EXCEPTIONS[kind]

    async def returns(self, kind: str) -> Any:
        return RESULTS[kind]

    async def sleeps(self) -> str:
        self.started.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "slept"

    async def stubborn(self) -> str:
        self.started.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        return "finished all the same"

    async def told(self, context: Context) -> dict[str, Any]:
        self.contexts.append(context)
        return describe(context)

    def thread_told(self, context: Context) -> dict[str, Any]:
        return describe(context) | {"thread": threading.current_thread().name}

    def thread_raises(self, kind: str) -> None:
        raise EXCEPTIONS[kind]

    def blocks(self, context: Context) -> str:
        self.contexts.append(context)
        self.thread_may_end.wait(PATIENCE_S)
        return "unblocked"

    def polls(self, context: Context) -> None:
        self.contexts.append(context)
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            with contextlib.suppress(Exception):  # as users write it
                context.raise_if_cancelled()
            time.sleep(0.005)


EXCEPTIONS = {
    "ordinary": ValueError("width must be even"),
    "own": CommandError("too dark", code="too_dark"),
    "retry": Retry(text="not yet"),
    "retry after": Retry(after=30, code="busy"),
    "dead": Dead("closed"),
    "no text": Dead(None),  # type: ignore[arg-type]
    "an exception for a text": CommandError(ValueError("odd"), code=3),  # type: ignore[arg-type]
    "bad code": CommandError("oops", code="Not A Code"),
    "the broker's code": CommandError("oops", code="timeout"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "long": RuntimeError("x" * 10_000),
    "cancelled by itself": asyncio.CancelledError("inner"),
    "stop iteration": StopIteration("inner"),
}
LOOP: list[Any] = []
LOOP.append(LOOP)
RESULTS = {
    "lock": threading.Lock(),
    "key": {(1, 2): 3},
    "surrogate": "\ud800",
    "circle": LOOP,
    "large": "x" * 5000,
    "largest": "x" * 4094,
    "integer": 2**64,
}


def describe(context: Context) -> dict[str, Any]:
    return {
        "request_id": context.request_id,
        "command": context.command,
        "worker_id": context.worker_id,
        "trace": context.trace,
        "job": [context.job_id, context.attempt, context.is_last_attempt],
        "cancelled": context.cancelled,
        "remaining_s": context.remaining_s,
        "is_deadline_right": abs(context.deadline - time.monotonic() - context.remaining_s) < 1,
    }


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.thread_may_end.set()


@pytest.fixture
async def connection(stage: Stage, broker: FakeBroker) -> AsyncIterator[Connection]:
    async with broker.serve(stage.worker) as connection:
        yield connection
        assert set(connection.response_counts.values()) <= {1}


async def wait_for(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_results(encoding: Encodings, broker: FakeBroker) -> None:
    async with broker.serve(Stage(encoding).worker) as connection:
        assert await connection.result("double", {"number": 21}) == 42
        picture = {"picture": {"url": "a", "width": 1}}
        assert await connection.result("picture", picture) == {"url": "a", "width": 2}
        assert await connection.failure("double", {"number": "x"}) == (
            "bad_request",
            "number: Expected `int`, got `str`",
        )


async def test_answers_come_as_handlers_end_not_as_requests_came(
    stage: Stage, connection: Connection
) -> None:
    slow = connection.send_request("sleeps")
    assert await connection.result("double", {"number": 1}) == 2
    connection.send_cancel(slow)
    assert (await connection.response_to(slow))["code"] == "cancelled"


async def test_an_unknown_command_is_answered(connection: Connection) -> None:
    assert await connection.failure("nothing") == (
        "unknown_command",
        "'nothing': this worker does not serve it",
    )


@pytest.mark.parametrize("command", ["raises", "thread_raises"])
@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        ("ordinary", "handler_error", "ValueError: width must be even"),
        ("own", "too_dark", "too dark"),
        ("no text", "handler_error", "Handler failed"),
        ("an exception for a text", "handler_error", "ValueError: odd"),
        ("bad code", "handler_error", "oops"),
        ("the broker's code", "handler_error", "oops"),
        ("exit", "handler_error", "SystemExit: 3"),
        ("interrupt", "handler_error", "KeyboardInterrupt"),
        ("cancelled by itself", "handler_error", "CancelledError: inner"),
    ],
)
async def test_what_a_handler_raises_is_its_failure(
    command: str, kind: str, code: str, text: str, connection: Connection
) -> None:
    assert await connection.failure(command, {"kind": kind}) == (code, text)
    assert await connection.result("double", {"number": 1}) == 2


@pytest.mark.parametrize("command", ["raises", "thread_raises"])
async def test_what_a_handler_says_of_its_job_comes_with_the_failure_of_an_attempt(
    command: str, connection: Connection
) -> None:
    for kind, expected in (
        ("own", {"code": "too_dark", "error": "too dark"}),
        ("retry", {"code": "handler_error", "error": "not yet", "retry": True}),
        ("retry after", {"code": "busy", "error": "The handler asks for another attempt", "retry": 30.0}),
        ("dead", {"code": "handler_error", "error": "closed", "retry": False}),
    ):
        connection.send_attempt(command, {"kind": kind}, msg_id=f"e.{kind}")
        assert await connection.response_to(f"e.{kind}") == {"success": False, **expected}
        response = await connection.request(command, {"kind": kind})
        assert response == {"success": False, "code": expected["code"], "error": expected["error"]}


async def test_a_thread_may_even_raise_stop_iteration(connection: Connection) -> None:
    assert await connection.failure("thread_raises", {"kind": "stop iteration"}) == (
        "handler_error",
        "StopIteration: inner",
    )


async def test_a_long_text_is_cut(connection: Connection) -> None:
    _, text = await connection.failure("raises", {"kind": "long"})
    assert len(text) == TEXT_LENGTH_MAX


async def test_a_traceback_is_logged_but_not_for_a_failure_on_purpose(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="taskferry.worker")
    caplog.clear()
    await connection.failure("raises", {"kind": "own"})
    assert caplog.text == ""
    await connection.failure("raises", {"kind": "ordinary"})
    assert "raises failed (request r-m2)" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("lock", "result: cannot be written as JSON: Encoding objects of type lock is unsupported"),
        (
            "key",
            "result: cannot be written as JSON: Only dicts with str-like or number-like keys are supported",
        ),
        ("surrogate", "result: a string in it is not valid Unicode"),
        ("circle", "result: nested too deeply for JSON, or contains itself"),
    ],
)
async def test_a_result_that_cannot_be_written_is_a_failure(
    kind: str, text: str, connection: Connection
) -> None:
    assert await connection.failure("returns", {"kind": kind}) == ("handler_error", text)


async def test_an_integer_that_messagepack_cannot_hold_is_reported(broker: FakeBroker) -> None:
    async with broker.serve(Stage("msgpack").worker) as connection:
        code, text = await connection.failure("returns", {"kind": "integer"})
    assert (code, text) == ("not_representable", "result: MessagePack cannot hold an integer over 64 bits")


async def test_a_result_over_its_bound_is_a_failure(broker: FakeBroker) -> None:
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=ENVELOPE_SIZE_BYTES_MAX + 4096)
    async with broker.serve(Stage().worker) as connection:
        assert len(await connection.result("returns", {"kind": "largest"})) == 4094
        code, text = await connection.failure("returns", {"kind": "large"})
    bound = "message_size_bytes_max of the broker less 4096"
    assert (code, text) == ("too_large", f"result: 5002 bytes, at most 4096 ({bound})")


@pytest.mark.parametrize("command", ["told", "thread_told"])
async def test_the_context_has_what_is_known(command: str, connection: Connection) -> None:
    call = {"action": command, "params": {}, "timeout": 3.0, "request_id": "mine", "trace": "00-ab-cd-01"}
    connection.send({"type": "request", "msg_id": "m", "timestamp": 0.0, "data": call})
    told = (await connection.response_to("m"))["result"]
    assert 2 < told.pop("remaining_s") <= 3
    assert told.pop("thread", "handler-1").startswith("handler-")
    assert told == {
        "request_id": "mine",
        "command": command,
        "worker_id": connection.hello["data"]["name"],
        "trace": "00-ab-cd-01",
        "cancelled": False,
        "is_deadline_right": True,
        "job": [None, 1, True],
    }


async def test_the_context_of_an_attempt_has_its_job(connection: Connection) -> None:
    connection.send_attempt("told", msg_id="e.1", attempt=2)
    assert (await connection.response_to("e.1"))["result"]["job"] == ["j-e.1", 2, False]
    connection.send_attempt("thread_told", msg_id="e.2", attempt=10, is_last=True)
    assert (await connection.response_to("e.2"))["result"]["job"] == ["j-e.2", 10, True]


async def test_without_a_trace_there_is_none(stage: Stage, connection: Connection) -> None:
    assert (await connection.result("told"))["trace"] is None


async def test_cancel_ends_a_coroutine(stage: Stage, connection: Connection) -> None:
    msg_id = connection.send_request("sleeps")
    await stage.started.wait()
    connection.send_cancel(msg_id)
    response = await connection.response_to(msg_id)
    assert (response["code"], response["error"]) == ("cancelled", "Cancelled: cancelled by the test")
    assert stage.cancelled.is_set()


async def test_cancel_in_the_same_moment_as_the_request_is_answered_too(connection: Connection) -> None:
    msg_id = connection.send_request("sleeps")
    connection.send_cancel(msg_id)
    connection.send_cancel(msg_id)
    assert (await connection.response_to(msg_id))["code"] == "cancelled"


async def test_a_coroutine_that_does_not_obey_keeps_its_slot_and_is_answered_once(
    stage: Stage, connection: Connection
) -> None:
    msg_id = connection.send_request("stubborn")
    await stage.started.wait()
    connection.send_cancel(msg_id)
    connection.send_cancel(msg_id)
    assert (await connection.response_to(msg_id))["code"] == "cancelled"


async def test_a_cancel_of_what_has_ended_is_ignored(connection: Connection) -> None:
    await connection.result("double", {"number": 1})
    connection.send_cancel("m1")
    connection.send_cancel("never given")
    assert await connection.result("double", {"number": 2}) == 4


async def test_a_thread_sees_that_it_is_cancelled_and_its_slot_is_freed_when_it_ends(
    stage: Stage, connection: Connection
) -> None:
    msg_id = connection.send_request("blocks")
    await wait_for(lambda: stage.contexts)
    connection.send_cancel(msg_id)
    await wait_for(lambda: stage.contexts[0].cancelled)
    assert await connection.result("double", {"number": 1}) == 2
    assert connection.response_counts[msg_id] == 0
    stage.thread_may_end.set()
    assert (await connection.response_to(msg_id))["code"] == "cancelled"


async def test_raise_if_cancelled_passes_through_except_exception(
    stage: Stage, connection: Connection
) -> None:
    msg_id = connection.send_request("polls")
    await wait_for(lambda: stage.contexts)
    connection.send_cancel(msg_id)
    assert (await connection.response_to(msg_id))["code"] == "cancelled"


async def test_a_thread_assignment_that_has_not_started_is_not_started_when_cancelled(
    stage: Stage, connection: Connection
) -> None:
    running = [connection.send_request("blocks") for _ in range(2)]
    await wait_for(lambda: len(stage.contexts) == 2)
    waiting = connection.send_request("blocks")
    connection.send_cancel(waiting)
    assert await connection.result("double", {"number": 1}) == 2
    stage.thread_may_end.set()
    assert (await connection.response_to(waiting))["code"] == "cancelled"
    for msg_id in running:
        assert (await connection.response_to(msg_id))["result"] == "unblocked"
    assert len(stage.contexts) == 2


async def test_the_deadline_is_enforced_here_too(stage: Stage, connection: Connection) -> None:
    later = connection.send_request("sleeps", timeout=60)
    began_at = time.monotonic()
    response = await connection.request("sleeps", timeout=0.1)
    assert (response["code"], response["error"]) == ("cancelled", "Cancelled: deadline passed")
    assert time.monotonic() - began_at >= 0.1
    again = await connection.request("sleeps", timeout=0.05)
    assert again["error"] == "Cancelled: deadline passed"
    assert connection.response_counts[later] == 0


async def test_each_deadline_is_enforced_not_only_the_first(connection: Connection) -> None:
    first = connection.send_request("sleeps", timeout=0.02)
    second = connection.send_request("sleeps", timeout=0.15)
    assert (await connection.response_to(first))["error"] == "Cancelled: deadline passed"
    assert (await connection.response_to(second))["error"] == "Cancelled: deadline passed"


async def test_a_thread_sees_that_its_deadline_has_passed(stage: Stage, connection: Connection) -> None:
    response = await connection.request("polls", timeout=0.05)
    assert response["error"] == "Cancelled: deadline passed"
    assert stage.contexts[0].remaining_s == 0.0


@pytest.fixture
def _no_deadline_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own check cancels what is overdue a moment later; here it is the start itself that must check."""
    monkeypatch.setattr(limits, "DEADLINE_ALLOWANCE_S", 60.0)


@pytest.mark.usefixtures("_no_deadline_sweep")
async def test_what_has_expired_before_a_thread_is_free_is_not_started(
    stage: Stage, connection: Connection
) -> None:
    running = [connection.send_request("blocks") for _ in range(2)]
    await wait_for(lambda: len(stage.contexts) == 2)
    expired = connection.send_request("blocks", timeout=0.02)
    in_time = connection.send_request("thread_told")
    assert "no free slot" in (await connection.failure("told"))[1]  # so both are waiting
    expires_at = time.monotonic() + 0.05
    await wait_for(lambda: time.monotonic() >= expires_at)
    assert connection.response_counts[expired] == 0
    stage.thread_may_end.set()
    response = await connection.response_to(expired)
    assert (response["code"], response["error"]) == ("cancelled", "Cancelled: deadline passed")
    for msg_id in running:
        assert (await connection.response_to(msg_id))["result"] == "unblocked"
    assert len(stage.contexts) == 2
    # And one that starts late has less time left.
    assert 0 < (await connection.response_to(in_time))["result"]["remaining_s"] < 5.0 - 0.05


@pytest.mark.usefixtures("_no_deadline_sweep")
async def test_what_has_expired_while_the_event_loop_was_busy_is_not_started(broker: FakeBroker) -> None:
    worker = Worker()
    begun: list[str] = []

    @worker.command()
    async def holds_up() -> None:
        begun.append("holds_up")
        time.sleep(0.1)

    @worker.command()
    async def next_one() -> None:
        begun.append("next_one")

    async with broker.serve(worker) as connection:
        connection.send_request("holds_up")
        expired = connection.send_request("next_one", timeout=0.05)
        assert (await connection.response_to(expired))["error"] == "Cancelled: deadline passed"
        assert begun == ["holds_up"]
        assert (await connection.request("next_one"))["success"]


async def test_the_budget_shrinks_while_the_handler_runs(broker: FakeBroker) -> None:
    worker = Worker()

    @worker.command()
    async def watch(context: Context) -> list[float]:
        before_s = context.remaining_s
        await asyncio.sleep(0.02)
        return [before_s, context.remaining_s, context.deadline - time.monotonic()]

    async with broker.serve(worker) as connection:
        before_s, after_s, until_deadline_s = await connection.result("watch")
    assert after_s <= before_s - 0.019
    assert before_s <= 5.0
    assert after_s == pytest.approx(until_deadline_s, abs=0.01)


async def test_no_more_than_the_declared_concurrency_is_taken(stage: Stage, connection: Connection) -> None:
    running = [connection.send_request("sleeps") for _ in range(4)]
    code, text = await connection.failure("double", {"number": 1})
    assert (code, text) == ("handler_error", "no free slot: all 4 are taken")
    for msg_id in running:
        connection.send_cancel(msg_id)
        await connection.response_to(msg_id)
    assert await connection.result("double", {"number": 1}) == 2


async def test_an_assignment_that_runs_already_is_not_run_twice(stage: Stage, connection: Connection) -> None:
    connection.send_request("sleeps", msg_id="same")
    connection.send_request("double", {"number": 1}, msg_id="same")
    error = await connection.receive_type("error")
    assert error["msg_id"] == "same"
    assert error["data"] == {"code": "bad_message", "error": "msg_id: assignment 'same' is running already"}
    connection.send_cancel("same")
    assert (await connection.response_to("same"))["code"] == "cancelled"


async def test_a_failure_while_being_cancelled_is_logged(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker()
    started = asyncio.Event()

    @worker.command()
    async def clumsy() -> None:
        started.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            raise ValueError("in the clean-up")

    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("clumsy")
        await started.wait()
        connection.send_cancel(msg_id)
        assert (await connection.response_to(msg_id))["code"] == "cancelled"
    assert "clumsy failed while it was cancelled" in caplog.text
    assert "in the clean-up" in caplog.text


async def test_an_exception_from_a_users_own_type_is_the_handlers_failure(broker: FakeBroker) -> None:
    worker = Worker()

    @dataclass
    class Fussy:
        number: int

        def __post_init__(self) -> None:
            raise LookupError("not found")

    async def handler(fussy: Any) -> None: ...

    handler.__annotations__["fussy"] = Fussy
    worker.command("handler")(handler)
    async with broker.serve(worker) as connection:
        assert await connection.failure("handler", {"fussy": {"number": 1}}) == (
            "handler_error",
            "LookupError: not found",
        )


async def test_an_assignment_that_arrives_while_the_worker_stops_is_not_run(broker: FakeBroker) -> None:
    worker = Worker()
    started = asyncio.Event()
    sends: list[Callable[[], object]] = []
    ran: list[str] = []

    @worker.command()
    async def late() -> None:
        ran.append("late")

    @worker.command()
    async def first() -> None:
        started.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            sends.pop()()
            ran.append("first")
            await asyncio.sleep(0.05)

    async with broker.serve(worker) as connection:
        sends.append(lambda: connection.send_request("late"))
        connection.send_request("first")
        await started.wait()
    assert ran == ["first"]


class Text(str):
    __slots__ = ()


class Share(float): ...


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_result_of_subclasses_and_unknown_keys_at_depth(
    encoding: Encodings, broker: FakeBroker
) -> None:
    worker = Worker(encoding=encoding)

    @worker.command()
    async def weigh(picture: Picture) -> Any:
        return {Text("url"): Text(picture.url), "share": Share(picture.width)}

    async with broker.serve(worker) as connection:
        picture = {"url": "a", "width": 2}
        assert await connection.result("weigh", {"picture": picture}) == {"url": "a", "share": 2.0}
        assert await connection.failure("weigh", {"picture": {**picture, "height": 1}}) == (
            "bad_request",
            "picture.height: unexpected key; picture takes url, width",
        )
