"""Connections have ids, say who they are, are listed in pages, and can be closed by an operator."""

import logging
import time
from typing import Any

import pytest
from taskferry.broker.connection_reading import ConnectionRow, Wanted
from taskferry.broker.entrant import Entrant
from taskferry.broker.events import ConnectionKicked
from taskferry.broker.operations import Operations
from taskferry.broker.page import Page
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import DEVICE_FACT_LENGTH_MAX, DEVICE_FACTS_COUNT_MAX, DEVICE_LENGTH_MAX

from tests.unit.broker.access_files import policy
from tests.unit.broker.shell import Peer, Shell, open_shell
from tests.unit.transport.waiting import until

ACCESS = policy(alice='call = ["*"]', crew='serve = ["work"]')
PHONE = {"host": "phone-7", "system": "Android"}


async def rows(shell: Shell, page: Page = Page(), **wanted: str) -> list[ConnectionRow]:  # noqa: B008  immutable
    return (await shell.read_model.connections.page(page, Wanted(**wanted))).connections


async def greet(requester: Peer, **fields: Any) -> Any:
    requester.send({"type": "hello", "request_id": "h", **fields})
    return await requester.receive()


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_connection_is_listed_with_what_it_has_said(encoding: Encoding) -> None:
    async with open_shell(ACCESS) as shell:
        await shell.worker(encoding, "crew", name="w1", device={"host": "node-1"})
        requester = await shell.requester(encoding, "alice")
        worker_row, row = await rows(shell)
        assert (worker_row.port, worker_row.identity, worker_row.worker_id) == ("worker", "crew", "w1")
        assert (worker_row.device, worker_row.received_count, worker_row.sent_count) == (
            {"host": "node-1"},
            1,
            1,
        )
        assert (row.port, row.identity, row.worker_id) == ("requester", "alice", None)
        assert (row.client_id, row.device, row.received_count, row.sent_count) == (None, {}, 0, 0)
        assert await greet(requester, device=PHONE) == {
            "type": "hello",
            "request_id": "h",
            "client_id": None,
            "waiting": 0,
            "dropped": 0,
        }
        _, row = await rows(shell)
        assert (row.client_id, row.device, row.received_count, row.sent_count) == (None, PHONE, 1, 1)
        assert (row.encoding, row.address) == (encoding.value, "127.0.0.1")
        assert row.peer.startswith("127.0.0.1:")
        assert 0.0 <= row.heard_s <= row.connected_s + 0.001 < 10.0
        requester.link.close()
        await until(lambda: not shell.requesters.sessions)
        assert [row.worker_id for row in await rows(shell)] == ["w1"]


async def test_a_name_holds_without_an_inbox_and_until_the_next_one() -> None:
    async with open_shell() as shell:
        requester = await shell.requester()
        assert (await greet(requester, client_id="billing-1"))["code"] == "jobs_off"
        (row,) = await rows(shell)
        assert (row.client_id, row.device) == ("billing-1", {})
        assert (await greet(requester, device=PHONE))["client_id"] == "billing-1"
        (row,) = await rows(shell)
        assert (row.client_id, row.device) == ("billing-1", PHONE)
        await greet(requester, client_id="billing-2")
        (row,) = await rows(shell)
        assert (row.client_id, row.device) == ("billing-2", {})


@pytest.mark.parametrize("encoding", Encoding)
async def test_facts_at_their_bounds_are_taken_and_beyond_them_nothing_is(encoding: Encoding) -> None:
    async with open_shell() as shell:
        requester = await shell.requester(encoding)
        longest = {"x" * DEVICE_FACT_LENGTH_MAX: "ü" * DEVICE_FACT_LENGTH_MAX}
        assert (await greet(requester, device=longest))["type"] == "hello"
        most = {f"{number:02}": "ü" * (DEVICE_LENGTH_MAX // 16 - 2) for number in range(16)}
        assert len(most) == DEVICE_FACTS_COUNT_MAX
        assert (await greet(requester, device=most))["type"] == "hello"
        too_long = {**most, "00": most["00"] + "x"}
        for more in (too_long, {**most, "one": "more"}, {"x" * 257: ""}, {"x": "x" * 257}, {"cores": 8}):
            answer = await greet(requester, device=more)
            assert (answer["code"], answer["error"].partition(":")[0][:6]) == ("bad_request", "device")
        (row,) = await rows(shell)
        assert row.device == most


async def test_a_worker_that_says_too_much_of_itself_may_say_less() -> None:
    async with open_shell() as shell:
        peer = await shell.worker_connection()
        facts = {f"{number}": "x" * DEVICE_FACT_LENGTH_MAX for number in range(8)}
        peer.send({"type": "connect", "data": {"commands": ["work"], "device": facts}})
        error = (await peer.receive())["data"]
        text = "data.device: 2056 characters, at most 2048 (DEVICE_LENGTH_MAX)"
        assert (error["code"], error["error"]) == ("bad_message", text)
        del facts["0"]
        peer.send({"type": "connect", "data": {"commands": ["work"], "device": facts}})
        assert (await peer.receive())["type"] == "connect"
        assert (await rows(shell))[0].device == facts


async def test_lists_come_in_pages_and_one_client_can_be_asked_for() -> None:
    async with open_shell(policy(alice='call = ["*"]', bob='call = ["*"]', crew='serve = ["*"]')) as shell:
        for identity, client_id in (("alice", "a"), ("bob", "a"), ("alice", "b"), ("alice", "a")):
            await greet(await shell.requester(identity=identity), client_id=client_id)
        await shell.worker(identity="crew", name="w1")
        every = [row.connection_id for row in await rows(shell)]
        assert len(set(every)) == 5
        first = await shell.read_model.connections.page(Page("", 2), Wanted())
        assert [row.connection_id for row in first.connections] == every[:2]
        assert (first.connections_count, first.next) == (5, every[1])
        last = await shell.read_model.connections.page(Page(every[1], 3), Wanted())
        assert ([row.connection_id for row in last.connections], last.next) == (every[2:], None)
        assert [row.connection_id for row in await rows(shell, client_id="a")] == [
            every[n] for n in (0, 1, 3)
        ]
        assert [row.connection_id for row in await rows(shell, client_id="a", identity="alice")] == [
            every[n] for n in (0, 3)
        ]
        assert [row.worker_id for row in await rows(shell, port="worker")] == ["w1"]
        some = await shell.read_model.connections.page(Page("", 1), Wanted(client_id="a"))
        assert ([row.connection_id for row in some.connections], some.next) == (every[:1], every[0])
        for strange in (
            "",
            "x",
            "-1",
            "other-3",
            "é-²",
            f"{every[0]}-",
            f"{every[0].partition('-')[0]}-{'9' * 30}",
        ):
            assert [row.connection_id for row in await rows(shell, Page(strange))] == every
        assert await rows(shell, Page(every[-1])) == []


async def test_a_kicked_requester_is_told_why_and_its_requests_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "taskferry.broker")
    async with open_shell(ACCESS) as shell:
        worker, requester = await shell.worker(identity="crew"), await shell.requester(identity="alice")
        requester.send({"request_id": "r1", "command": "work"})
        msg_id = (await worker.receive())["msg_id"]
        (row,) = await rows(shell, port="requester")
        operations = Operations(shell.core, shell.entrance)
        assert operations.kick(row.connection_id, "maintenance")
        assert shell.core.counts.in_flight_count == 0
        assert not operations.kick(row.connection_id), "it is being closed already"
        cancel = await worker.receive()
        assert (cancel["msg_id"], cancel["data"]["reason"]) == (msg_id, "requester_gone")
        reason = "kicked by an operator: maintenance"
        assert await requester.closed() == f"closed by peer: 4410 {reason}"
        await until(lambda: not shell.requesters.sessions)
        assert not operations.kick(row.connection_id)
        assert shell.read_model.access.kicked == {"worker": 0, "requester": 1}
        (event,) = (record.msg for record in caplog.records)
        assert event == ConnectionKicked("requester", row.connection_id, "alice", row.peer, reason)
        again = await shell.requester(identity="alice")
        assert (await greet(again))["type"] == "hello"


async def test_what_a_kicked_worker_had_is_lost_and_it_may_come_back() -> None:
    async with open_shell() as shell:
        worker = await shell.worker(name="w1", instance="i")
        requester = await shell.requester()
        requester.send({"request_id": "r1", "command": "work"})
        await worker.receive()
        (row,) = await rows(shell, port="worker")
        assert Operations(shell.core, shell.entrance).kick(row.connection_id)
        assert await worker.closed() == "closed by peer: 4410 kicked by an operator"
        response = await requester.receive()
        assert (response["code"], response["processed_by"]) == ("worker_lost", "w1")
        await shell.worker(name="w1", instance="i")
        assert shell.read_model.access.kicked == {"worker": 1, "requester": 0}


async def test_a_kick_ends_the_notice_of_a_login_that_runs_out() -> None:
    async with open_shell(ACCESS) as shell:
        requester = await shell.requester(identity="alice")
        (entrant,) = shell.entrance.connections
        assert isinstance(entrant, Entrant)
        shell.entrance._expiries.set(entrant, time.monotonic())
        assert Operations(shell.core, shell.entrance).kick(entrant.connection_id)
        shell.check()
        assert (await requester.closed()).startswith("closed by peer: 4410")


async def test_ids_are_not_used_again_by_another_broker() -> None:
    async with open_shell() as one, open_shell() as other:
        await one.requester()
        await other.requester()
        assert [row.connection_id for row in await rows(one)] != [
            row.connection_id for row in await rows(other)
        ]
