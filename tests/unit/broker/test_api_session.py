"""A connection of the API port over a real link: what it is answered, how it ends, and what it may use up."""

import dataclasses
import datetime
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from taskferry.broker.broker import API_SIZE_BYTES_MAX, Broker
from taskferry.broker.entrant import FAILED_RENEWALS_COUNT_MAX
from taskferry.broker.identity.policy import OPEN, Policy
from taskferry.broker.settings import BrokerSettings
from taskferry.broker.topics import hub
from taskferry.credentials.token import Token
from taskferry.protocol.api_messages import TYPE_SHOWN_LENGTH_MAX
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import EXPIRY_NOTICE_S, FAULTS_COUNT_MAX
from taskferry.transport.connect import connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.settings import LinkSettings

from tests.unit.broker.access_files import expiring, policy, token_of
from tests.unit.broker.shell import Peer
from tests.unit.transport.ends import Recorder
from tests.unit.transport.waiting import until

SETTINGS = BrokerSettings(worker_port=0, requester_port=0, api_port=0, journal="none", api_messages_per_s=0)


class Rig:
    """A broker in this event loop, and pages that connect to it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.group = LinkGroup()

    async def page(self, query: str = "", identity: str | None = None) -> Peer:
        recorder = Recorder()
        url = f"ws://127.0.0.1:{self.broker.api_port}/ws{query}"
        token = None if identity is None else Token(token_of(identity))
        link = await connect(url, recorder, self.group, LinkSettings(), Encoding.JSON, token=token)
        return Peer(recorder, link)


@asynccontextmanager
async def rig(access: Policy = OPEN, **settings: Any) -> AsyncIterator[Rig]:
    broker = Broker(dataclasses.replace(SETTINGS, **settings), access)
    await broker.start()
    made = Rig(broker)
    try:
        yield made
    finally:
        await broker.stop(0)
        await until(lambda: not made.group.links)
        made.group.close()


async def code_of(peer: Peer, message: object) -> str:
    peer.send(message)
    code: str = (await peer.receive())["error"]["code"]
    return code


async def test_an_unknown_type_is_repeated_up_to_a_length() -> None:
    async with rig() as here:
        peer = await here.page()
        peer.send({"type": "x" * (TYPE_SHOWN_LENGTH_MAX + 1), "id": "i" * 129})
        error = await peer.receive()
        assert error["id"] is None
        assert error["error"]["details"] == {"type": "x" * TYPE_SHOWN_LENGTH_MAX}
        assert await code_of(peer, {"type": 7}) == "bad_request"
        assert await code_of(peer, [1]) == "bad_request"
        device = {f"{number}": "x" * 256 for number in range(8)}
        peer.send({"type": "hello", "device": device, "request_id": "h"})
        error = await peer.receive()
        assert (error["id"], error["error"]["code"]) == ("h", "bad_request")
        assert error["error"]["message"] == "device: 2056 characters, at most 2048 (DEVICE_LENGTH_MAX)"


async def test_messages_that_do_not_decode_close_it_in_the_end_and_good_ones_do_not() -> None:
    async with rig() as here:
        peer = await here.page()
        for _ in range(FAULTS_COUNT_MAX - 1):
            peer.send({"type": "dance"})
        peer.send({"type": "ping"})
        await until(lambda: len(peer.recorder.messages) == FAULTS_COUNT_MAX)
        assert not peer.link.closed
        for _ in range(FAULTS_COUNT_MAX + 10):
            peer.send({"type": "dance"})
        assert (await peer.closed()).startswith("closed by peer: 1008")
        assert len(peer.recorder.messages) == 2 * FAULTS_COUNT_MAX, "what follows is ignored"


async def test_a_message_is_at_most_as_large_as_an_event_and_its_envelope() -> None:
    async with rig() as here:
        peer = await here.page()
        start = '{"type":"ping","x":"'
        peer.link.send(f'{start}{"x" * (API_SIZE_BYTES_MAX - len(start) - 2)}"}}'.encode())
        assert (await peer.receive())["type"] == "pong"
        peer.link.send(b" " * (API_SIZE_BYTES_MAX + 1))
        assert (await peer.closed()).startswith("closed by peer: 1009")


async def test_the_pace_is_that_of_one_connection_and_changes_with_a_reload() -> None:
    async with rig(api_messages_per_s=2) as here:
        peer, other = await here.page(), await here.page()
        for _ in range(2):
            peer.send({"type": "ping"})
            assert (await peer.receive())["type"] == "pong"
        peer.send({"type": "ping", "id": "p3"})
        error = await peer.receive()
        assert (error["id"], error["error"]["code"]) == ("p3", "rate_limited")
        assert error["error"]["message"] == "over 2 messages a second on this connection (api_messages_per_s)"
        assert 0 < error["error"]["details"]["retry_after"] <= 0.5
        other.send({"type": "ping"})
        assert (await other.receive())["type"] == "pong"
        here.broker.reconfigure(dataclasses.replace(here.broker.settings, api_messages_per_s=0))
        for _ in range(10):
            peer.send({"type": "ping"})
            assert (await peer.receive())["type"] == "pong"


async def test_an_account_has_its_own_rate_over_all_connections() -> None:
    async with rig(account_messages_per_s=1) as here:
        peer = await here.page()
        answers = []
        for number in range(30):
            peer.send({"type": "ping", "id": str(number)})
            answers.append(await peer.receive())
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert refused
        assert refused[-1]["error"]["code"] == "rate_limited"
        assert "(account_messages_per_s)" in refused[-1]["error"]["message"]
        assert refused[-1]["id"] == "29"


async def test_a_login_that_runs_out_is_announced_and_can_be_renewed() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=EXPIRY_NOTICE_S / 2)
    access = policy(viewer=f'watch = ["*"]\n{expiring("viewer", soon.isoformat())}')
    async with rig(access) as here:
        peer = await here.page(identity="viewer")
        notice = await peer.receive()
        assert (notice["type"], 0 < notice["expires_in"] <= EXPIRY_NOTICE_S) == ("expiring", True)
        for _ in range(FAILED_RENEWALS_COUNT_MAX):
            peer.send({"type": "auth", "token": token_of("mallory")})
        assert (await peer.closed()).startswith("closed by peer: 4401")
        assert len(peer.recorder.messages) == 1 + FAILED_RENEWALS_COUNT_MAX


async def test_topics_of_the_url_are_subscribed_and_left_with_the_connection() -> None:
    async with rig() as here:
        peer = await here.page("?client_id=desk&topics=a,b:*")
        subscribed = await peer.receive()
        assert (subscribed["type"], subscribed["id"]) == ("subscribed", None)
        assert subscribed["data"]["topics"] == ["a", "b:*"]
        (entrant,) = here.broker.entrance.connections
        assert (entrant.client_id, entrant.port) == ("desk", "api")
        hub = here.broker.topics.hub
        assert len(hub.subscribers) == 1
        peer.link.abort("gone")
        await until(lambda: not hub.subscribers)


async def test_a_page_that_takes_nothing_is_closed_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub, "STALLED_S_MAX", 0.3)
    async with rig(event_batch_s=0.0) as here:
        slow, fast = await here.page("?topics=big"), await here.page("?topics=big")
        for peer in (slow, fast):
            assert (await peer.receive())["type"] == "subscribed"
        slow.link._transport.pause_reading()
        writer = await here.page()
        ends_at = time.monotonic() + 30
        while len(here.broker.topics.hub.subscribers) == 2:
            assert time.monotonic() < ends_at
            writer.send({"type": "publish", "data": {"topic": "big", "data": "x" * 60_000}})
            assert (await writer.receive())["type"] == "published"
            assert (await fast.receive())["type"] == "event"
        await until(lambda: "api port: " in caplog.text)
        assert "slow reader: subscriber took nothing" in caplog.text
        slow.link._transport.resume_reading()
        await slow.closed()
        writer.send({"type": "publish", "data": {"topic": "big", "data": 1}})
        assert (await fast.receive())["data"] == 1


async def test_what_arrives_after_a_kick_is_ignored() -> None:
    async with rig() as here:
        peer = await here.page()
        (entrant,) = here.broker.entrance.connections
        assert here.broker.operations.kick(entrant.connection_id)
        entrant.session.login_ended(4401, "again")
        peer.send({"type": "ping"})
        session: Any = entrant.session
        session.wrong_kind_received()
        assert await peer.closed() == "closed by peer: 4410 kicked by an operator"
        assert peer.recorder.messages == []
