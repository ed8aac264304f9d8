"""A link that breaks: what fails, what is sent again, what waits, and that the client always comes back."""

import asyncio
import logging
import time
from functools import partial
from pathlib import Path
from ssl import SSLError
from typing import NoReturn

import pytest
from taskferry.credentials.source import TokenSource
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.messages import Request
from taskferry.requester import (
    BrokerStopped,
    CannotConnect,
    ConnectionLost,
    Overloaded,
    Requester,
    ShuttingDown,
)
from taskferry.requester import connection as connection_module
from taskferry.requester.connection import Connection
from taskferry.requester.exchange import Exchange
from taskferry.requester.wire import OutgoingRequest
from taskferry.transport.backoff import BACKOFF_FIRST_S
from taskferry.transport.connect import connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.settings import LinkSettings

from tests.unit.requester.fake_broker import FakeBroker
from tests.unit.requester.silent_peer import silent_peer
from tests.unit.requester.waiting import until

LATE_S_MAX = 1.0
"""By how much a busy machine may be late."""


async def test_a_request_in_flight_fails_at_once_and_says_that_it_may_have_run(
    requester: Requester, broker: FakeBroker
) -> None:
    started_s = time.monotonic()
    with pytest.raises(
        ConnectionLost, match=f"the command may have run.*{broker.url}: connection lost"
    ) as caught:
        await requester.call("hang_up", timeout=60)
    assert time.monotonic() - started_s < 5
    assert not caught.value.retryable
    assert caught.value.delivery == "may_have_run"


async def test_a_closing_broker_gives_its_reason(requester: Requester) -> None:
    with pytest.raises(ConnectionLost, match=r"closed by peer: 1012.*restart"):
        await requester.call("say_goodbye")


async def test_every_request_in_flight_fails_and_none_is_left(
    requester: Requester, broker: FakeBroker
) -> None:
    calls = [asyncio.create_task(requester.request("never")) for _ in range(100)]
    await until(lambda: len(broker.requests) == 100)
    broker.sessions[0].link.abort("fake broker crashed")
    responses = await asyncio.gather(*calls)
    assert {response.code for response in responses} == {"connection_lost"}


async def test_the_client_reconnects_after_a_restart_on_the_same_port(
    requester: Requester, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.stop()
    call = asyncio.create_task(requester.call("echo", "again"))
    with caplog.at_level(logging.WARNING, "taskferry"):
        await until(lambda: "lost the connection" in caplog.text)
        await broker.start()
        assert await call == "again"
        await until(lambda: f"connected to {broker.url} again" in caplog.text)
    assert broker.connection_count == 2


async def test_an_idempotent_request_is_sent_again_with_what_is_left_of_its_time(
    requester: Requester, broker: FakeBroker
) -> None:
    call = asyncio.create_task(
        requester.call(
            "hold", {"big": 2**70, "float": 1.10}, timeout=20, idempotent=True, priority=3, trace="t"
        )
    )
    await until(lambda: broker.requests)
    broker.sessions[0].link.abort("fake broker crashed")
    await until(lambda: len(broker.requests) == 2)
    broker.release()
    assert await call == {"big": 2**70, "float": 1.1}
    first, second = broker.requests
    assert first.timeout == 20
    assert second.timeout is not None
    assert 15 < second.timeout < 20
    assert _but_for_timeout(first) == _but_for_timeout(second)


async def test_an_idempotent_request_that_finds_no_broker_in_time_may_have_run(
    requester: Requester, broker: FakeBroker
) -> None:
    call = asyncio.create_task(requester.call("never", timeout=0.3, idempotent=True))
    await until(lambda: broker.requests)
    await broker.stop()
    with pytest.raises(ConnectionLost, match="the command may have run") as caught:
        await call
    assert caught.value.delivery == "may_have_run"


@pytest.mark.parametrize("wants_response", [True, False])
async def test_what_was_sent_twice_may_have_run_whatever_the_second_broker_says(
    requester: Requester, broker: FakeBroker, wants_response: bool
) -> None:
    refusal = (
        '{"request_id":"ID","success":false,"error":"full","code":"overloaded","delivery":"not_delivered"}'
    )
    send = requester.request if wants_response else requester.call
    first_session = broker.sessions[0]
    first_session.messages_received = broker.requests.extend  # type: ignore[method-assign,assignment]  # hears, and does not answer
    call = asyncio.create_task(send("verbatim", refusal, idempotent=True))
    await until(lambda: broker.requests)
    first_session.link.abort("fake broker crashed")
    if wants_response:
        outcome = await call
    else:
        with pytest.raises(Overloaded) as caught:
            await call
        outcome = caught.value
        assert not outcome.retryable
    assert outcome.delivery == "may_have_run"
    assert len(broker.requests) == 2


SHUTTING_DOWN = '{"request_id":"ID","success":false,"error":"Broker is shutting down","code":"shutting_down"}'
STOPPED = '{"request_id":"ID","success":false,"error":"Broker stopped","code":"broker_stopped"}'


async def _answered_by_the_next_broker(
    requester: Requester, broker: FakeBroker, refusal: str, *, idempotent: bool = False
) -> object:
    """The result of a call that a broker answers with `refusal` before it goes, and the next one with its data."""
    call = asyncio.create_task(requester.call("verbatim", refusal, timeout=20, idempotent=idempotent))
    await until(lambda: broker.requests)
    assert await requester.call("echo", "answered meanwhile") == "answered meanwhile"
    assert not call.done()
    leaving = broker.sessions[0]
    broker.verbatim = '{"request_id":"ID","success":true,"data":"by the next broker"}'
    leaving.link.abort("fake broker stopped")
    result = await call
    first, *_, last = broker.requests
    assert first.request_id == last.request_id
    return result


async def test_what_a_leaving_broker_does_not_take_goes_to_the_next_one(
    requester: Requester, broker: FakeBroker
) -> None:
    result = await _answered_by_the_next_broker(requester, broker, SHUTTING_DOWN)
    assert result == "by the next broker"


async def test_an_idempotent_request_that_a_broker_could_not_wait_for_goes_to_the_next_one(
    requester: Requester, broker: FakeBroker
) -> None:
    result = await _answered_by_the_next_broker(requester, broker, STOPPED, idempotent=True)
    assert result == "by the next broker"


async def test_one_that_may_not_run_twice_ends_with_the_broker(requester: Requester) -> None:
    with pytest.raises(BrokerStopped):
        await requester.call("verbatim", STOPPED)


async def test_what_a_leaving_broker_did_not_take_ends_at_its_deadline(
    requester: Requester, broker: FakeBroker
) -> None:
    with pytest.raises(ShuttingDown, match="and no other came in time") as caught:
        await requester.call("verbatim", SHUTTING_DOWN, timeout=0.3)
    assert caught.value.delivery == "not_delivered"
    with pytest.raises(ConnectionLost, match="the command may have run"):
        await requester.call("verbatim", STOPPED, timeout=0.3, idempotent=True)
    exchange = requester._exchange
    assert exchange is not None
    assert exchange.in_flight_count == exchange._requests.size_bytes == 0


async def test_a_request_that_was_never_written_is_sent_again_silently(
    requester: Requester, broker: FakeBroker
) -> None:
    exchange = requester._exchange
    assert exchange is not None
    assert exchange.link is not None
    exchange.link.abort("lost, before this turn of the loop has written anything")
    assert await requester.call("echo", 1) == 1
    assert broker.commands == ["echo"]
    assert broker.connection_count == 2


async def test_a_call_waits_for_a_broker_that_is_not_there_yet(broker: FakeBroker) -> None:
    await broker.stop()
    async with Requester(broker.url) as requester:
        call = asyncio.create_task(requester.call("echo", "at last"))
        await until(lambda: requester.in_flight_count == 1)
        await broker.start()
        assert await call == "at last"


async def test_without_a_broker_a_call_ends_at_its_deadline_and_nothing_was_sent(broker: FakeBroker) -> None:
    await broker.stop()
    async with Requester(broker.url) as requester:
        started_s = time.monotonic()
        with pytest.raises(CannotConnect, match=f"{broker.url} in time: connection refused") as caught:
            await requester.call("echo", timeout=0.2)
        assert 0.19 < time.monotonic() - started_s < 5
        assert caught.value.retryable


async def test_connect_waits_for_a_broker(broker: FakeBroker) -> None:
    await broker.stop()
    async with Requester(broker.url) as requester:
        connecting = asyncio.create_task(requester.connect())
        await asyncio.sleep(0)
        await broker.start()
        await connecting
        await requester.connect()  # there is a link: no wait


async def test_connect_gives_up_after_its_timeout(broker: FakeBroker) -> None:
    await broker.stop()
    async with Requester(broker.url) as requester:
        with pytest.raises(CannotConnect, match=f"{broker.url}: connection refused"):
            await requester.connect(timeout=0.1)


async def test_connect_without_retry_gives_up_after_one_attempt(broker: FakeBroker) -> None:
    await broker.stop()
    started_s = time.monotonic()
    async with Requester(broker.url) as requester:
        with pytest.raises(CannotConnect, match="connection refused"):
            await requester.connect(timeout=60, retry=False)
    assert time.monotonic() - started_s < 5


async def test_a_broker_that_hangs_up_on_everybody_is_not_stormed(broker: FakeBroker) -> None:
    async with Requester(broker.url) as requester:
        give_up_at_s = time.monotonic() + 0.5
        while time.monotonic() < give_up_at_s:
            for session in broker.sessions:
                session.link.abort("go away")
            await asyncio.sleep(0.002)
        assert broker.connection_count < 50
        assert await requester.call("echo", 1) == 1


async def test_a_link_that_lasted_resets_the_backoff(
    requester: Requester, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BACKOFF_MAX_S", 0.01)  # so long it must have lasted
    started_s = time.monotonic()
    for number in range(6):
        await requester.call("echo", number)
        await asyncio.sleep(0.015)
        dropped = tuple(broker.sessions)
        broker.drop_connections()
        await until(partial(set(dropped).isdisjoint, broker.sessions))  # the next may be there already
    await requester.call("echo")
    assert time.monotonic() - started_s < 6 * BACKOFF_FIRST_S + LATE_S_MAX


async def test_cancelling_without_a_link_makes_room_too(broker: FakeBroker) -> None:
    await broker.stop()
    async with Requester(broker.url, in_flight_count_max=1) as requester:
        first = asyncio.create_task(requester.call("never"))
        second = asyncio.create_task(requester.call("echo", 2))
        await until(lambda: requester.in_flight_count == 2)
        first.cancel()
        await broker.start()
        assert await second == 2
        assert (broker.commands, broker.cancelled) == (["echo"], [])


async def test_a_link_that_opens_too_late_is_not_used_for_what_is_overdue(broker: FakeBroker) -> None:
    exchange = Exchange(broker.url, Encoding.JSON, 10)
    group = LinkGroup()
    link = await connect(broker.url, exchange, group, LinkSettings(), Encoding.JSON)
    exchange.link = None  # as it was a moment ago
    future = asyncio.get_running_loop().create_future()
    exchange.begin(OutgoingRequest(None, "echo", timeout=0.01), future, wants_response=False)
    time.sleep(0.02)  # a loop so busy that the deadline passes and the link opens in the same turn
    exchange.link_opened(link)
    with pytest.raises(CannotConnect):
        await future
    exchange.close()
    await exchange.link_gone.wait()
    group.close()
    assert broker.requests == []


async def test_a_broker_that_froze_is_found_by_its_silence() -> None:
    settings = LinkSettings(heartbeat_interval_s=0.2, silence_s_max=0.5)
    async with silent_peer() as url:
        exchange = Exchange(url, Encoding.JSON, 10)
        connection = Connection(exchange, settings, TokenSource(), None)
        await connection.wait(5, retry=True)
        future = asyncio.get_running_loop().create_future()
        exchange.begin(OutgoingRequest(None, "echo", timeout=60.0), future, wants_response=False)
        with pytest.raises(ConnectionLost, match=r"silent for 0\.5 s"):
            await future
        await connection.close()


async def test_closing_while_connecting_ends_at_once() -> None:
    async with silent_peer(accepts=False) as url:
        requester = Requester(url)
        call = asyncio.create_task(requester.request("echo"))
        await asyncio.sleep(0.02)
        started_s = time.monotonic()
        await requester.close()
        assert time.monotonic() - started_s < 1
        response = await call
        assert response.code == "cancelled"
        assert response.error == "Request cancelled: the requester was closed; it was not sent"


def _but_for_timeout(request: Request) -> tuple[object, ...]:
    return (
        request.request_id,
        request.command,
        bytes(request.data),  # type: ignore[arg-type]
        request.idempotent,
        request.priority,
        request.trace,
        request.target,
        request.hedge,
    )


@pytest.mark.parametrize(
    "error", [LookupError("odd"), RuntimeError("can't start new thread"), SSLError("odd")]
)
async def test_an_error_of_any_kind_while_connecting_is_reported_and_tried_again(
    error: Exception, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> NoReturn:
        raise error

    async with Requester(broker.url) as requester:
        with monkeypatch.context() as trouble:
            trouble.setattr(connection_module, "connect", fail)
            with pytest.raises(CannotConnect, match=str(error)):
                await requester.connect(retry=False)
        assert f"{type(error).__name__}: {error}; retrying" in caplog.text
        assert await requester.call("echo", {"x": 1}) == {"x": 1}


async def test_a_file_that_tls_cannot_write_to_is_reported_by_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "nowhere" / "keys"))
    async with Requester("wss://127.0.0.1:1") as requester:
        with pytest.raises(CannotConnect, match="TLS cannot be set up: SSLKEYLOGFILE"):
            await requester.call("echo", timeout=0.05)


async def test_without_the_task_that_keeps_the_link_no_call_waits_for_one(broker: FakeBroker) -> None:
    async with Requester(broker.url) as requester:
        await requester.connect()
        for task in asyncio.all_tasks():
            if task.get_name().startswith("taskferry link"):
                task.cancel()
        assert await requester.call("echo", {"x": 1}) == {"x": 1}, "the link is still there"
        await broker.stop()
        with pytest.raises((CannotConnect, ConnectionLost)):
            await requester.call("echo", timeout=3600)
        for attempt in (requester.call("echo", timeout=3600), requester.connect(timeout=3600)):
            with pytest.raises(CannotConnect, match="was cancelled; make a new requester"):
                await attempt
