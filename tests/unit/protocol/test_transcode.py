"""Values go from one encoding to the other unchanged, or not at all. The msgpack and json packages are the oracles."""

import gc
import json
import math
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, localcontext
from importlib.util import find_spec, module_from_spec
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
from taskferry.protocol.transcode import to_json as to_json_in_c
from taskferry.protocol.transcode import to_msgpack as to_msgpack_in_c
from taskferry.protocol.transcode import transcode, transcode_by_parts

from tests.each_case import each_case

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK

is_built = pytest.mark.skipif(to_json_in_c(b"\x01") is None, reason="_to_json.c was not built")

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
    gc.collect()  # what the tests before have left must not bring it about
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


def by_parts(data: bytes, source: Encoding) -> bytes | str:
    """What comes of it, or why nothing does."""
    try:
        return bytes(transcode_by_parts(Raw(data), source))
    except NotRepresentable as error:
        return error.text


def in_c(data: bytes, source: Encoding) -> bytes | str | None:
    """The same by compiled code alone; None for what it leaves to the way by parts."""
    with suppress(OverflowError, RecursionError, ValueError):
        if (to_msgpack_in_c if source is JSON else to_json_in_c)(data) is None:
            return None
    try:
        return bytes(transcode(Raw(data), source, MSGPACK if source is JSON else JSON))
    except NotRepresentable as error:
        return error.text


def are_same(answer: bytes | str, expected: bytes | str) -> bool:
    """Whether compiled code answers as the way by parts, whose limit of depth depends on what has called it. What is
    no key is refused in C at once, by msgpack only after its value was decoded, if that has not failed."""
    if isinstance(expected, bytes):
        return answer == expected
    if isinstance(answer, bytes):
        return "nested too deeply" in expected
    return expected.startswith(answer) or "is not allowed for map key" in answer  # later Pythons say more


odd_texts = texts | st.text('\\"/\b\f\n\r\t\x00\x1f \x7fé\u2028\U0001f600', max_size=8)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.decimals(-1_000_000, 1_000_000, places=3).map(float),
    st.integers(0, 64).flatmap(lambda bits: st.integers(-(2**bits) // 2, 2**bits - 1)),
)
odd_values = st.recursive(
    scalars | odd_texts | numbers,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(odd_texts, inner, max_size=20),
    max_leaves=60,
)


@is_built
@pytest.mark.uncovered
@given(odd_values, st.booleans(), st.sampled_from([None, 1]))
def test_compiled_code_carries_json_as_the_way_by_parts_does(
    value: Any, ensure_ascii: bool, indent: int | None
) -> None:
    data = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent).encode()
    carried = to_msgpack_in_c(data)
    assert carried is not None
    assert carried == by_parts(data, JSON)


@is_built
@pytest.mark.uncovered
@given(odd_values, st.booleans())
def test_compiled_code_carries_messagepack_as_the_way_by_parts_does(value: Any, is_single: bool) -> None:
    data = msgpack.packb(value, use_single_float=is_single and not has_large(value))
    carried = to_json_in_c(data)
    assert carried is not None
    assert carried == by_parts(data, MSGPACK)


def assert_written_as_python_does(number: float) -> None:
    for signed in (number, -number):
        assert to_json_in_c(msgpack.packb(signed)) == repr(signed).encode()


@is_built
@pytest.mark.uncovered
@given(
    st.one_of(
        st.floats(0, allow_nan=False, allow_infinity=False),
        st.floats(2**-40, 2**60, width=32),
        st.floats(1e-12, 1e18),
        numbers.map(float),
    )
)
def test_compiled_code_writes_a_float_as_python_does(number: float) -> None:
    assert_written_as_python_does(number)


@is_built
def test_compiled_code_writes_the_floats_around_powers_as_python_does() -> None:
    for power in [
        *(2.0**exponent for exponent in range(-1074, 1024)),
        *(10.0**exponent for exponent in range(-323, 309)),
    ]:
        below = above = power
        for _ in range(5):
            if below > 0:
                assert_written_as_python_does(below)
            assert_written_as_python_does(above)
            below, above = math.nextafter(below, 0.0), math.nextafter(above, math.inf)
    for number in (
        0.0,
        0.0001,
        0.00012,
        0.00001,
        1.5e-7,
        123456.0,
        9007199254740993.0,
        5e-324,
        sys.float_info.max,
    ):
        assert_written_as_python_does(number)


def has_large(value: Any) -> bool:
    """Whether there is a number that 32 bits cannot hold."""
    if isinstance(value, dict | list):
        return any(map(has_large, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and abs(value) > 3e38


@is_built
@each_case(
    "value",
    [
        *([0] * count for count in (15, 16, 65535, 65536)),
        *({str(number): number for number in range(count)} for count in (8, 9, 15, 16, 65535, 65536)),
        *("é" + "a" * size for size in (29, 30, 253, 254, 65533, 65534)),
        *("\n" + "a" * size for size in (30, 31, 254, 255, 65534, 65535)),
        {"a" * size: size for size in range(300)},
        json.loads("[" * 257 + "]" * 257),
        json.loads('{"a":' * 256 + "0" + "}" * 256),
    ],
)
def test_compiled_code_carries_all_lengths(value: Any) -> None:
    for carry, data, source in (
        (to_msgpack_in_c, json.dumps(value).encode(), JSON),
        (to_json_in_c, msgpack.packb(value), MSGPACK),
    ):
        carried = carry(data)
        assert carried is not None
        assert carried == by_parts(data, source)


@is_built
@each_case(
    ("source", "data"),
    [
        (JSON, b"[" * 257 + b"0" + b"]" * 257),
        (JSON, b'{"a":1,"\\u0061":2}'),
        (JSON, b'{"a":1,"b":[2],"a":{"c":3,"c":{"d":4,"d":5}},"b":[{}],"e":6}'),
        (JSON, b'[{"a":18446744073709551616,"a":1}]'),
        (JSON, b'{"a":[18446744073709551616,{"b":18446744073709551616}],"c":1,"a":1}'),
        (JSON, b"{" + b",".join(b'"%d":%d' % (number % 99, number) for number in range(300)) + b"}"),
        *((JSON, b'[{"a":1,"b":"' + b"x" * size + b'","a":2},3]') for size in range(236, 260)),
        *(
            (MSGPACK, b"\x92\x83\xa1a\x01\xa1b\xd9%c" % size + b"x" * size + b"\xa1a\x02\x03")
            for size in range(225, 255)
        ),
        (JSON, b"0." + b"1" * 5000),
        (JSON, b"0." + b"0" * 5000 + b"1e5001"),
        (JSON, b"1" + b"0" * 5000 + b"e-5000"),
        (JSON, b"1e-99999999999999999999"),
        (JSON, b"-0.0e99999999999999999999"),
        (JSON, b"1.7976931348623158079372897140e308"),  # less than half the way to infinity
        (JSON, b"[" + b",".join([b"1e308"] * 5001) + b"]"),
        (MSGPACK, b"\x91" * 257 + b"\x00"),
        (MSGPACK, b"\x82\xa1a\x01\xd9\x01a\x02"),
        (MSGPACK, b"\x84\xa1a\xc0\xa1b\x91\x02\xa1a\x82\xa1c\x03\xa1c\x90\xa1b\x80"),
        (MSGPACK, b"\x83\xa1a\x92\xc4\x00\x81\xc4\x00\xcb\x7f\xf8" + b"\x00" * 6 + b"\xa1b\x01\xa1a\x02"),
        (
            MSGPACK,
            b"\xde\x01\x2c"
            + b"".join(b"\xa2%02d\xcd\x01%c" % (number % 99, number % 256) for number in range(300)),
        ),
    ],
)
def test_compiled_code_carries_what_is_unusual(source: Encoding, data: bytes) -> None:
    expected = by_parts(data, source)
    assert isinstance(expected, bytes)
    assert in_c(data, source) == expected


@is_built
@each_case(
    ("source", "data"),
    [
        (JSON, b"1e400"),
        (JSON, b"-1e309"),
        (JSON, b"1e99999999999999999999"),
        (JSON, b"1" * 400 + b".5"),
        (JSON, b"1.7976931348623158079372897141e308"),
        (JSON, b'[0,[],{"a":[{"b":1},{"c":1,"d":[1,2,1e400]}]}]'),
        (JSON, b"[18446744073709551616,1e400]"),
        (JSON, b"18446744073709551616"),
        (JSON, b"-9223372036854775809"),
        (JSON, b"9" * 4300),
        (JSON, b"9" * 4301),
        (JSON, b"-" + b"9" * 4300),
        (JSON, b'{"a":1,"a":18446744073709551616}'),
        (JSON, b'["' + b"a" * 50 + b'",' + b"9" * 5000 + b"]"),
        (JSON, b"[" * 5000 + b"]" * 5000),
        (MSGPACK, b"\xc4\x00"),
        (MSGPACK, b"\xc5\x00\x01a"),
        (MSGPACK, b"\xc6\x00\x00\x00\x01a"),
        (MSGPACK, b"\xd4\x05x"),
        (MSGPACK, b"\xc8\x00\x00\x05"),
        (MSGPACK, b"\xc9\x00\x00\x00\x00\x05"),
        (MSGPACK, b"\xd6\xff\x00\x00\x00\x01"),
        (MSGPACK, b"\xd7\xff" + b"\x00" * 8),
        (MSGPACK, b"\xd7\xff" + b"\xff" * 8),
        (MSGPACK, b"\xc7\x0c\xff" + b"\x00" * 12),
        (MSGPACK, b"\xc7\x0c\xff" + b"\xff" * 12),
        (MSGPACK, b"\xc7\x05\xff12345"),
        *((MSGPACK, b"\xd4" + code + b"x") for code in (b"\x7f", b"\x80", b"\xfe", b"\xff")),
        (MSGPACK, b"\xca\x7f\x80\x00\x00"),
        (MSGPACK, b"\xcb\xff\xf8" + b"\x00" * 6),
        (MSGPACK, b"\x92\xc4\x00\xcb\xff\xf8" + b"\x00" * 6),
        (MSGPACK, b"\x92\xc4\x00\xa2a\xff"),  # what cannot be decoded comes first
        (MSGPACK, b"\x82\xa1a\x01\xc4\x01a\xcb\x7f\xf0" + b"\x00" * 6),
        (MSGPACK, b"\x83\xa1a\xc4\x00\xa1b\xcb\x7f\xf0" + b"\x00" * 6 + b"\xa1a\xd6\xff\x00\x00\x00\x01"),
        *(
            (MSGPACK, b"\x81" + key + b"\x01")
            for key in (b"\x01", b"\xff", b"\xcc\xff", b"\xd3" + b"\x00" * 8)
        ),
        *((MSGPACK, b"\x81" + key + b"\x01") for key in (b"\xc0", b"\xc2", b"\xc3", b"\xca\x00\x00\x00\x00")),
        *((MSGPACK, b"\x81" + key + b"\x01") for key in (b"\x90", b"\x80", b"\x91\x01", b"\xde\x00\x00")),
        *(
            (MSGPACK, b"\x81" + key + b"\x01")
            for key in (b"\xd4\x05x", b"\xd6\xff\x00\x00\x00\x01", b"\xa1\xff")
        ),
        (MSGPACK, b"\x91" * 5000 + b"\x90"),
    ],
)
def test_compiled_code_refuses_as_the_way_by_parts_does(source: Encoding, data: bytes) -> None:
    expected = by_parts(data, source)
    assert isinstance(expected, str)
    assert in_c(data, source) == expected


@is_built
@each_case(
    ("carry", "data", "other"),
    [
        (to_msgpack_in_c, b"[" * 1024 + b"0" + b"]" * 1024, b"\x91" * 1024 + b"\x00"),
        (to_json_in_c, b"\x91" * 1024 + b"\x00", b"[" * 1024 + b"0" + b"]" * 1024),
    ],
)
def test_up_to_its_depth_compiled_code_carries_all(
    carry: Callable[[bytes], bytes | None], data: bytes, other: bytes
) -> None:
    assert carry(data) == other
    deeper = b"[" + data + b"]" if carry is to_msgpack_in_c else b"\x91" + data
    with pytest.raises(RecursionError):
        carry(deeper)


@each_case(
    ("source", "data"),
    [(JSON, b"[1"), (JSON, b"[1]]"), (JSON, b'"\\x"'), (MSGPACK, b"\xc1"), (MSGPACK, b"\x92\xc4\x00")],
)
def test_what_no_client_can_send_is_left_to_the_way_by_parts(source: Encoding, data: bytes) -> None:
    assert in_c(data, source) in (None, by_parts(data, source))
    assert (to_msgpack_in_c if source is JSON else to_json_in_c)(data) is None
    with pytest.raises(NotRepresentable):
        transcode(Raw(data), source, MSGPACK if source is JSON else JSON)


class Entries(tuple[tuple[bytes, Any], ...]):
    """An object, of which a key may come twice. Keys, and values that are neither this nor a list, are bytes."""


def written(value: Any, source: Encoding) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, Entries):
        keys = [key for key, _ in value]
        parts = [written(inner, source) for _, inner in value]
        if source is JSON:
            return b"{" + b",".join(key + b":" + part for key, part in zip(keys, parts, strict=True)) + b"}"
        return b"\xde" + len(keys).to_bytes(2, "big") + b"".join(map(bytes.__add__, keys, parts))
    parts = [written(inner, source) for inner in value]
    return (
        b"[" + b",".join(parts) + b"]"
        if source is JSON
        else b"\xdc" + len(parts).to_bytes(2, "big") + b"".join(parts)
    )


def made_of(keys: list[bytes], leaves: list[bytes]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(st.tuples(st.sampled_from(keys), inner), max_size=20).map(Entries)
        ),
        max_leaves=40,
    )


in_json = made_of(
    [b'"a"', b'"\\u0061"', b'""', *(b'"%d"' % number for number in range(8))],
    [b"0", b'"a"', b"1.5", b"[]", b"{}", b"1e300", b"18446744073709551616"] * 3 + [b"1e400", b"9" * 4301],
)
in_msgpack = made_of(
    [b"\xa1a", b"\xd9\x01a", b"\xa0", *(b"\xa1%d" % number for number in range(8))] * 3
    + [b"\xc4\x01a", b"\xc0"],
    [b"\x00", b"\xa1a", b"\xcb" + b"?" * 8, b"\x90", b"\x80", b"\xc4\x00", b"\xcb\x7f\xf8" + b"\x00" * 6] * 3
    + [b"\xa1\xff", b"\xd6\xff\x00\x00\x00\x01", b"\xd4\xff\x00"],
)


@is_built
@pytest.mark.uncovered
@given(in_json, in_msgpack)
def test_compiled_code_answers_objects_with_a_key_twice_as_the_way_by_parts_does(
    json_value: Any, msgpack_value: Any
) -> None:
    for source, value in ((JSON, json_value), (MSGPACK, msgpack_value)):
        data = written(value, source)
        answer = in_c(data, source)
        assert answer is not None
        assert are_same(answer, by_parts(data, source))


@is_built
@pytest.mark.uncovered
@given(
    st.floats(0, allow_nan=False, allow_infinity=False),
    st.integers(1, 800),
    st.sampled_from(["", "0", "1", "0" * 900 + "1", "9"]),
    st.integers(0, 30),
)
def test_compiled_code_reads_what_is_halfway_between_floats_as_python_does(
    number: float, digits_count: int, tail: str, point: int
) -> None:
    above = math.nextafter(number, math.inf)
    with localcontext() as context:
        context.prec = 1200
        halfway = (Decimal(number) + (Decimal(2) ** 1024 if math.isinf(above) else Decimal(above))) / 2
    _, all_digits, exponent = halfway.as_tuple()
    assert isinstance(exponent, int)
    for count in (len(all_digits), digits_count):
        digits = "".join(map(str, all_digits[:count])) + tail
        exponent_of_digits = exponent + len(all_digits[:count]) + max(len(all_digits) - count, 0)
        before = digits[:point] or "0"
        text = f"{before}.{digits[point:] or '0'}e{exponent_of_digits - min(point, len(digits))}"
        expected = float(text)
        answer = in_c(text.encode(), JSON)
        if math.isinf(expected):
            assert answer == "data: MessagePack cannot hold it: Number out of range"
        else:
            assert answer == msgpack.packb(expected)


@pytest.mark.uncovered
@given(st.binary(max_size=40), st.text('{}[]",:\\/0123456789abcdefE+-.nulrtsx \té😀', max_size=40), values)
def test_compiled_code_answers_damaged_values_as_the_way_by_parts_does(
    data: bytes, text: str, value: Any
) -> None:
    chance = random.Random(data)
    for source, good in ((JSON, json.dumps(value).encode()), (MSGPACK, msgpack.packb(value))):
        at = chance.randrange(len(good) + 1)
        for damaged in (data, text.encode(), good[:at], good[:at] + data[:1] + good[at:], good + data[:1]):
            answer, expected = in_c(damaged, source), by_parts(damaged, source)
            assert isinstance(expected, str) if answer is None else are_same(answer, expected)


def repeated(item: bytes, between: bytes = b"") -> bytes:
    return between.join([item] * (REPEATED_SIZE_BYTES // (len(item) + len(between))))


REPEATED_SIZE_BYTES = 100_000


@is_built
@each_case(
    ("carry", "data"),
    [
        *(
            (to_msgpack_in_c, b"[" + repeated(item, b",") + b"]")
            for item in (
                b"[]",
                b"{}",
                b"0",
                b'"a"',
                b"[0]",
                b'{"a":0}',
                b"0.1",
                b"[" * 200 + b"]" * 200,
                b"[[0]]",
            )
        ),
        *(
            (to_json_in_c, b"\xdd" + (REPEATED_SIZE_BYTES // len(item)).to_bytes(4, "big") + repeated(item))
            for item in (
                b"\x90",
                b"\x80",
                b"\xc0",
                b"\x01",
                b"\xa1a",
                b"\xa1\0",
                b"\x91\x01",
                b"\x81\xa1a\x01",
            )
        ),
        (to_msgpack_in_c, b'{"' + b'":1,"'.join(b"%06d" % number for number in range(10_000)) + b'":1}'),
    ],
)
def test_what_is_dear_by_parts_is_not_left_to_that(
    carry: Callable[[bytes], bytes | None], data: bytes
) -> None:
    carried = carry(data)
    assert carried is not None
    assert carried == by_parts(data, JSON if carry is to_msgpack_in_c else MSGPACK)


def test_without_the_compiled_code_all_is_carried_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taskferry.protocol._to_json", None)
    spec = find_spec("taskferry.protocol.transcode")
    assert spec is not None
    assert spec.loader is not None
    pure = module_from_spec(spec)
    spec.loader.exec_module(pure)
    assert pure.to_json(b"\x01") is None
    assert pure.to_msgpack(b"1") is None
    assert bytes(pure.transcode(Raw(b'{"a":[1]}'), JSON, MSGPACK)) == b"\x81\xa1a\x91\x01"
    assert bytes(pure.transcode(Raw(b"\x81\xa1a\x91\x01"), MSGPACK, JSON)) == b'{"a":[1]}'


@is_built
def test_compiled_code_takes_bytes_and_raw_alone() -> None:
    for carry in (to_json_in_c, to_msgpack_in_c):
        with pytest.raises(TypeError):
            carry("1")  # type: ignore[arg-type]  # that is the point
        assert carry(b"") is None
        assert carry(Raw(b"")) is None
