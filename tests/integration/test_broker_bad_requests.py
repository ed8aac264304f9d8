"""Whatever a requester sends: the error names the field and the bound, its connection stays open unless it broke the
WebSocket protocol itself, and no other peer is affected."""

import asyncio
import json
from typing import Any

import msgpack
import pytest
import websockets
from websockets.typing import Subprotocol

from tests.integration.peers import Peer, connected, serving, unique
from tests.processes import PATIENCE_S, Broker, Programs

DATA_SIZE_BYTES_MAX = 1024 * 1024 - 4096
BOUND = "(message_size_bytes_max of the broker less 4096)"
LONG = "x" * 129


def with_field(field: str, value: str) -> str:
    return f'{{"request_id":"r","command":"c","{field}":{value}}}'


BAD_JSON: list[tuple[str, str | None, str]] = [
    # what is sent, the request_id of the answer, its text (see assert_refused)
    ("nonsense", None, "not valid JSON: "),
    ("", None, "not valid JSON: "),
    ('{"command":"c"', None, "not valid JSON: "),
    ('{"command":"c"} {}', None, "not valid JSON: "),
    ('{"command":"c","data":{"a":}}', None, "not valid JSON: "),
    ("\ufeff{}", None, "not valid JSON: "),
    ("[1]", None, "message: Expected `object`, got `array`"),
    ('"command"', None, "message: Expected `object`, got `str`"),
    ("42", None, "message: Expected `object`, got `int`"),
    ("null", None, "message: Expected `object`, got `null`"),
    ("{}", None, "command: missing"),
    ('{"request_id":"r"}', "r", "command: missing"),
    ('{"request_id":"r","command":42}', "r", "command: Expected `str`, got `int`"),
    ('{"request_id":"r","command":null}', "r", "command: Expected `str`, got `null`"),
    ('{"request_id":"r","command":""}', "r", "command: Expected `str` of length >= 1"),
    (f'{{"request_id":"r","command":"{LONG}"}}', "r", "command: Expected `str` of length <= 128"),
    ('{"command":"c","request_id":42}', None, "request_id: Expected `str | null`, got `int`"),
    ('{"command":"c","request_id":""}', "", "request_id: Expected `str` of length >= 1"),
    (f'{{"command":"c","request_id":"{LONG}"}}', None, "request_id: Expected `str` of length <= 128"),
    (with_field("timeout", "-1"), "r", "timeout: Expected `float` > 0.0"),
    (with_field("timeout", "0"), "r", "timeout: Expected `float` > 0.0"),
    (with_field("timeout", "3600.001"), "r", "timeout: Expected `float` <= 3600.0"),
    (with_field("timeout", "1e400"), "r", "timeout: Number out of range"),
    (with_field("timeout", "NaN"), None, "not valid JSON: "),
    (with_field("timeout", '"1"'), "r", "timeout: Expected `float | null`, got `str`"),
    (with_field("timeout", "true"), "r", "timeout: Expected `float | null`, got `bool`"),
    (with_field("priority", "-1"), "r", "priority: Expected `int` >= 0"),
    (with_field("priority", "10"), "r", "priority: Expected `int` <= 9"),
    (with_field("priority", "1.5"), "r", "priority: Expected `int | null`, got `float`"),
    (with_field("idempotent", '"yes"'), "r", "idempotent: Expected `bool`, got `str`"),
    (with_field("affinity", f'"{LONG}"'), "r", "affinity: Expected `str` of length <= 128"),
    (with_field("trace", f'"{LONG * 2}"'), "r", "trace: Expected `str` of length <= 256"),
    (with_field("data", "[" * 50_000 + "]" * 50_000), None, "message: nested too deeply"),
    (with_field("data", "[" * 50_000), None, "message: nested too deeply"),
    ('{"type":"conscribe"}', None, "type: Invalid value 'conscribe'"),
    ('{"type":7,"request_id":"r"}', "r", "type: Expected `str`, got `int`"),
    ('{"type":"cancel"}', None, "request_id: missing"),
    ('{"type":"cancel","request_id":""}', "", "request_id: Expected `str` of length >= 1"),
]
BAD_MSGPACK: list[tuple[bytes, str | None, str]] = [
    (b"", None, "not valid MessagePack: "),
    (b"\x81\xa7command\xa1", None, "not valid MessagePack: "),
    (msgpack.packb([1]), None, "message: Expected `object`, got `array`"),
    (msgpack.packb({}), None, "command: missing"),
    (msgpack.packb({"request_id": "r", "command": b"c"}), "r", "command: Expected `str`, got `bytes`"),
    (
        msgpack.packb({"request_id": "r", "command": "c", "timeout": float("nan")}),
        "r",
        "timeout: Expected `float` > 0.0",
    ),
    (
        msgpack.packb({"request_id": "r", "command": "c", "timeout": float("inf")}),
        "r",
        "timeout: Expected `float` <= 3600.0",
    ),
]


def refusal(request_id: str | None, code: str, text: str) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "success": False,
        "data": None,
        "error": text,
        "processed_by": None,
        "code": code,
    }


def assert_refused(response: Any, request_id: str | None, text: str) -> None:
    """`text` is the whole text, or if it ends in a colon and a space, its beginning: the parser's own text follows."""
    if text.endswith(": "):
        assert response["error"].startswith(text)
        text = response["error"]
    assert response == refusal(request_id, "bad_request", text)


async def assert_lives(peer: Peer) -> None:
    await peer.send({"type": "ping", "request_id": "still-there"})
    assert await peer.receive() == {"type": "pong", "request_id": "still-there"}


async def test_the_error_of_a_bad_json_message_names_its_field_and_bound(shared_broker: Broker) -> None:
    async with connected(shared_broker.requester_url) as requester:
        for payload, request_id, text in BAD_JSON:
            await requester.send_raw(payload)
            assert_refused(await requester.receive(), request_id, text)
        await assert_lives(requester)


async def test_the_error_of_a_bad_msgpack_message_names_its_field_and_bound(shared_broker: Broker) -> None:
    async with connected(shared_broker.requester_url, "msgpack") as requester:
        for payload, request_id, text in BAD_MSGPACK:
            await requester.send_raw(payload)
            assert_refused(await requester.receive(), request_id, text)
        await assert_lives(requester)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", "3600"),
        ("timeout", "0.001"),
        ("timeout", "null"),
        ("priority", "0"),
        ("priority", "9"),
        ("priority", "null"),
        ("affinity", f'"{LONG[1:]}"'),
        ("trace", f'"{LONG[1:] * 2}"'),
        ("unknown", '{"anything": [1, 2]}'),
        ("type", '"ignored if there is a command"'),
        ("data", "[" * 200 + "]" * 200),
    ],
)
async def test_a_value_within_its_bound_is_accepted(shared_broker: Broker, field: str, value: str) -> None:
    async with connected(shared_broker.requester_url) as requester:
        await requester.send_raw(with_field(field, value))
        answer = await requester.receive()
        assert answer["error"].startswith("No available workers: ")
        expected = refusal("r", "no_available_workers", answer["error"])
        assert answer == {**expected, "delivery": "not_delivered", "queue_wait": 0.0}


async def test_the_longest_names_are_accepted(shared_broker: Broker) -> None:
    longest = LONG[1:]
    async with (
        serving(shared_broker.worker_url, {longest: lambda params: params}, name=longest),
        connected(shared_broker.requester_url) as requester,
    ):
        response = await requester.call(longest, 1, request_id=longest)
        assert (response["request_id"], response["data"], response["processed_by"]) == (longest, 1, longest)


@pytest.mark.parametrize(
    ("encoding", "payload", "kind"),
    [("json", b'{"command":"c"}', "text"), ("msgpack", '{"command":"c"}', "binary"), (None, b"", "text")],
)
async def test_a_frame_of_the_wrong_kind_is_an_error(
    shared_broker: Broker, encoding: str | None, payload: str | bytes, kind: str
) -> None:
    async with connected(shared_broker.requester_url, encoding) as requester:
        await requester.send_raw(payload)
        text = f"message: taskferry.v1.{encoding or 'json'} takes {kind} frames only"
        assert await requester.receive() == refusal(None, "bad_request", text)
        await assert_lives(requester)


async def test_every_bad_frame_of_a_burst_is_answered(shared_broker: Broker) -> None:
    async with connected(shared_broker.requester_url) as requester:
        for _ in range(10):
            await requester.send_raw(b"binary")
            await requester.send_raw("nonsense")
        texts = [(await requester.receive())["error"].split(":")[0] for _ in range(20)]
        assert sorted(texts) == ["message"] * 10 + ["not valid JSON"] * 10
        await assert_lives(requester)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_data_is_bounded_and_data_of_exactly_that_size_gets_through(
    shared_broker: Broker, encoding: str
) -> None:
    command = unique("measure")
    head_size = 2 if encoding == "json" else 5
    fits = "x" * (DATA_SIZE_BYTES_MAX - head_size)
    async with (
        serving(shared_broker.worker_url, {command: lambda params: params}, encoding=encoding),
        connected(shared_broker.requester_url, encoding) as requester,
    ):
        response = await requester.call(command, fits)
        assert response["success"], response
        assert response["data"] == fits
        await requester.send({"request_id": "r", "command": command, "data": fits + "x"})
        text = f"data: {DATA_SIZE_BYTES_MAX + 1} bytes, at most {DATA_SIZE_BYTES_MAX} {BOUND}"
        assert await requester.receive() == refusal("r", "too_large", text)
        await assert_lives(requester)


async def test_a_result_is_bounded_too(shared_broker: Broker) -> None:
    command, name = unique("grow"), unique("worker")
    async with (
        serving(shared_broker.worker_url, {command: lambda _: "x" * (DATA_SIZE_BYTES_MAX - 1)}, name=name),
        connected(shared_broker.requester_url) as requester,
    ):
        response = await requester.call(command)
        assert (response["code"], response["processed_by"]) == ("too_large", name)
        text = f"result: {DATA_SIZE_BYTES_MAX + 1} bytes, at most {DATA_SIZE_BYTES_MAX} {BOUND}"
        assert response["error"] == text


async def test_data_that_grows_over_the_bound_when_converted_is_an_error(shared_broker: Broker) -> None:
    # A million small numbers take a byte each in MessagePack and two in JSON.
    command = unique("grow")
    async with (
        serving(shared_broker.worker_url, {command: len}, encoding="json"),
        connected(shared_broker.requester_url, "msgpack") as requester,
    ):
        response = await requester.call(command, [1] * 1_000_000)
        assert response["code"] == "too_large"
        assert response["error"] == f"data as json: 2000001 bytes, at most {DATA_SIZE_BYTES_MAX} {BOUND}"


async def test_a_message_over_the_bound_closes_the_connection_with_1009(shared_broker: Broker) -> None:
    async with connected(shared_broker.requester_url) as requester:
        await requester.send_raw("x" * (1024 * 1024 + 1))
        code, reason = await requester.wait_closed()
        assert (code, reason) == (1009, "frame with 1048577 bytes exceeds limit of 1048576 bytes")


async def test_the_bound_on_a_message_applies_to_all_its_fragments_together(shared_broker: Broker) -> None:
    async with connected(shared_broker.requester_url) as requester:
        await requester.connection.send(["x" * 600_000, "x" * 600_000])
        code, _ = await requester.wait_closed()
        assert code == 1009


async def test_text_that_is_not_utf8_closes_the_connection_with_1007(shared_broker: Broker) -> None:
    async with connected(shared_broker.requester_url) as requester:
        await requester.connection.send(b'{"command":"c","data":"\xff"}', text=True)
        code, _ = await requester.wait_closed()
        assert code == 1007


async def test_a_request_id_in_flight_is_refused_and_the_first_request_continues(
    shared_broker: Broker,
) -> None:
    command = unique("slow")
    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(unique("worker"), command, concurrency=2)
        await requester.send({"request_id": "same", "command": command})
        assignment = await worker.receive_assignment()
        await requester.send({"request_id": "same", "command": command})
        text = "request_id: 'same' is already in flight on this connection"
        expected = refusal("same", "duplicate_request_id", text)
        assert await requester.receive() == {**expected, "delivery": "not_delivered"}
        await worker.respond(assignment, "first")
        assert (await requester.receive())["data"] == "first"
        call = asyncio.create_task(requester.call(command, request_id="same"))
        await worker.respond(await worker.receive_assignment(), "again")
        assert (await call)["data"] == "again"


async def test_requests_in_flight_are_bounded_by_a_setting(programs: Programs) -> None:
    broker = programs.start_broker("--in-flight-count-max", "2", "--queue-count-max", "3")
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        for number in range(3):
            await requester.send({"request_id": f"r{number}", "command": "c"})
        text = "over 2 requests in flight on this connection (in_flight_count_max)"
        assert await requester.receive() == {
            **refusal("r2", "overloaded", text),
            "delivery": "not_delivered",
            "retry_after": 1.0,
        }
        async with connected(broker.requester_url) as second, connected(broker.requester_url) as third:
            for number in range(2):
                await second.send({"request_id": f"s{number}", "command": "c"})
            await assert_lives(second)
            await third.send({"request_id": "t0", "command": "c"})
            text = "3 requests wait (queue_count_max)"
            overloaded = {"delivery": "not_delivered", "queue_wait": 0.0, "retry_after": 1.0}
            most = f"{text}, and of anonymous at 127.0.0.1 this connection has most of that"
            given_way = await second.receive()
            assert 0 <= given_way["queue_wait"] < PATIENCE_S
            assert given_way | {"queue_wait": 0.0} == {**refusal("s1", "overloaded", most), **overloaded}
            response = await third.call("c", request_id="t1")
            assert response == {**refusal("t1", "overloaded", text), **overloaded}


async def test_what_is_sent_beside_data_does_not_stay_in_memory_with_it(programs: Programs) -> None:
    # Otherwise the bound on waiting bytes could be evaded: unknown fields are ignored, and do not count.
    broker = programs.start_broker("--grace", "0")
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c")
        before = broker.rss_bytes()
        for number in range(100):
            await requester.send(
                {"request_id": f"r{number}", "command": "c", "data": 1, "unknown": "x" * 900_000}
            )
        await assert_lives(requester)
        assert broker.status()["queued_count"] == 99
        assert broker.rss_bytes() - before < 30_000_000


async def test_a_smaller_bound_on_messages_is_a_setting(programs: Programs) -> None:
    broker = programs.start_broker("--message-size-bytes-max", str(16 * 1024))
    async with connected(broker.requester_url) as requester:
        response = await requester.call("c", "x" * (12 * 1024 - 1))
        assert response["error"] == f"data: 12289 bytes, at most 12288 {BOUND}"
        assert (await requester.call("c", "x" * (12 * 1024 - 2)))["code"] == "no_available_workers"
        await requester.send_raw("x" * (16 * 1024 + 1))
        assert (await requester.wait_closed())[0] == 1009


async def test_no_other_peer_is_affected(shared_broker: Broker) -> None:
    command = unique("echo")

    async def call_until(bad: asyncio.Task[None]) -> int:
        count = 0
        async with connected(shared_broker.requester_url) as requester:
            while not bad.done() or count < 100:
                count += 1
                response = await requester.call(command, count)
                assert response["data"] == count, response
        return count

    async def send_all_that_is_bad() -> None:
        for _ in range(3):
            async with connected(shared_broker.requester_url) as requester:
                for text, _, _ in BAD_JSON:
                    await requester.send_raw(text)
                    await requester.receive()
                await requester.send_raw("x" * (1024 * 1024 + 1))
                await requester.wait_closed()
            async with connected(shared_broker.requester_url, "msgpack") as requester:
                for payload, _, _ in BAD_MSGPACK:
                    await requester.send_raw(payload)
                    await requester.receive()

    async with serving(shared_broker.worker_url, {command: lambda params: params}):
        bad = asyncio.create_task(send_all_that_is_bad())
        counts = await asyncio.gather(call_until(bad), call_until(bad))
        await bad
    assert min(counts) >= 100


async def test_refusals_are_counted_by_code(programs: Programs) -> None:
    broker = programs.start_broker()
    async with connected(broker.requester_url) as requester:
        await requester.send_raw("nonsense")
        await requester.receive()
        await requester.send_raw(json.dumps({"command": "c", "data": "x" * DATA_SIZE_BYTES_MAX}))
        await requester.receive()
        assert broker.status()["refused"] == {"bad_request": 1, "too_large": 1}
        assert broker.status()["submitted_count"] == 0


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_worker_is_sent_to_its_own_port(programs: Programs, encoding: str) -> None:
    broker = programs.start_broker()
    connect = {"type": "connect", "msg_id": "1", "data": {"worker_id": "w", "commands": ["c"]}}
    payload = json.dumps(connect) if encoding == "json" else msgpack.packb(connect)
    subprotocol = Subprotocol(f"taskferry.v1.{encoding}")
    async with websockets.connect(broker.requester_url, subprotocols=[subprotocol]) as socket:
        await socket.send(payload)
        answer = await socket.recv()
        error = json.loads(answer) if isinstance(answer, str) else msgpack.unpackb(answer)
        text = "connect is a worker's message; workers connect to another port, by default 8765"
        assert (error["code"], error["error"]) == ("bad_request", f"type: {text}")
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (1008, text)
    broker.wait_for_stderr(f"requester port: connection from 127.0.0.1 refused: {text}")
