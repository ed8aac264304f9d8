"""Values go from one encoding to the other unchanged, or not at all. The msgpack and json packages are the oracles."""

import gc
import json
import math
from contextlib import suppress
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw
from taskferry.protocol.codec import CODECS, DECODE_ERRORS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable
from taskferry.protocol.transcode import transcode

from tests.each_case import each_case

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([0, -1, 127, 128, 255, 256, 2**31, 2**32 - 1, 2**53 + 1, 2**63, 2**64 - 1, -(2**63)]),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


def typed(value: Any) -> Any:
    """`value` with the type of each part made visible: to Python 1, 1.0 and True are equal, 0.0 and -0.0 too."""
    match value:
        case dict():
            return [(key, typed(inner)) for key, inner in value.items()]
        case list():
            return [typed(inner) for inner in value]
        case float():
            return ("float", value.hex())
        case _:
            return (type(value).__name__, value)


def to_msgpack(text: bytes | str) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return bytes(transcode(Raw(data), JSON, MSGPACK))


def to_json(data: bytes) -> str:
    return bytes(transcode(Raw(data), MSGPACK, JSON)).decode()


@pytest.mark.uncovered
@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_json_arrives_equal_in_messagepack(value: Any, ensure_ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    assert typed(msgpack.unpackb(to_msgpack(text))) == typed(value)


@pytest.mark.uncovered
@given(values)
def test_messagepack_arrives_equal_in_json(value: Any) -> None:
    text = to_json(msgpack.packb(value))
    assert typed(json.loads(text)) == typed(value)
    assert typed(msgspec.json.decode(text)) == typed(value)


@pytest.mark.uncovered
@given(values)
def test_there_and_back_again_nothing_has_changed(value: Any) -> None:
    assert typed(msgpack.unpackb(to_msgpack(to_json(msgpack.packb(value))))) == typed(value)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (
            JSON,
            b'{"z": 123456789012345678901234567890, "a":[1e400, 0.30000000000000004, 1.0, 1E2],\t"z":"\\u0041\\/"}',
        ),
        (JSON, b"this is not even JSON"),
        (MSGPACK, b"\xcf\x00\x00\x00\x00\x00\x00\x00\x01"),
        (MSGPACK, b"\xc1"),
    ],
)
def test_between_equals_the_very_bytes_are_passed(encoding: Encoding, data: bytes) -> None:
    raw = Raw(data)
    assert transcode(raw, encoding, encoding) is raw


@each_case(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0.30000000000000004", 0.1 + 0.2),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("1e-400", 0.0),
        ("-0.0", -0.0),
        ("1.0", 1.0),
        ("1E2", 100.0),
        (r'"\ud83d\ude00\u0000\/"', "😀\0/"),
        ('{"a":1,"a":2}', {"a": 2}),
        (" [ 1 ,\n2 ]\t", [1, 2]),
        ("[" * 400 + "]" * 400, None),
    ],
)
def test_what_messagepack_can_hold_is_carried(text: str, value: Any) -> None:
    if value is None:
        value = json.loads(text)
    assert typed(msgpack.unpackb(to_msgpack(text))) == typed(value)


@each_case(
    ("text", "why"),
    [
        ("18446744073709551616", "an integer over 64 bits"),
        ("-9223372036854775809", "an integer over 64 bits"),
        ("123456789012345678901234567890", "an integer over 64 bits"),
        ("[{" + '"a":' + "9" * 5000 + "}]", "out of range"),
        ("1e400", "out of range"),
        ("[-1e400]", "out of range"),
        (r'"\ud800"', "MessagePack cannot hold it"),
        (r'"\ud800 and more"', "MessagePack cannot hold it"),
        (r'{"\udfff":1}', "MessagePack cannot hold it"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    ],
)
def test_what_messagepack_cannot_hold_is_refused(text: str, why: str) -> None:
    with pytest.raises(NotRepresentable, match=why) as caught:
        to_msgpack(text)
    assert caught.value.text.startswith("data: ")
    assert "\n" not in caught.value.text


@each_case(
    ("data", "source"),
    [
        (b"[" + b"[]," * 300_000 + b"[]]", JSON),
        (b"\xdd\x00\x04\x93\xe0" + b"\x90" * 300_000, MSGPACK),
        (b"[" + b"[]," * 300_000 + b"1e400]", JSON),
        (b"\xdd\x00\x04\x93\xe0" + b"\x90" * 299_999 + b"\xc4\x00", MSGPACK),
    ],
)
def test_no_garbage_is_collected_while_a_large_value_is_carried(data: bytes, source: Encoding) -> None:
    runs: list[str] = []
    gc.callbacks.append(lambda phase, _: runs.append(phase))
    try:
        with suppress(NotRepresentable):
            transcode(Raw(data), source, MSGPACK if source is JSON else JSON)
    finally:
        gc.callbacks.pop()
    assert runs == []
    assert gc.isenabled()


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(NotRepresentable):
        to_msgpack(b'"\xff"')


@each_case(
    ("data", "value"),
    [
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 2**64 - 1),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", -(2**63)),
        (b"\xca\x3d\xcc\xcc\xcd", 0.10000000149011612),
        (b"\x82\xa1a\x01\xa1a\x02", {"a": 2}),
        (b"\xd9\x01a", "a"),
        (b"\x80", {}),
        (b"\x91" * 399 + b"\x90", None),
    ],
)
def test_what_json_can_hold_is_carried(data: bytes, value: Any) -> None:
    if value is None:
        value = msgpack.unpackb(data)
    assert typed(json.loads(to_json(data))) == typed(value)


@each_case(
    ("data", "why"),
    [
        (msgpack.packb(b"\x00"), "bytes"),
        (msgpack.packb({"a": [b""]}), "bytes"),
        (msgpack.packb({1: "a"}), "map key"),
        (msgpack.packb({None: "a"}), "map key"),
        (msgpack.packb({True: "a"}), "map key"),
        (msgpack.packb({1.5: "a"}), "map key"),
        (msgpack.packb({b"a": 1}), "bytes"),
        (b"\x81\x90\x01", "map key"),
        (b"\x81\x80\x01", "map key"),
        (msgpack.packb(math.nan), "Out of range"),
        (msgpack.packb([math.inf]), "Out of range"),
        (msgpack.packb(-math.inf), "Out of range"),
        (msgpack.packb(msgpack.Timestamp(1, 500)), "Timestamp"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "bytes"),
        (b"\xc7\x05\xff12345", "timestamp"),
        (b"\xa1\xff", "utf-8"),
        (b"\xa3\xed\xa0\x80", "utf-8"),  # a lone surrogate
        (b"\x91" * 100_000 + b"\x90", "nested too deeply"),
        (b"\xc1", "JSON cannot hold it"),
        (b"\x92\x01", "incomplete"),
        (b"\x01\x02", "extra data"),
        (b"", "incomplete"),
    ],
)
def test_what_json_cannot_hold_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotRepresentable, match=why) as caught:
        to_json(data)
    assert caught.value.text.startswith("data: ")
    assert "\n" not in caught.value.text


def test_letters_beyond_ascii_are_not_escaped_which_would_make_them_longer() -> None:
    assert to_json(msgpack.packb("größe 😀")) == '"größe 😀"'


@each_case("depth", [401, 900, 980, 1000, 1010, 1023, 1024, 1500, 3000])
def test_deep_values_arrive_equal_or_are_refused(depth: int) -> None:
    for carry, data, same in (
        (to_msgpack, b"[" * depth + b"]" * depth, b"\x91" * (depth - 1) + b"\x90"),
        (lambda data: to_json(data).encode(), b"\x91" * (depth - 1) + b"\x90", b"[" * depth + b"]" * depth),
    ):
        try:
            carried = carry(data)
        except NotRepresentable:
            continue
        assert carried == same


@pytest.mark.uncovered
@given(st.binary(max_size=40) | values.map(msgpack.packb).map(lambda data: data[:-1] + b"\xc4\x00"))
def test_nothing_that_a_messagepack_message_can_carry_raises_anything_else(data: bytes) -> None:
    with suppress(*DECODE_ERRORS, NotRepresentable):
        request = CODECS[MSGPACK].request(b"\x82\xa7command\xa1c\xa4data" + data)
        json.loads(bytes(transcode(request.data, MSGPACK, JSON)))


JSON_LETTERS = '{}[]",:\\/0123456789abcdefE+-.nulrtsx \té😀'


@pytest.mark.uncovered
@given(st.text(JSON_LETTERS, max_size=40) | values.map(json.dumps))
def test_nothing_that_a_json_message_can_carry_raises_anything_else(text: str) -> None:
    with suppress(*DECODE_ERRORS, NotRepresentable):
        request = CODECS[JSON].request(b'{"command":"c","data":' + text.encode() + b"}")
        if request.data is not UNSET:
            msgpack.unpackb(transcode(request.data, JSON, MSGPACK))
