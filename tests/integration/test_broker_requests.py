"""Requests through a real broker, between peers that use only the protocol: both encodings, and values that must arrive
as they were sent."""

import asyncio
import json
import re
import uuid
from pathlib import Path
from typing import Any

import msgpack
import pytest
from taskferry.protocol.large import LARGE_SIZE_BYTES as LARGE_MESSAGE_SIZE_BYTES
from taskferry.transport.framing import LARGE_SIZE_BYTES as LARGE_FRAME_SIZE_BYTES
from taskferry.transport.link import PARTS_SIZE_BYTES_MIN

from tests.integration.peers import connected, eventually, serving, unique
from tests.processes import Broker, Program, Programs

PLAIN_WORKER = str(Path(__file__).with_name("plain_worker.py"))
PLAIN_REQUESTER = """
import asyncio, websockets, json, uuid
async def send_request():
    async with websockets.connect("ws://localhost:8766") as ws:
        await ws.send(json.dumps({"request_id": str(uuid.uuid4()), "command": "get_time", "data": {}}))
        result = json.loads(await ws.recv())
        print(result["success"], result["data"], result["processed_by"])
asyncio.run(send_request())
"""
FIVE_KEYS = {"request_id", "success", "data", "error", "processed_by"}

either = pytest.mark.parametrize("encoding", ["json", "msgpack"])


def test_the_plain_client_is_served_by_a_worker_in_another_process(programs: Programs) -> None:
    broker = programs.start_broker("--host", "localhost")
    worker = programs.start(PLAIN_WORKER, broker.worker_url, "plain-worker", "1")
    worker.wait_for_stdout("joined")
    client = programs.start("-c", PLAIN_REQUESTER.replace("ws://localhost:8766", broker.requester_url))
    assert client.wait() == 0, client.stderr
    assert re.fullmatch(r"True \d{4}-\d\d-\d\d \d\d:\d\d:\d\d plain-worker\n", client.stdout)


def test_echo_between_processes(programs: Programs, shared_broker: Broker) -> None:
    name = unique("worker")
    worker = programs.start(PLAIN_WORKER, shared_broker.worker_url, name, "1")
    worker.wait_for_stdout("joined")

    async def call() -> Any:
        async with connected(shared_broker.requester_url) as requester:
            return await requester.call("echo", {"message": "Hello World"}, request_id="uuid-string")

    assert asyncio.run(call()) == {
        "request_id": "uuid-string",
        "success": True,
        "data": "Echo: Hello World",
        "error": None,
        "processed_by": name,
    }
    kill_and_wait(worker, shared_broker, name)


def kill_and_wait(worker: Program, broker: Broker, name: str) -> None:
    """The shared broker must not offer this worker's commands to other tests."""
    worker.kill()
    worker.wait()
    while name in broker.workers():
        pass


@either
async def test_without_a_worker_there_is_an_answer_at_once(shared_broker: Broker, encoding: str) -> None:
    async with connected(shared_broker.requester_url, encoding) as requester:
        assert await requester.call("nobody-serves-this", {}, request_id="r") == {
            "request_id": "r",
            "success": False,
            "data": None,
            "error": "No available workers: no worker serves 'nobody-serves-this'; start one that does",
            "processed_by": None,
            "code": "no_available_workers",
            "delivery": "not_delivered",
            "queue_wait": 0.0,
        }


async def test_past_its_timeout_a_request_is_answered_and_its_worker_gets_a_cancel(
    shared_broker: Broker,
) -> None:
    command, name = unique("slow"), unique("worker")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(name, command)
        started = asyncio.get_running_loop().time()
        call = asyncio.create_task(requester.call(command, {}, request_id="r", timeout=0.3))
        assignment = await worker.receive_assignment()
        assert assignment["data"]["timeout"] == 0.3
        assert await call == {
            "request_id": "r",
            "success": False,
            "data": None,
            "error": "Worker response timeout",
            "processed_by": name,
            "code": "timeout",
            "delivery": "may_have_run",
            "queue_wait": 0.0,
        }
        assert asyncio.get_running_loop().time() - started >= 0.3
        cancel = await worker.receive()
        assert (cancel["type"], cancel["msg_id"]) == ("cancel", assignment["msg_id"])
        assert cancel["data"] == {"reason": "timeout"}
        assert shared_broker.workers()[name]["in_flight"] == 1, (
            "the slot stays taken until the worker reports"
        )
        await worker.respond(assignment, "too late")
        await eventually(lambda: shared_broker.workers()[name]["in_flight"] == 0, "the slot is free again")
        second = asyncio.create_task(requester.call(command))
        await worker.respond(await worker.receive_assignment(), "in time")
        assert (await second)["data"] == "in time"


async def test_a_requests_own_data_defaults_to_an_empty_object(shared_broker: Broker) -> None:
    command = unique("params")
    async with connected(shared_broker.requester_url) as requester:
        for encoding in ("json", "msgpack"):
            async with serving(shared_broker.worker_url, {command: repr}, encoding=encoding):
                assert (await requester.call(command))["data"] == "{}"


async def test_a_request_id_is_made_if_none_was_sent(shared_broker: Broker) -> None:
    command = unique("echo")
    async with (
        serving(shared_broker.worker_url, {command: lambda params: params}),
        connected(shared_broker.requester_url) as requester,
    ):
        request_ids = set()
        for data in (1, 2):
            await requester.send({"command": command, "data": data})
            response = await requester.receive()
            assert response["data"] == data
            assert str(uuid.UUID(response["request_id"])) == response["request_id"]
            request_ids.add(response["request_id"])
        assert len(request_ids) == 2


async def test_many_requests_in_flight_on_one_connection_are_answered_in_any_order(
    shared_broker: Broker,
) -> None:
    command = unique("sleep")

    async def sleep(params: Any) -> Any:
        await asyncio.sleep(params / 100)
        return params

    async with (
        serving(shared_broker.worker_url, {command: sleep}),
        connected(shared_broker.requester_url) as requester,
    ):
        numbers = [9, 0, 6, 3]
        for number in numbers:
            await requester.send({"request_id": f"r{number}", "command": command, "data": number})
        responses = [await requester.receive() for _ in numbers]
        assert [response["data"] for response in responses] == [0, 3, 6, 9]
        assert [response["request_id"] for response in responses] == ["r0", "r3", "r6", "r9"]


async def test_a_handlers_failure_is_returned_with_its_text_and_code(shared_broker: Broker) -> None:
    command, name = unique("fails"), unique("worker")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(name, command)
        call = asyncio.create_task(requester.call(command, {}))
        failure = {"success": False, "error": "no such image", "code": "image_missing"}
        await worker.respond_with(await worker.receive_assignment(), failure)
        response = await call
        assert set(response) == FIVE_KEYS | {"code", "queue_wait"}, "its handler answered: it was delivered"
        assert (response["error"], response["code"], response["processed_by"]) == (
            "no such image",
            "image_missing",
            name,
        )


async def test_a_request_can_be_cancelled(shared_broker: Broker) -> None:
    command, name = unique("hangs"), unique("worker")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(name, command)
        call = asyncio.create_task(requester.call(command, {}, request_id="r"))
        assignment = await worker.receive_assignment()
        await requester.send({"type": "cancel", "request_id": "r"})
        assert (await call)["code"] == "cancelled"
        cancel = await worker.receive()
        assert (cancel["type"], cancel["msg_id"], cancel["data"]) == (
            "cancel",
            assignment["msg_id"],
            {"reason": "cancelled"},
        )


@either
async def test_a_ping_is_answered(shared_broker: Broker, encoding: str) -> None:
    async with connected(shared_broker.requester_url, encoding) as requester:
        await requester.send({"type": "ping", "request_id": "p"})
        assert await requester.receive() == {"type": "pong", "request_id": "p"}


VALUES = [
    None,
    True,
    0,
    -1,
    2**63,
    2**64 - 1,
    -(2**63),
    0.1,
    1.7976931348623157e308,
    5e-324,
    "",
    'grüße ☂ \U0001f600 \u0000 \\ " /',
    [],
    {},
    [1, [2, [3, {"a": None}]]],
    {"b": 1, "a": 2, "": 3, "ключ": [True, False]},
    "x" * 70_000,
    list(range(5000)),
]


@pytest.mark.parametrize("from_encoding", ["json", "msgpack"])
@pytest.mark.parametrize("to_encoding", ["json", "msgpack"])
async def test_values_arrive_equal_whatever_the_encodings_of_the_two_sides(
    shared_broker: Broker, from_encoding: str, to_encoding: str
) -> None:
    command = unique("echo")
    async with (
        serving(shared_broker.worker_url, {command: lambda params: params}, encoding=to_encoding),
        connected(shared_broker.requester_url, from_encoding) as requester,
    ):
        for value in VALUES:
            response = await requester.call(command, {"value": value})
            assert set(response) == FIVE_KEYS
            returned = response["data"]["value"]
            assert returned == value
            assert type(returned) is type(value)
            if isinstance(value, dict):
                assert json.dumps(returned) == json.dumps(value), "the order of keys"


@pytest.mark.parametrize("from_encoding", ["json", "msgpack"])
@pytest.mark.parametrize("to_encoding", ["json", "msgpack"])
async def test_data_arrives_complete_on_both_sides_of_every_size_that_is_handled_differently(
    shared_broker: Broker, from_encoding: str, to_encoding: str
) -> None:
    command = unique("echo")
    bounds = [LARGE_MESSAGE_SIZE_BYTES, LARGE_FRAME_SIZE_BYTES, PARTS_SIZE_BYTES_MIN]
    async with (
        serving(shared_broker.worker_url, {command: lambda params: params}, encoding=to_encoding),
        connected(shared_broker.requester_url, from_encoding) as requester,
    ):
        for size in [bound + more for bound in bounds for more in range(-200, 40, 13)] + [300_000, 1_000_000]:
            value: dict[str, Any] = {"text": "é" * 8 + "x" * (size - 32), "list": [1, None, {}]}
            response = await requester.call(command, value)
            assert response["data"] == value


EXACT = (
    '{"big": 123456789012345678901234567890, "huge":1e400,  "exact": 0.12345678901234567890, "minus": -0, '
    '"z": 1, "a": 2, "a": 3, "escaped": "\\u00e9\\/\\ud83d\\ude00", "raw": "é😀", "exponent": 1E+2, "list": [ ]}'
)
"""Valid JSON that any parser would change: numbers that fit no type, odd spaces, duplicate keys, escapes."""


async def test_between_json_peers_data_and_result_pass_byte_for_byte(shared_broker: Broker) -> None:
    command, name = unique("exact"), unique("worker")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(name, command)
        await requester.send_raw(f'{{"command":"{command}","request_id":"r","data":{EXACT}}}')
        frame = await worker.receive_raw()
        assert isinstance(frame, str)
        assert f'"params":{EXACT}' in frame
        msg_id = json.loads(frame)["msg_id"]
        await worker.send_raw(
            f'{{"type":"response","msg_id":"{msg_id}","data":{{"success":true,"result":{EXACT}}}}}'
        )
        response = await requester.receive_raw()
        assert isinstance(response, str)
        assert f'"data":{EXACT}' in response


async def test_between_msgpack_peers_data_and_result_pass_byte_for_byte(shared_broker: Broker) -> None:
    # A float in four bytes, an integer written too wide, binary, an extension, keys that are not strings.
    exact = b"\x85\xa1f\xca\x3f\xc0\x00\x00\xa1i\xd3\x00\x00\x00\x00\x00\x00\x00\x01\xa1b\xc4\x02\x00\xff"
    exact += b"\xa1e\xd4\x05x\x07\xc0"
    command, name = unique("exact"), unique("worker")
    async with (
        connected(shared_broker.worker_url, "msgpack") as worker,
        connected(shared_broker.requester_url, "msgpack") as requester,
    ):
        await worker.join(name, command)
        await requester.send_raw(b"\x82\xa7command" + msgpack.packb(command) + b"\xa4data" + exact)
        frame = await worker.receive_raw()
        assert isinstance(frame, bytes)
        assert b"\xa6params" + exact in frame
        msg_id = msgpack.unpackb(frame, strict_map_key=False)["msg_id"]
        await worker.send_raw(
            b"\x83\xa4type\xa8response\xa6msg_id"
            + msgpack.packb(msg_id)
            + b"\xa4data\x82\xa7success\xc3\xa6result"
            + exact
        )
        response = await requester.receive_raw()
        assert isinstance(response, bytes)
        assert b"\xa4data" + exact in response


@pytest.mark.parametrize("value", ["1e400", "123456789012345678901234567890", "-9223372036854775809"])
async def test_what_msgpack_cannot_hold_is_a_clear_error(shared_broker: Broker, value: str) -> None:
    command = unique("echo")
    async with (
        serving(shared_broker.worker_url, {command: lambda params: params}, encoding="msgpack"),
        connected(shared_broker.requester_url, "json") as requester,
    ):
        await requester.send_raw(f'{{"command":"{command}","request_id":"r","data":{{"value":{value}}}}}')
        response = await requester.receive()
        assert (response["request_id"], response["code"]) == ("r", "not_representable")
        assert "MessagePack cannot hold" in response["error"]


@pytest.mark.parametrize("value", [b"\x00\xff", float("nan"), float("inf"), {1: 2}, msgpack.ExtType(5, b"x")])
async def test_what_json_cannot_hold_is_a_clear_error(shared_broker: Broker, value: Any) -> None:
    command = unique("echo")
    async with (
        serving(shared_broker.worker_url, {command: lambda params: params}, encoding="json"),
        connected(shared_broker.requester_url, "msgpack") as requester,
    ):
        response = await requester.call(command, {"value": value})
        assert response["code"] == "not_representable"
        assert "JSON cannot hold" in response["error"]


async def test_a_result_that_the_requester_cannot_hold_is_a_clear_error(shared_broker: Broker) -> None:
    command, name = unique("binary"), unique("worker")
    async with (
        serving(shared_broker.worker_url, {command: lambda _: b"\xff"}, encoding="msgpack", name=name),
        connected(shared_broker.requester_url, "json") as requester,
    ):
        response = await requester.call(command)
        assert (response["code"], response["processed_by"]) == ("not_representable", name)


async def test_a_worker_without_a_name_gets_an_id(shared_broker: Broker) -> None:
    async with connected(shared_broker.worker_url) as worker:
        await worker.send({"type": "connect", "data": {"commands": [unique("c")]}})
        welcome = await worker.receive()
        worker_id = welcome["data"]["worker_id"]
        assert re.fullmatch(r"worker-[0-9a-f]{8}", worker_id)
        assert worker_id in shared_broker.workers()
        assert welcome["data"]["heartbeat_interval"] < welcome["data"]["silence_max"] <= 10
        assert welcome["data"]["message_size_bytes_max"] == 1024 * 1024


async def test_late_binding_holds_over_the_wire(shared_broker: Broker) -> None:
    command, name = unique("one-at-a-time"), unique("worker")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(name, command, concurrency=2)
        for number in range(5):
            await requester.send({"request_id": f"r{number}", "command": command, "data": number})
        held = [await worker.receive_assignment(), await worker.receive_assignment()]
        for number in range(2, 5):
            assert shared_broker.workers()[name]["in_flight"] == 2
            await worker.respond(held.pop(0), "done")
            assert (await requester.receive())["request_id"] == f"r{number - 2}"
            held.append(await worker.receive_assignment())
            assert held[-1]["data"]["params"] == number
