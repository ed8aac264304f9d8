"""Large values between encodings: each takes the broker milliseconds, during which nobody else is served."""

import gc
import json
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.integration.peers import Peer, connected
from tests.processes import Programs

REQUESTS_COUNT = 5
VALUES = {
    "empty lists": [[]] * 300_000,
    "objects": [{"a": 0}] * 110_000,
    "nothings": [None] * 190_000,
    "large floats": [1e308] * 110_000,
    "small floats": [2.2250738585072014e-308] * 40_000,
}
"""In JSON or MessagePack a megabyte each, the most that is carried by default, or a little less."""
CPU_S_MAX = 0.05
"""Of the broker, for one of them there and back: reading, carrying both ways and writing. It was up to 0.11, and is
below 0.02."""


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """In this process, where it would take seconds to look for garbage among a million lists."""
    gc.disable()
    yield
    gc.enable()


async def send(peer: Peer, message: Any) -> None:
    """In as few bytes as can be, or it would be over the bound."""
    is_json = peer.encoding == "json"
    await peer.send_raw(json.dumps(message, separators=(",", ":")) if is_json else msgpack.packb(message))


@pytest.mark.alone
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("encodings", [("json", "msgpack"), ("msgpack", "json")])
async def test_a_large_value_between_encodings_takes_the_broker_milliseconds(
    programs: Programs, encodings: tuple[str, str], value: object
) -> None:
    of_requester, of_worker = encodings
    broker = programs.start_broker()
    async with (
        connected(broker.worker_url, of_worker) as worker,
        connected(broker.requester_url, of_requester) as requester,
    ):
        await worker.join("w1", "echo")
        before_s = broker.cpu_s()
        for number in range(REQUESTS_COUNT):
            await send(requester, {"request_id": f"r{number}", "command": "echo", "data": value})
            assignment = await worker.receive_assignment()
            assert assignment["data"]["params"] == value
            answer = {"success": True, "result": value}
            await send(worker, {"type": "response", "msg_id": assignment["msg_id"], "data": answer})
            response = await requester.receive()
            assert response["success"], response["error"]
            assert response["data"] == value
        cost_s = (broker.cpu_s() - before_s) / REQUESTS_COUNT
    assert cost_s < CPU_S_MAX


LISTS = b"[]," * 300_000


def in_json(value: bytes) -> bytes:
    return b'{"request_id":"r","command":"echo","data":' + value + b"}"


def in_msgpack(last: bytes, lists_count: int = 900_000) -> bytes:
    """A list of lists, and `last`. With 300,000 of them it is a megabyte in JSON."""
    head = b"\xdd" + (lists_count + 1).to_bytes(4, "big")
    return b"\x83\xaarequest_id\xa1r\xa7command\xa4echo\xa4data" + head + b"\x90" * lists_count + last


ODD_VALUES = {
    "a number out of range": ("json", in_json(b"[" + LISTS + b"1e400]"), "not_representable"),
    "an integer over 64 bits": (
        "json",
        in_json(b"[" + LISTS + b"18446744073709551616]"),
        "not_representable",
    ),
    "a key twice": ("json", in_json(b"[" + LISTS + b'{"a":1,"a":2}]'), None),
    "a list 500 deep": ("json", in_json(b"[" * 500 + LISTS + b"0" + b"]" * 500), None),
    "numbers near the largest": ("json", in_json(b"[" + b"1e308," * 110_000 + b"0]"), None),
    "numbers halfway to the smallest": (
        "json",
        in_json(b"[" + b"2.4703282292062327208299e-324," * 33_000 + b"0]"),
        None,
    ),
    "binary": ("msgpack", in_msgpack(b"\xc4\x00"), "not_representable"),
    "a key that is a number": ("msgpack", in_msgpack(b"\x81\x01\x01"), "not_representable"),
    "not a number": ("msgpack", in_msgpack(b"\xcb\x7f\xf8" + b"\x00" * 6), "not_representable"),
    "not UTF-8": ("msgpack", in_msgpack(b"\xa1\xff"), "not_representable"),
    "a key twice in MessagePack": ("msgpack", in_msgpack(b"\x82\xa1a\x01\xa1a\x02", 300_000), None),
    "every key twice in MessagePack": (
        "msgpack",
        in_msgpack(b"\xdc\xff\xff" + b"\x82\xa0\x01\xa0\x01" * 65_535, 100_000),
        None,
    ),
    "a list 500 deep in MessagePack": ("msgpack", in_msgpack(b"\x91" * 500 + b"\x00", 300_000), None),
}
"""Messages in one encoding, named for how the value ends or what it is full of, and the error if it is refused. What is
refused, or carried, is a megabyte."""
ODD_CPU_S_MAX = 0.02
"""Of the broker, for one of them: reading it, and carrying or refusing it. It was 0.024 to 1.03, and is up to 0.01."""


@pytest.mark.alone
@pytest.mark.parametrize(("encoding", "message", "code"), ODD_VALUES.values(), ids=ODD_VALUES.keys())
async def test_a_large_odd_value_between_encodings_takes_the_broker_milliseconds(
    programs: Programs, encoding: str, message: bytes, code: str | None
) -> None:
    broker = programs.start_broker()
    async with (
        connected(broker.worker_url, "json" if encoding == "msgpack" else "msgpack") as worker,
        connected(broker.requester_url, encoding) as requester,
    ):
        await worker.join("w1", "echo")
        before_s = broker.cpu_s()
        for _ in range(REQUESTS_COUNT):
            await requester.send_raw(message.decode() if encoding == "json" else message)
            if code is None:
                await worker.respond(await worker.receive_assignment(), None)
            response = await requester.receive()
            assert response["success"] == (code is None), response["error"]
            assert code is None or response["code"] == code
        cost_s = (broker.cpu_s() - before_s) / REQUESTS_COUNT
    assert cost_s < ODD_CPU_S_MAX
