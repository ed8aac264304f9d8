"""Gathers, broadcasts and messages of the user's own over real links, in both encodings, with rights."""

from itertools import product
from typing import Any

import pytest
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import CUSTOM_SIZE_BYTES_MAX

from tests.unit.broker.access_files import policy
from tests.unit.broker.shell import Peer, Shell, open_shell

PAIRS = list(product(Encoding, Encoding))
RIGHTS = {
    "alice": 'call = ["work"]\nmessage = ["news"]',
    "bob": 'call = ["work"]\ntarget = ["w"]\nmessage = ["*"]',
    "crew": 'serve = ["work"]\nmessage = ["done"]',
}


async def answer_to(requester: Peer, message: dict[str, Any]) -> Any:
    requester.send({"request_id": "r", **message})
    return await requester.receive()


async def respond(worker: Peer, result: Any) -> dict[str, Any]:
    """Answer the next assignment. Returns it."""
    assignment: dict[str, Any] = await worker.receive()
    assert assignment["type"] == "request"
    worker.send(
        {"type": "response", "msg_id": assignment["msg_id"], "data": {"success": True, "result": result}}
    )
    return assignment


async def pair(shell: Shell, encoding: Encoding = Encoding.JSON) -> list[Peer]:
    """A worker of each encoding, and a requester."""
    workers = [await shell.worker(kind, name=f"w-{kind.value}") for kind in Encoding]
    return [*workers, await shell.requester(encoding)]


# --- gathers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_gather_reaches_workers_of_both_encodings_and_is_answered_once(encoding: Encoding) -> None:
    async with open_shell() as shell:
        first, second, requester = await pair(shell, encoding)
        requester.send({"request_id": "g", "command": "work", "data": {"n": 1}, "trace": "t", "gather": {}})
        assignment = await respond(first, {"by": "json"})
        assert assignment["data"]["params"] == {"n": 1}
        assert assignment["data"]["trace"] == "t"
        assert assignment["data"]["request_id"].startswith("g:")
        await respond(second, {"by": "msgpack"})
        answer = await requester.receive()
        assert (answer["request_id"], answer["success"]) == ("g", True)
        assert answer["data"]["complete"]
        assert {item["worker_id"]: item["data"] for item in answer["data"]["items"]} == {
            "w-json": {"by": "json"}, "w-msgpack": {"by": "msgpack"},
        }  # fmt: skip


@pytest.mark.parametrize("encoding", Encoding)
async def test_items_come_as_they_end_with_stream(encoding: Encoding) -> None:
    async with open_shell() as shell:
        first, second, requester = await pair(shell, encoding)
        requester.send({"request_id": "g", "command": "work", "stream": True, "gather": {"batch": 1}})
        await respond(first, 1)
        item = await requester.receive()
        assert (item["type"], item["request_id"], item["sequence"]) == ("item", "g", 1)
        assert item["item"] == {
            "worker_id": "w-json", "success": True, "data": 1, "error": None, "code": None, "delivery": None,
        }  # fmt: skip
        await respond(second, 2)
        assert (await requester.receive())["sequence"] == 2
        assert (await requester.receive())["data"] == {"items": [], "missing": [], "complete": True}


async def test_a_gather_ends_at_its_deadline() -> None:
    async with open_shell() as shell:
        await shell.worker(name="w")
        requester = await shell.requester()
        answer = await answer_to(requester, {"command": "work", "timeout": 0.05, "gather": {}})
        assert answer["data"] == {"items": [], "missing": ["w"], "complete": False}


async def test_a_gather_and_a_request_with_one_id_are_told_apart_as_two_requests_are() -> None:
    async with open_shell() as shell:
        worker = await shell.worker(name="w", concurrency=2)
        requester = await shell.requester()
        requester.send({"request_id": "r", "command": "work", "gather": {}})
        extras: list[dict[str, Any]] = [{}, {"gather": {}}]
        for extra in extras:
            failure = await answer_to(requester, {"command": "work", **extra})
            assert failure["code"] == "duplicate_request_id"
        requester.send({"request_id": "other", "command": "work"})
        await respond(worker, 1)
        await worker.receive()
        assert (await requester.receive())["data"]["complete"]
        failure = await answer_to(requester, {"request_id": "other", "command": "work", "gather": {}})
        assert failure["code"] == "duplicate_request_id"


async def test_a_gather_is_cancelled_by_its_id() -> None:
    async with open_shell() as shell:
        worker = await shell.worker(name="w")
        requester = await shell.requester()
        requester.send({"request_id": "g", "command": "work", "gather": {}})
        await worker.receive()
        requester.send({"type": "cancel", "request_id": "g"})
        assert (await requester.receive())["code"] == "cancelled"
        assert (await worker.receive())["type"] == "cancel"


async def test_a_requester_that_disconnects_has_its_gathers_cancelled() -> None:
    async with open_shell() as shell:
        worker = await shell.worker(name="w")
        requester = await shell.requester()
        requester.send({"request_id": "g", "command": "work", "gather": {}})
        await worker.receive()
        requester.link.close()
        assert (await worker.receive())["data"] == {"reason": "cancelled"}
        assert [name for name in shell.core.requesters if name.names_workers] == []


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"idempotent": True, "hedge": 1}, "bad_request", "gather: not together with hedge or otherwise"),
        ({"otherwise": "submit"}, "bad_request", "gather: not together with hedge or otherwise"),
        ({"gather": {"expect": 0}}, "bad_request", "gather.expect: Expected `int` >= 1"),
        ({"command": "other"}, "no_available_workers", "No available workers: no worker serves 'other'"),
        (
            {"target": {str(n): [str(m) for m in range(22)] for n in range(3)}},
            "bad_request",
            "target: its labels have over 64 values",
        ),
    ],
)
async def test_a_gather_that_cannot_begin_says_why(fields: dict[str, Any], code: str, text: str) -> None:
    async with open_shell() as shell:
        await shell.worker(name="w")
        requester = await shell.requester()
        failure = await answer_to(requester, {"command": "work", "gather": {}, **fields})
        assert failure["code"] == code
        assert failure["error"].startswith(text)
        assert failure["request_id"] == "r"


async def test_a_gather_needs_the_rights_of_its_request() -> None:
    async with open_shell(policy(**RIGHTS)) as shell:
        worker = await shell.worker(identity="crew", name="w")
        alice, bob = [await shell.requester(identity=name) for name in ("alice", "bob")]
        for fields in ({"command": "drop"}, {"command": "work", "target": "w"}):
            failure = await answer_to(alice, {"gather": {}, **fields})
            assert failure["code"] == "forbidden"
        for requester, fields in ((alice, {}), (bob, {"target": "w"})):
            requester.send({"request_id": "g", "command": "work", "gather": {}, **fields})
            await respond(worker, 1)
            assert (await requester.receive())["data"]["complete"]


# --- broadcasts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_broadcast_reaches_every_worker_that_matches_in_its_own_encoding(encoding: Encoding) -> None:
    async with open_shell() as shell:
        first, second, requester = await pair(shell, encoding)
        message = {"type": "broadcast", "kind": "news", "data": {"n": [1, None]}}
        assert await answer_to(requester, message) == {"type": "broadcast", "request_id": "r", "count": 2}
        for worker in (first, second):
            got = await worker.receive()
            assert (got["type"], got["kind"], got["data"]) == ("custom", "news", {"n": [1, None]})
            assert shell.entrance.connections.get(got["from"]) is not None
        answer = await answer_to(requester, {**message, "target": "w-json", "data": 7})
        assert answer["count"] == 1
        assert (await first.receive())["data"] == 7
        requester.send({"type": "broadcast", "kind": "bare"})
        assert (await requester.receive())["request_id"] is None
        assert (await first.receive())["data"] is None


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_broadcast_that_cannot_be_carried_reaches_nobody(encoding: Encoding) -> None:
    async with open_shell() as shell:
        first, second, requester = await pair(shell, encoding)
        large = "x" * CUSTOM_SIZE_BYTES_MAX
        odd: Any = 1 << 70 if encoding is Encoding.JSON else b"\x00"
        cases = [(large, "too_large"), (odd, "not_representable")]
        for data, code in cases:
            if data is odd and encoding is Encoding.JSON:
                payload = b'{"type":"broadcast","request_id":"r","kind":"k","data":%d}' % odd
                requester.link.send(payload)
                failure = await requester.receive()
            else:
                failure = await answer_to(requester, {"type": "broadcast", "kind": "k", "data": data})
            assert failure["code"] == code
        assert (await answer_to(requester, {"type": "broadcast", "kind": "k", "data": "fine"}))["count"] == 2
        for worker in (first, second):
            assert (await worker.receive())["data"] == "fine"


async def test_a_broadcast_has_bounds_and_needs_its_rights() -> None:
    async with open_shell(policy(**RIGHTS)) as shell:
        await shell.worker(identity="crew", name="w")
        alice, bob = [await shell.requester(identity=name) for name in ("alice", "bob")]
        assert (await answer_to(alice, {"type": "broadcast", "kind": "other"}))["code"] == "forbidden"
        failure = await answer_to(alice, {"type": "broadcast", "kind": "news", "target": "w"})
        assert failure["error"] == "alice may not target 'w': no rule grants it"
        assert (await answer_to(bob, {"type": "broadcast", "kind": "news", "target": "w"}))["count"] == 1
    async with open_shell() as shell:
        requester = await shell.requester()
        target = {str(n): [str(m) for m in range(22)] for n in range(3)}
        failure = await answer_to(requester, {"type": "broadcast", "kind": "news", "target": target})
        assert failure["code"] == "bad_request"


# --- from one connection to another ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "of_worker"), PAIRS)
async def test_a_worker_and_a_requester_send_each_other_messages(
    encoding: Encoding, of_worker: Encoding
) -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(of_worker, name="w"), await shell.requester(encoding)
        requester.send({"type": "custom", "kind": "ask", "to": "w", "data": {"n": 1}})
        got = await worker.receive()
        assert got == {"type": "custom", "kind": "ask", "data": {"n": 1}, "from": got["from"]}
        worker.send({"type": "custom", "kind": "tell", "to": got["from"], "data": [2]})
        assert await requester.receive() == {"type": "custom", "kind": "tell", "data": [2], "from": "w"}


async def test_a_message_to_nobody_or_of_a_kind_that_no_plugin_handles_is_refused() -> None:
    async with open_shell() as shell:
        worker, requester = await shell.worker(name="w"), await shell.requester()
        for fields, code in (({"to": "nobody"}, "unknown_receiver"), ({}, "unknown_message_type")):
            failure = await answer_to(requester, {"type": "custom", "kind": "k", **fields})
            assert (failure["code"], failure["request_id"]) == (code, "r")
            worker.send({"type": "custom", "msg_id": "7", "kind": "k", **fields})
            error = await worker.receive()
            assert (error["type"], error["data"]["code"], error["msg_id"]) == ("error", code, "7")
        large = {"type": "custom", "kind": "k", "data": "x" * CUSTOM_SIZE_BYTES_MAX}
        assert (await answer_to(requester, large))["code"] == "too_large"
        worker.send({"type": "custom", "data": "of no kind"})
        worker.send({"type": "heartbeat", "msg_id": "8"})
        assert (await worker.receive())["type"] == "heartbeat"


async def test_a_connection_that_has_not_joined_as_a_worker_gets_no_message() -> None:
    async with open_shell() as shell:
        stranger = await shell.worker_connection()
        requester = await shell.requester()
        (id_,) = [one.connection_id for one in shell.entrance.connections if one.port == "worker"]
        requester.send({"type": "custom", "kind": "k", "to": id_})
        requester.send({"type": "ping", "request_id": "p"})
        assert (await requester.receive())["type"] == "pong"
        assert stranger.recorder.messages == []


async def test_a_message_needs_the_rights_of_its_kind_and_of_whom_it_is_for() -> None:
    async with open_shell(policy(**RIGHTS)) as shell:
        worker = await shell.worker(identity="crew", name="w")
        alice, bob = [await shell.requester(identity=name) for name in ("alice", "bob")]
        failure = await answer_to(alice, {"type": "custom", "kind": "news", "to": "w"})
        assert failure["error"] == "alice may not target 'w': no rule grants it"
        bob.send({"type": "custom", "kind": "news", "to": "w"})
        assert (await worker.receive())["kind"] == "news"
        worker.send({"type": "custom", "kind": "news", "to": "w"})
        assert (await worker.receive())["data"]["code"] == "forbidden"
