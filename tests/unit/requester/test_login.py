"""Who a requester says it is: a fresh token for each connection, its renewal, and a broker that refuses it."""

import asyncio
import logging
import pickle
import queue
import ssl
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import pytest
from taskferry.credentials import renewal, source
from taskferry.protocol.messages import Expiring, LoggedIn
from taskferry.requester import (
    BlockingRequester,
    CannotConnect,
    ConnectionLost,
    Forbidden,
    RateLimited,
    Requester,
    Unauthenticated,
)
from taskferry.requester import connection as connection_module
from taskferry.transport.admission import Refusal, RefusalReason
from taskferry.transport.backoff import Backoff

from tests.unit.requester.fake_broker import FakeBroker, FakeBrokerThread
from tests.unit.requester.waiting import until

SECRET = "tfk_marked-and-never-shown"
UNKNOWN = Refusal(HTTPStatus.UNAUTHORIZED, "the token is unknown", RefusalReason.UNAUTHENTICATED)
NOT_HERE = Refusal(HTTPStatus.FORBIDDEN, "bob may not call anything", RefusalReason.FORBIDDEN)
TOO_OFTEN = Refusal(
    HTTPStatus.TOO_MANY_REQUESTS, "too many handshakes", RefusalReason.RATE_LIMITED, {"Retry-After": "7"}
)


class Tokens:
    """A function for `token` that returns t1, t2, ... and counts its calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"t{self.count}"


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals may follow each other at once."""
    monkeypatch.setattr(renewal, "RENEWAL_INTERVAL_S", 0.01)


async def test_a_text_is_shown_in_the_handshake(broker: FakeBroker) -> None:
    async with Requester(broker.url, token=SECRET) as requester:
        assert await requester.call("echo", 1) == 1
    assert broker.tokens == [SECRET]


async def test_without_a_token_nothing_is_shown(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKFERRY_TOKEN", raising=False)
    async with Requester(broker.url) as requester:
        await requester.connect()
    assert broker.tokens == [None]


async def test_the_environment_is_the_default_and_an_argument_comes_before_it(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKFERRY_TOKEN", "of-the-environment\n")
    for requester in (Requester(broker.url), Requester(broker.url, token="given")):
        async with requester:
            await requester.connect()
    assert broker.tokens == ["of-the-environment", "given"]


async def asynchronous() -> str:
    await asyncio.sleep(0)
    return "fresh"


@pytest.mark.parametrize("function", [lambda: "fresh", asynchronous, partial(asynchronous)])
async def test_a_function_may_be_plain_or_async(
    broker: FakeBroker, function: Callable[[], str | Awaitable[str]]
) -> None:
    async with Requester(broker.url, token=function) as requester:
        await requester.connect()
    assert broker.tokens == ["fresh"]


async def test_each_connection_takes_a_fresh_token(broker: FakeBroker) -> None:
    async with Requester(broker.url, token=Tokens()) as requester:
        await requester.connect()
        broker.drop_connections()
        await until(lambda: broker.connection_count == 2)
    assert broker.tokens == ["t1", "t2"]


@pytest.mark.parametrize(("refusal", "error"), [(UNKNOWN, Unauthenticated), (NOT_HERE, Forbidden)])
async def test_waiting_calls_fail_at_once_and_say_why(
    broker: FakeBroker, refusal: Refusal, error: type[Exception]
) -> None:
    broker.admit = lambda _: refusal
    async with Requester(broker.url, token=SECRET) as requester:
        calls = [requester.call("echo", timeout=60) for _ in range(3)]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
        assert {type(outcome) for outcome in outcomes} == {error}
        assert refusal.text in str(outcomes[0])
        assert broker.url in str(outcomes[0])
        assert getattr(outcomes[0], "delivery", None) == "not_delivered"
        later = await asyncio.wait_for(requester.request("echo", timeout=60), 10)
        assert later.code == error.code  # type: ignore[attr-defined]
        with pytest.raises(error):
            await requester.connect(timeout=60)
        assert requester.in_flight_count == 0


async def test_a_caller_that_only_repeats_does_not_keep_it_from_recovering(broker: FakeBroker) -> None:
    broker.admit = lambda token: None if len(broker.tokens) > 2 else UNKNOWN
    async with asyncio.timeout(10):
        async with Requester(broker.url, token=SECRET) as requester:
            while True:
                try:
                    assert await requester.call("echo", 1) == 1
                    break
                except Unauthenticated:
                    continue


async def test_a_rotation_recovers_without_a_restart(broker: FakeBroker) -> None:
    broker.admit = lambda token: None if token == "t3" else UNKNOWN
    async with Requester(broker.url, token=Tokens()) as requester:
        with pytest.raises(Unauthenticated):
            await requester.call("echo")
        await until(lambda: broker.connection_count)
        assert await requester.call("echo", 1) == 1


async def test_a_broker_that_wants_a_token_is_told_apart_from_one_that_is_not_there(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TASKFERRY_TOKEN", raising=False)
    broker.admit = lambda _: UNKNOWN
    async with Requester(broker.url) as requester:
        with pytest.raises(Unauthenticated, match=r"TASKFERRY_TOKEN.*--token-file"):
            await requester.call("echo")


async def test_a_broker_that_asks_for_patience_gets_it(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Noted(Backoff):
        def next_wait_s(self, *, is_refused: bool = False, retry_after_s: float = 0.0) -> float:
            waits.append(retry_after_s)
            return super().next_wait_s() if is_refused else 60.0

    monkeypatch.setattr(connection_module, "Backoff", Noted)
    broker.admit = lambda _: None if len(broker.tokens) > 2 else TOO_OFTEN
    async with Requester(broker.url, token=SECRET) as requester:
        with pytest.raises(RateLimited, match="too many handshakes") as caught:
            await requester.connect(retry=False)
        assert caught.value.retry_after_s == 7
        assert await requester.call("echo", 1, timeout=20) == 1  # waits, as the next attempt may succeed
    assert waits == [7, 7]


async def test_what_may_have_run_says_so_even_if_the_next_connection_is_refused(broker: FakeBroker) -> None:
    broker.admit = lambda _: UNKNOWN if len(broker.tokens) > 1 else None
    async with Requester(broker.url, token=Tokens()) as requester:
        call = asyncio.create_task(requester.call("never", idempotent=True))
        await until(lambda: broker.requests)
        broker.drop_connections()
        with pytest.raises(Unauthenticated) as caught:
            await call
        assert caught.value.delivery == "may_have_run"


async def test_a_refusal_is_logged_once(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    broker.admit = lambda _: UNKNOWN
    with caplog.at_level(logging.WARNING, "taskferry"):
        async with Requester(broker.url, token=SECRET):
            await until(lambda: len(broker.tokens) >= 3)
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot connect to {broker.url}: handshake refused: 401 the token is unknown; retrying"
    ]


async def test_what_a_broker_refuses_of_a_request_has_its_own_errors(requester: Requester) -> None:
    refused = {"code": "forbidden", "error": "alice may not call 'fail'", "delivery": "not_delivered"}
    with pytest.raises(Forbidden, match="alice may not call") as forbidden:
        await requester.call("fail", refused)
    assert not forbidden.value.retryable
    limited = {"code": "rate_limited", "error": "100 messages/s", "delivery": "not_delivered"}
    with pytest.raises(RateLimited) as rate_limited:
        await requester.call("fail", limited | {"retry_after": 1.5})
    assert (rate_limited.value.retry_after_s, rate_limited.value.retryable) == (1.5, True)


@pytest.mark.parametrize("code", [4401, 4403])
async def test_a_link_closed_for_its_login_is_reported_honestly_and_replaced(
    broker: FakeBroker, code: int
) -> None:
    async with Requester(broker.url, token=Tokens()) as requester:
        call = asyncio.create_task(requester.request("never"))
        await until(lambda: broker.requests)
        broker.sessions[0].link.close(code, "the token has run out")
        response = await call
        assert (response.code, response.delivery) == ("connection_lost", "may_have_run")
        assert f"{code} " in (response.error or "")
        assert "the token has run out" in (response.error or "")
        assert await requester.call("echo", 1) == 1
    assert broker.tokens == ["t1", "t2"]


async def test_a_login_is_renewed_in_place(broker: FakeBroker) -> None:
    async with Requester(broker.url, token=Tokens()) as requester:
        held = asyncio.create_task(requester.call("hold", 1))
        await until(lambda: broker.requests)
        broker.sessions[0].send(Expiring(30.0))
        await until(lambda: broker.tokens == ["t1", "t2"])
        broker.sessions[0].send(LoggedIn(True, identity="alice", expires_in=60.0))
        broker.release()
        assert await held == 1
    assert broker.connection_count == 1


async def test_a_fixed_token_is_not_sent_again(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    async with Requester(broker.url, token=SECRET) as requester:
        await requester.connect()
        broker.sessions[0].send(Expiring(30.0))
        await until(lambda: "--token-file" in caplog.text)
    assert broker.tokens == [SECRET]
    assert "runs out in 30 s" in caplog.text


@pytest.mark.usefixtures("fast")
async def test_a_renewal_that_is_refused_is_tried_again_with_another_token(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with Requester(broker.url, token=Tokens()) as requester:
        await requester.connect()
        session = broker.sessions[0]
        session.send(Expiring(30.0))
        await until(lambda: "t2" in broker.tokens)
        session.send(LoggedIn(False, code="unauthenticated", error="the issuer is unknown"))
        await until(lambda: "t3" in broker.tokens)
        session.send(LoggedIn(True))
        assert await requester.call("echo", 1) == 1
    assert f"cannot renew the login at {broker.url}: the issuer is unknown" in caplog.text


RUBBISH = [
    b'{"type":"auth"}',
    b'{"type":"auth","success":"yes"}',
    b'{"type":"auth","success":true,"error":7}',
    b'{"type":"auth","success":false}',
    b'{"type":"expiring"}',
    b'{"type":"expiring","expires_in":null}',
    b'{"type":"expiring","expires_in":-5}',
    b'{"type":"expiring","expires_in":1e308}',
    b'{"type":"expiring","expires_in":1e999}',
    b'{"type":"expiring","expires_in":NaN}',
]


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("payload", RUBBISH)
async def test_rubbish_about_the_login_harms_nothing(broker: FakeBroker, payload: bytes) -> None:
    async with Requester(broker.url, token=lambda: SECRET) as requester:
        await requester.connect()
        broker.sessions[0].link.send(payload)
        assert await requester.call("echo", 1) == 1


async def test_no_number_of_expiring_makes_it_fetch_tokens_without_end(broker: FakeBroker) -> None:
    tokens = Tokens()
    async with Requester(broker.url, token=tokens, encoding="msgpack") as requester:
        await requester.connect()
        for expires_in in (30.0, float("nan"), -1.0, float("inf"), 1e308) * 200:
            broker.sessions[0].send(Expiring(expires_in))
            broker.sessions[0].send(LoggedIn(True))
        assert await requester.call("echo", 1) == 1
        await until(lambda: tokens.count == 2)
        for _ in range(1000):
            broker.sessions[0].send(Expiring(30.0))
            broker.sessions[0].send(LoggedIn(True))
        assert await requester.call("echo", 1) == 1
    assert tokens.count == 2


WRONG: dict[str, Callable[[], object]] = {
    "is a NoneType, not a text": lambda: None,
    "is a bytes, not a text": lambda: b"tfk_x",
    "is empty": lambda: "",
    "starts or ends with white space: strip it": lambda: f"{SECRET}\n",
    "has 8001 characters, at most 8000 are allowed": lambda: "x" * 8001,
    "has other characters than letters": lambda: f"{SECRET}é",
    "has other characters than letters, digits and - . _": lambda: f"{SECRET}\r\nX-Injected: yes",
    "raised ZeroDivisionError at ": lambda: 1 / 0,
}


@pytest.mark.parametrize("reason", WRONG)
async def test_what_a_function_returns_is_checked_reported_and_tried_again(
    broker: FakeBroker, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Callable[[], object]] = [WRONG[reason], lambda: "fresh"]

    def function() -> str:
        return (outcomes.pop(0) if len(outcomes) > 1 else outcomes[0])()  # type: ignore[return-value]

    async with Requester(broker.url, token=function) as requester:
        with pytest.raises(CannotConnect) as caught:
            await requester.connect(retry=False)
        assert reason in str(caught.value)
        assert await requester.call("echo", 1) == 1  # a later attempt
    assert reason in caplog.text
    assert SECRET not in caplog.text + str(caught.value)
    assert broker.tokens == ["fresh"]


async def test_the_longest_token_is_accepted(broker: FakeBroker) -> None:
    async with Requester(broker.url, token="x" * 8000) as requester:
        await requester.connect()
    assert broker.tokens == ["x" * 8000]


async def test_a_function_that_hangs_is_bounded_and_not_started_twice(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "FETCH_S_MAX", 0.05)
    goes_on = threading.Event()
    calls: list[float] = []

    def hanging() -> str:
        calls.append(time.monotonic())
        goes_on.wait(20)
        return "fresh"

    async with Requester(broker.url, token=hanging) as requester:
        with pytest.raises(
            CannotConnect, match=r"no token: the function for the token did not return within 0\.05 s"
        ):
            await requester.connect(retry=False)
        with pytest.raises(CannotConnect, match="has still not returned"):
            await requester.connect(retry=False)
        assert len(calls) == 1
        goes_on.set()
        assert await requester.call("echo", 1) == 1
    assert len(calls) == 2


async def test_an_async_function_that_hangs_is_cancelled(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "FETCH_S_MAX", 0.05)
    ended: list[str] = []

    async def hanging() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")
        return ""

    async with Requester(broker.url, token=hanging) as requester:
        with pytest.raises(CannotConnect, match="did not return within"):
            await requester.connect(retry=False)
        await until(lambda: ended)


async def test_a_function_that_calls_its_own_requester_ends(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "FETCH_S_MAX", 0.05)

    async def circular() -> str:
        return str(await requester.call("echo", "x", timeout=30))

    requester = Requester(broker.url, token=circular)
    async with requester:
        with pytest.raises(CannotConnect, match="did not return within"):
            await requester.connect(retry=False)


async def test_closing_does_not_wait_for_the_function(broker: FakeBroker) -> None:
    started = asyncio.Event()

    async def hanging() -> str:
        started.set()
        await asyncio.sleep(60)
        return ""

    async with Requester(broker.url, token=hanging):
        await started.wait()
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 5


def test_a_blocking_requester_logs_in_too() -> None:
    with FakeBrokerThread() as broker, BlockingRequester(broker.url, token=Tokens()) as requester:
        assert requester.call("echo", 1) == 1
        broker.drop_connections()
        assert requester.call("echo", 1, idempotent=True) == 1
        assert broker.broker.tokens == ["t1", "t2"]


def test_a_blocking_requester_whose_function_calls_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FETCH_S_MAX", 0.05)
    with FakeBrokerThread() as broker:
        made: queue.Queue[BlockingRequester] = queue.Queue()
        requester = BlockingRequester(
            broker.url, token=lambda: str(made.get(timeout=5).call("echo", "x", timeout=0.3))
        )
        made.put(requester)
        with requester, pytest.raises(CannotConnect, match="function for the token"):
            requester.connect(retry=False)


def test_a_blocking_requester_is_refused_at_once() -> None:
    with FakeBrokerThread() as broker:
        broker.broker.admit = lambda _: UNKNOWN
        with BlockingRequester(broker.url, token=SECRET) as requester:
            with pytest.raises(Unauthenticated, match="the token is unknown"):
                requester.call("echo", timeout=60)
            with pytest.raises(Unauthenticated):
                requester.connect(timeout=60)


@pytest.mark.parametrize("kind", [Requester, BlockingRequester])
def test_a_text_that_is_no_token_is_refused_without_showing_it(
    kind: type[Requester | BlockingRequester],
) -> None:
    with pytest.raises(ValueError, match="token: the token starts or ends with white space") as caught:
        kind("ws://localhost", token=f"{SECRET}\n")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = shown.partition("client.py")[2] + shown.partition("blocking.py")[2]
    assert ours
    assert SECRET not in ours


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="wss://HOST:PORT; ws:// is not encrypted"):
        Requester("ws://localhost", tls=ssl.create_default_context())
    with pytest.raises(ValueError, match="only one of the two can be sent"):
        Requester("ws://ann:pw@localhost", token=SECRET)


async def test_nothing_shows_the_token(broker: FakeBroker) -> None:
    broker.admit = lambda token: Refusal(
        HTTPStatus.FORBIDDEN, f"not for {token} \x1b[2J", RefusalReason.FORBIDDEN
    )
    requester = Requester(broker.url, token=SECRET)
    assert SECRET not in repr(requester) + repr(vars(requester)) + str(requester._arguments)
    with pytest.raises(TypeError, match="a token is not pickled"):
        pickle.dumps(requester)
    async with requester:
        with pytest.raises(Forbidden, match=r"not for \.\.\. \\x1b\[2J") as caught:
            await requester.call("echo")
        assert SECRET not in "".join(map(repr, asyncio.all_tasks()))
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert SECRET not in "".join(shown.format())


async def test_a_lost_connection_is_still_that(requester: Requester) -> None:
    with pytest.raises(ConnectionLost):
        await requester.call("hang_up")
