"""Who a worker says it is: a fresh token for each connection, its renewal while handlers run, and refusals."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest
from taskferry.credentials import renewal
from taskferry.credentials.source import Tokens as TokensArgument
from taskferry.protocol.errors import CannotConnect
from taskferry.transport.admission import Refusal, RefusalReason
from taskferry.worker import Worker

from tests.unit.worker.fake_broker import FakeBroker, Message, welcome

SECRET = "tfk_marked-and-never-shown"
UNKNOWN = Refusal(HTTPStatus.UNAUTHORIZED, "the token is unknown", RefusalReason.UNAUTHENTICATED)
NOT_HERE = Refusal(HTTPStatus.FORBIDDEN, "bob may not serve anything", RefusalReason.FORBIDDEN)


class Tokens:
    """A function for `token` that returns t1, t2, ... and counts its calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"t{self.count}"


def made_worker() -> Worker:
    worker = Worker(name="w", concurrency=4, grace_s=5)

    @worker.command()
    async def echo(message: Any = None) -> Any:
        return message

    @worker.command()
    async def hold() -> str:
        await asyncio.Event().wait()
        return ""

    return worker


@contextlib.asynccontextmanager
async def serving(
    broker: FakeBroker, token: TokensArgument = None, worker: Worker | None = None
) -> AsyncIterator[Worker]:
    worker = worker or made_worker()
    task = asyncio.create_task(worker.serve(broker.url, token=token))
    try:
        yield worker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def expiring(expires_in: float) -> Message:
    return {"type": "expiring", "data": {"expires_in": expires_in}, "timestamp": 0.0}


def logged_in(**data: Any) -> Message:
    return {"type": "auth", "msg_id": "auth", "timestamp": 0.0, "data": data}


async def test_each_connection_takes_a_fresh_token(broker: FakeBroker) -> None:
    async with serving(broker, Tokens()):
        first = await broker.connection()
        first.link.close(4401, "revoked")
        second = await broker.connection()
        assert await second.result("echo", {"message": 1}) == 1
    assert broker.tokens == ["t1", "t2"]


async def test_the_environment_is_the_default(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", SECRET)
    async with serving(broker):
        await broker.connection()
    assert broker.tokens == [SECRET]


@pytest.mark.parametrize("refusal", [UNKNOWN, NOT_HERE])
async def test_a_refusal_is_one_line_and_it_keeps_trying(
    broker: FakeBroker, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    broker.admit = lambda token: None if token == "t4" else refusal
    async with serving(broker, Tokens()):
        await broker.connection()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    status = refusal.status.value
    assert line == f"cannot connect to {broker.url}: handshake refused: {status} {refusal.text}; retrying"


async def test_without_a_token_the_line_says_how_to_give_one(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TASKFERRY_TOKEN", raising=False)
    broker.admit = lambda _: UNKNOWN
    async with serving(broker):
        await until(lambda: "--token-file" in caplog.text)


async def test_a_drain_while_it_is_refused_ends_at_once(broker: FakeBroker) -> None:
    busy = Refusal(
        HTTPStatus.TOO_MANY_REQUESTS, "too often", RefusalReason.RATE_LIMITED, {"Retry-After": "60"}
    )
    broker.admit = lambda _: busy
    worker = made_worker()
    task = asyncio.create_task(worker.serve(broker.url, token=SECRET))
    await until(lambda: broker.tokens)
    started_s = time.monotonic()
    worker.drain()
    await asyncio.wait_for(task, 10)
    assert time.monotonic() - started_s < 5
    assert broker.tokens == [SECRET]


async def test_a_drain_while_the_function_hangs_ends_at_once(broker: FakeBroker) -> None:
    started = asyncio.Event()

    async def hanging() -> str:
        started.set()
        await asyncio.sleep(60)
        return ""

    worker = made_worker()
    task = asyncio.create_task(worker.serve(broker.url, token=hanging))
    await started.wait()
    worker.drain()
    await asyncio.wait_for(task, 5)


async def test_a_function_that_fails_is_reported_and_tried_again(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = [ValueError(SECRET), None]

    def function() -> str:
        if error := outcomes.pop(0):
            raise error
        return "fresh"

    async with serving(broker, function):
        await broker.connection()
    assert "no token: the function for the token raised ValueError at " in caplog.text
    assert SECRET not in caplog.text


async def test_a_login_is_renewed_while_handlers_run(broker: FakeBroker) -> None:
    async with serving(broker, Tokens()):
        connection = await broker.connection()
        connection.send_request("hold", msg_id="h")
        connection.send(expiring(30.0))
        auth = await connection.receive_type("auth")
        assert auth["data"] == {"token": "t2"}
        connection.send(logged_in(success=True, identity="w", expires_in=60.0))
        assert await connection.result("echo", {"message": 1}) == 1
        assert connection.response_counts["h"] == 0
    assert broker.connection_count == 1


async def test_a_renewal_that_is_refused_is_tried_again(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "RENEWAL_INTERVAL_S", 0.01)
    async with serving(broker, Tokens()):
        connection = await broker.connection()
        connection.send(expiring(30.0))
        await connection.receive_type("auth")
        connection.send(logged_in(success=False, code="forbidden", error="another identity"))
        auth = await connection.receive_type("auth")
        assert auth["data"] == {"token": "t3"}
        connection.send(logged_in(success=True))
    assert f"cannot renew the login at {broker.url}: another identity" in caplog.text


async def test_messages_about_the_login_before_the_welcome_harm_nothing(broker: FakeBroker) -> None:
    broker.answer = lambda hello: None
    async with serving(broker, SECRET):
        connection = await broker.connection()
        connection.send(logged_in(success=True))
        connection.send(expiring(-1.0))
        connection.send({"type": "expiring", "data": {"expires_in": "soon"}})
        await connection.closed  # that is no worker port


async def test_commands_that_it_may_not_serve_are_logged_and_the_others_served(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(broker, SECRET):
        connection = await broker.connection()
        connection.send(
            {
                "type": "error",
                "msg_id": "connect",
                "timestamp": 0.0,
                "data": {"code": "forbidden", "error": "commands: w may not serve 'hold'"},
            }
        )
        assert await connection.result("echo", {"message": 1}) == 1
    assert "this worker may not serve all of its commands: commands: w may not serve 'hold'" in caplog.text


async def test_a_worker_that_may_serve_nothing_is_refused_and_keeps_trying(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse_first(hello: Message) -> Message:
        if broker.connection_count > 1:
            return welcome(hello)
        return {
            "type": "error",
            "msg_id": hello["msg_id"],
            "data": {"code": "forbidden", "error": "w may serve none of its commands"},
        }

    broker.answer = refuse_first
    async with serving(broker, Tokens()):
        first = await broker.connection()
        first.link.close(4403, "forbidden")
        second = await broker.connection()
        assert await second.result("echo", {"message": 1}) == 1
    assert "refuses this worker: forbidden: w may serve none of its commands" in caplog.text
    assert broker.tokens == ["t1", "t2"]


async def test_a_text_that_is_no_token_is_an_error() -> None:
    with pytest.raises(ValueError, match="token: the token is empty"):
        await made_worker().serve("ws://localhost", token="")


async def test_a_token_and_a_password_do_not_go_together() -> None:
    with pytest.raises(CannotConnect, match="only one of the two can be sent"):
        await made_worker().serve("ws://ann:pw@127.0.0.1:1", token=SECRET)


async def test_a_token_for_another_machine_over_plain_ws_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = made_worker()
    task = asyncio.create_task(worker.serve("ws://broker.invalid:8765", token=SECRET))
    await until(lambda: "is sent to ws://broker.invalid:8765 unencrypted" in caplog.text)
    worker.drain()
    await task
    assert SECRET not in caplog.text
