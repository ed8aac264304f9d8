"""Encoding and decoding: what is read is what was written, and every failure is one of a few, described in one line."""

import json
import typing
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw, Struct
from taskferry.protocol import messages
from taskferry.protocol.codec import CODECS, DECODE_ERRORS, Codec, describe
from taskferry.protocol.encodings import Encoding

from tests.each_case import each_case
from tests.unit.protocol.vectors import load

JSON, MSGPACK = CODECS[Encoding.JSON], CODECS[Encoding.MSGPACK]
READERS = ["request", "requester_control", "outcome", "from_worker", "from_broker", "any_id"]


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: str(codec.encoding.value))
def test_the_constants_are_an_empty_map_and_null(codec: Codec) -> None:
    library = json if codec is JSON else msgpack
    read: Any = library.loads if codec is JSON else msgpack.unpackb
    assert read(bytes(codec.empty_data)) == {}
    assert read(bytes(codec.null)) is None


def test_each_encoding_has_its_codec() -> None:
    assert {encoding: codec.encoding for encoding, codec in CODECS.items()} == {one: one for one in Encoding}


def written(data: bytes) -> list[Struct]:
    """One of each message that a program writes, with `data` if it carries data."""
    raw = Raw(data)
    hello = messages.Hello(["c"], "w", "i", 3, 0.5, {"k": "v"}, "sdk")
    return [
        messages.WorkerConnect(hello, "1", 5.0),
        messages.WorkerResponse("1", messages.Result(True, raw), 5.0),
        messages.WorkerResponse("1", messages.Result(False, UNSET, "no", "own_code")),
        messages.Disconnect(messages.Reason("why"), "1", 5.0),
        messages.Heartbeat("1", 5.0),
        messages.ErrorMessage(messages.Fault("bad_message", "what?"), "1", 5.0),
        messages.ErrorMessage(messages.Fault("rate_limited", "too soon", 0.5), "1", 5.0),
        messages.Connected(messages.Welcome("w"), "1", 5.0),
        messages.AssignmentMessage("1", 5.0, messages.Call("c", raw, 2.5, "r", "t")),
        messages.AssignmentMessage("1", 5.0, messages.Call("c", raw, 2.5, "r")),
        messages.CancelAssignment("1", messages.Reason("timeout"), 5.0),
    ]


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: str(codec.encoding.value))
def test_what_one_program_writes_the_other_reads(codec: Codec) -> None:
    for message in written(codec.encode({"a": [1, None]})):
        payload = codec.encode(message)
        if isinstance(message, typing.get_args(messages.FromBroker)):
            assert codec.from_broker(payload) == message
        if isinstance(message, typing.get_args(messages.FromWorker)):
            assert codec.from_worker(payload) == message


def test_data_is_written_as_it_is() -> None:
    text = b'{"z": 123456789012345678901234567890, "a":[1e400,1.0,1E2],\t"z":"\\u0041\\/"}'
    request = JSON.request(b'{"command":"c","data":' + text + b"}")
    call = messages.Call("c", request.data, 1.0, "r")
    assert text in JSON.encode(messages.AssignmentMessage("1", 0.0, call))
    data = b"\xcf\x00\x00\x00\x00\x00\x00\x00\x01"
    request = MSGPACK.request(b"\x82\xa7command\xa1c\xa4data" + data)
    call = messages.Call("c", request.data, 1.0, "r")
    assert data in MSGPACK.encode(messages.AssignmentMessage("1", 0.0, call))


PAYLOADS = [vector.payload for vector in load() if len(vector.payload) < 1000]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message with a piece replaced by something else."""
    payload = draw(st.sampled_from(PAYLOADS))
    start = draw(st.integers(0, len(payload)))
    return payload[:start] + draw(st.binary(max_size=4)) + payload[start + draw(st.integers(0, 4)) :]


@given(st.sampled_from(list(CODECS.values())), st.sampled_from(READERS), damaged() | st.binary(max_size=60))
def test_a_decoder_raises_only_what_is_declared(codec: Codec, reader: str, payload: bytes) -> None:
    try:
        getattr(codec, reader)(payload)
    except DECODE_ERRORS as error:
        text = describe(error, codec.encoding)
        assert text
        assert "\n" not in text
        assert ": " in text


def failure(codec: Codec, reader: str, payload: bytes) -> str:
    with pytest.raises(DECODE_ERRORS) as caught:
        getattr(codec, reader)(payload)
    return describe(caught.value, codec.encoding)


@each_case(
    ("reader", "text", "expected"),
    [
        ("request", '{"command":"c","timeout":3601}', "timeout: Expected `float` <= 3600.0"),
        (
            "from_worker",
            '{"type":"connect","data":{"commands":["a",5]}}',
            "data.commands[1]: Expected `str`, got `int`",
        ),
        ("from_worker", '{"type":"connect","data":{}}', "data.commands: missing"),
        ("from_worker", "{}", "type: missing"),
        ("request", "[]", "message: Expected `object`, got `array`"),
        ("request", "{", "not valid JSON: Input data was truncated"),
        ("request", "{},", "not valid JSON: trailing characters (byte 3)"),
        ("request", '{"command":"c","data":' + "[" * 100_000, "message: nested too deeply"),
    ],
)
def test_a_failure_is_described_in_one_line(reader: str, text: str, expected: str) -> None:
    assert failure(JSON, reader, text.encode()) == expected


def test_text_that_is_not_utf_8_is_reported() -> None:
    expected = "not valid JSON: a string is not UTF-8"
    assert failure(JSON, "request", b'{"command":"a\xff"}') == expected
    expected = "not valid MessagePack: a string is not UTF-8"
    assert failure(MSGPACK, "request", b"\x81\xa7command\xa2a\xff") == expected


def test_data_may_be_nested_deeply_enough_for_anybody() -> None:
    for codec, data in ((JSON, b"[" * 400 + b"]" * 400), (MSGPACK, b"\x91" * 400 + b"\x90")):
        head = b'{"command":"c","data":' if codec is JSON else b"\x82\xa7command\xa1c\xa4data"
        assert bytes(codec.request(head + data + (b"}" if codec is JSON else b"")).data) == data


@each_case(
    ("text", "request_id", "msg_id"),
    [
        ('{"request_id":"r","timeout":-1}', "r", None),
        ('{"msg_id":"m","type":"response"}', None, "m"),
        ('{"request_id":{"a":1},"msg_id":[5]}', {"a": 1}, [5]),
        ("{}", None, None),
        ("[]", None, None),
        ('{"request_id":"r"', None, None),
        ('{"request_id":' + "[" * 100_000, None, None),
    ],
)
def test_the_ids_of_an_unreadable_message_are_found_if_they_can_be(
    text: str, request_id: object, msg_id: object
) -> None:
    ids = JSON.ids_in(text.encode())
    assert (ids.request_id, ids.msg_id) == (request_id, msg_id)
    try:
        ids = MSGPACK.ids_in(msgpack.packb(json.loads(text)))
    except (json.JSONDecodeError, RecursionError):
        return
    assert (ids.request_id, ids.msg_id) == (request_id, msg_id)


def test_ids_that_are_not_utf_8_are_not_read() -> None:
    assert JSON.ids_in(b'{"request_id":"\xff"}') == messages.AnyId()
    assert MSGPACK.ids_in(b"\x81\xa6msg_id\xa1\xff") == messages.AnyId()


def test_a_number_is_a_message_to_no_reader() -> None:
    for reader in READERS:
        with pytest.raises(msgspec.ValidationError):
            getattr(JSON, reader)(b"5")
