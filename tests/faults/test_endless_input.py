"""Lengths, fragments, nesting and numbers without end: each ends with the right code, soon, and in bounded memory."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgpack
import pytest

from tests.faults.raw_peer import BINARY, CONT, PING, TEXT, Frame, RawPeer, answer_to, frame
from tests.processes import Broker, programs_in

MESSAGE_SIZE_BYTES_MAX = 1024 * 1024
DEPTH = 100_000
GROWTH_BYTES_MAX = 48 * 1024 * 1024
"""More than any of these may cost the broker, and far less than what they announce."""
ANSWER_S_MAX = 2.0
"""Far more than any of these takes, on a busy machine as well."""
JSON = "taskferry.v1.json"
MSGPACK = "taskferry.v1.msgpack"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for all of these: none may harm it."""
    with programs_in(tmp_path_factory.mktemp("broker")) as programs:
        broker = programs.start_broker("--grace", "0")
        yield broker
        broker.terminate()
        assert broker.wait() == 0
        assert "Traceback" not in broker.stderr, broker.stderr[-4000:]
        assert " ERROR " not in broker.stderr, broker.stderr[-4000:]


def urls(broker: Broker) -> tuple[str, str]:
    return broker.requester_url, broker.worker_url


# --- frames ---

REFUSED_FRAMES = {
    "2^63 bytes": frame(TEXT, announced_size=2**63),
    "2^63 - 1 bytes": frame(TEXT, announced_size=2**63 - 1),
    "one byte too many": frame(TEXT, announced_size=MESSAGE_SIZE_BYTES_MAX + 1),
    "2^63 - 1 bytes of a ping": frame(PING, announced_size=2**63 - 1),
    "a fragment of 2^40 bytes": frame(TEXT, first_bits=0, announced_size=2**40),
    "two fragments that are too large together": (
        frame(TEXT, b"x" * 600_000, first_bits=0) + frame(CONT, b"x" * 600_000)
    ),
}


@pytest.mark.parametrize("name", REFUSED_FRAMES)
def test_an_announced_length_is_refused_before_anything_of_it_is_taken(broker: Broker, name: str) -> None:
    for url in urls(broker):
        with RawPeer(url) as peer:
            peer.send(REFUSED_FRAMES[name])
            assert peer.close_code() == 1009


def test_frames_that_are_only_announced_cost_no_memory(broker: Broker) -> None:
    before = broker.rss_bytes()
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(broker.requester_url)) for _ in range(400)]
        for peer in peers:
            peer.send(frame(TEXT, b'{"command": "', announced_size=MESSAGE_SIZE_BYTES_MAX))
        with RawPeer(broker.requester_url) as other:
            assert other.is_alive()
        assert broker.rss_bytes() - before < GROWTH_BYTES_MAX


FRAGMENTS = {"empty": b"", "of a byte": b" ", "of a kilobyte": b" " * 1024}


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragments_without_end_are_1009(broker: Broker, name: str) -> None:
    fragment = frame(CONT, FRAGMENTS[name], first_bits=0)
    before = broker.rss_bytes()
    for url in urls(broker):
        with RawPeer(url) as peer:
            peer.send(frame(TEXT, b"{", first_bits=0))
            while peer.send_while_open(fragment * 1000):
                pass
            assert peer.close_code() == 1009
    assert broker.rss_bytes() - before < GROWTH_BYTES_MAX


# --- messages ---


def with_data(data: bytes) -> bytes:
    return b'{"request_id": "r", "command": "nobody-serves-this", "data": %s}' % data


def packed_with_data(data: bytes) -> bytes:
    head = b"".join(
        msgpack.packb(text) for text in ("request_id", "r", "command", "nobody-serves-this", "data")
    )
    return b"\x83" + head + data


MESSAGES: dict[str, tuple[str, bytes, str]] = {
    # what is sent, and the beginning of the error
    "an array without end": (JSON, b"[" * DEPTH, "message: "),
    "data that is an array without end": (JSON, with_data(b"[" * DEPTH), "message: nested too deeply"),
    "deep arrays": (JSON, with_data(b"[" * DEPTH + b"]" * DEPTH), "message: nested too deeply"),
    "deep objects": (JSON, with_data(b'{"a":' * DEPTH + b"1" + b"}" * DEPTH), "message: nested too deeply"),
    "deep beside data": (JSON, b'{"command": "c", "x": ' + b"[" * DEPTH + b"]" * DEPTH + b"}", "message: "),
    "a million open arrays": (JSON, b"[" * 1_000_000, "message: "),
    "a million digits": (JSON, b'{"command": "c", "priority": ' + b"1" * 1_000_000 + b"}", "priority: "),
    "a million digits of a fraction": (
        JSON,
        b'{"command": "c", "timeout": 0.' + b"0" * 1_000_000 + b"1}",
        "timeout: ",
    ),
    "a million backslashes": (JSON, b'{"command": "' + b"\\" * 1_000_001 + b'"}', "not valid JSON: "),
    "100,000 equal keys": (JSON, b"{" + b'"command":1,' * 80_000 + b'"command":2}', "command: "),
    "deep arrays, packed": (
        MSGPACK,
        packed_with_data(b"\x91" * DEPTH + b"\xc0"),
        "message: nested too deeply",
    ),
    "deep maps, packed": (
        MSGPACK,
        packed_with_data(b"\x81\xa0" * DEPTH + b"\xc0"),
        "message: nested too deeply",
    ),
    "an array of 2^32 - 1": (MSGPACK, packed_with_data(b"\xdd\xff\xff\xff\xff"), "not valid MessagePack: "),
    "a map of 2^32 - 1": (MSGPACK, b"\xdf\xff\xff\xff\xff", "not valid MessagePack: "),
    "a text of 2^32 - 1": (MSGPACK, packed_with_data(b"\xdb\xff\xff\xff\xff"), "not valid MessagePack: "),
    "binary of 2^32 - 1": (MSGPACK, packed_with_data(b"\xc6\xff\xff\xff\xff"), "not valid MessagePack: "),
    "an extension of 2^32 - 1": (
        MSGPACK,
        packed_with_data(b"\xc9\xff\xff\xff\xff\x01"),
        "not valid MessagePack: ",
    ),
}


def answered(peer: RawPeer, opcode: int, payload: bytes, decode: Callable[[bytes], Any]) -> Any:
    """The next message after `payload` was sent, which must come soon."""
    began_at = time.monotonic()
    peer.send(frame(opcode, payload))
    found = peer.receive()
    assert time.monotonic() - began_at < ANSWER_S_MAX
    assert isinstance(found, Frame)
    assert found.opcode == opcode, found
    return decode(found.payload)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_without_end_is_an_error_on_a_connection_that_stays_open(broker: Broker, name: str) -> None:
    subprotocol, payload, text = MESSAGES[name]
    assert len(payload) <= MESSAGE_SIZE_BYTES_MAX
    opcode, decode = (TEXT, json.loads) if subprotocol == JSON else (BINARY, msgpack.unpackb)
    before = broker.rss_bytes()
    with RawPeer(broker.requester_url, subprotocol) as requester:
        answer = answered(requester, opcode, payload, decode)
        assert (answer["success"], answer["code"]) == (False, "bad_request")
        assert answer["error"].startswith(text), answer["error"]
        assert len(answer["error"]) <= 4096
        assert requester.is_alive()
    with RawPeer(broker.worker_url, subprotocol) as worker:
        answer = answered(worker, opcode, payload, decode)
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "bad_message"
    assert broker.rss_bytes() - before < GROWTH_BYTES_MAX


# --- handshakes ---


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"x" * 100_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 10_000_000, 431),
    ],
    ids=["a path", "lines", "a line"],
)
def test_a_head_without_end_is_refused(broker: Broker, head: bytes, status: int) -> None:
    before = broker.rss_bytes()
    for url in urls(broker):
        assert answer_to(url, head[:20_000]).startswith(b"HTTP/1.1 %d " % status)
        answer_to(url, head)  # its answer may be lost in the reset, for it goes on sending
        with RawPeer(url) as peer:
            assert peer.is_alive()
    assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
