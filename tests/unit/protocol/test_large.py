"""Large messages: what the compiled code finds and accepts is what the decoder and `json` would have.

If the code was not built, or not for this processor, the decoder reads every message, and only that is tested.
"""

import itertools
import json
import random
import string
import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from taskferry.protocol.codec import CODECS, DECODE_ERRORS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.large import (
    LARGE_FROM_WORKER_DECODERS,
    LARGE_REQUEST_DECODERS,
    LARGE_SIZE_BYTES,
    find_value,
)
from taskferry.protocol.messages import Request, WorkerResponse
from taskferry.protocol.stream_messages import WorkerChunk

from tests.each_case import each_case
from tests.fuzz.json_target import DEPTH_AT_THE_LIMIT
from tests.fuzz.json_target import check as check_as_fuzzing_does

try:
    from taskferry.protocol._json import find_value_anywhere
except ImportError:
    find_value_anywhere = find_value

DEPTH_MAX = 256
"""Of `_json.c`."""

is_found = pytest.mark.skipif(
    find_value(b'{"data":0}', (b"data",)) is None, reason="_json.c was not built, or not for this processor"
)

TEXTS = st.text(max_size=12) | st.text('\\"/\n\t\x00\x1f \x7fé\u2028\U0001f600', max_size=8)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=40,
)
LAYOUTS = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"separators": (",", ":"), "ensure_ascii": False},
        {},
        {"indent": 2},
        {"indent": "\t", "separators": (" \r,", " : ")},
    ]
)


def accepted_by_json(text: bytes) -> bool:
    """What the standard library accepts, without what it accepts beyond RFC 8259, and without half a surrogate pair."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(text.decode(), parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def check(data: bytes, offset: int) -> None:
    """`data`, valid or not, as a request's at any offset in a block of 64 bytes."""
    before, behind = b" " * offset + b'{"command":"echo","data":', b',"idempotent":true}'
    message = before + data + behind
    found = find_value(message, (b"data",))
    assert find_value_anywhere(message, (b"data",)) == found
    assert (found is not None) == accepted_by_json(data), data
    if found is not None:
        start, end = found
        assert message[start:end] == data.strip(b" \t\n\r")
        data_read = CODECS[Encoding.JSON].request(message).data
        assert isinstance(data_read, Raw)
        assert bytes(data_read) == message[start:end]


@is_found
@pytest.mark.uncovered
@given(VALUES, LAYOUTS, st.integers(0, 130))
def test_a_value_is_found_wherever_it_is(value: object, layout: dict[str, object], offset: int) -> None:
    check(json.dumps(value, **layout).encode(), offset)  # type: ignore[arg-type]  # options of several types


@is_found
@pytest.mark.uncovered
@given(
    VALUES,
    LAYOUTS,
    st.integers(0, 130),
    st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.sampled_from(list(b'{}[],:" \n\\u0a1-.eEtfn\x00\x1f\xc3')),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    ),
)
@settings(max_examples=400)
def test_what_is_broken_is_let_through_by_neither(
    value: object, layout: dict[str, object], offset: int, edits: list[tuple[int, int, bool]]
) -> None:
    data = bytearray(json.dumps(value, **layout).encode())  # type: ignore[arg-type]  # options of several types
    for at, byte, is_inserted in edits:
        start = at % len(data)
        data[start : start + (not is_inserted)] = bytes([byte])
    try:
        data.decode()
    except UnicodeDecodeError:
        return  # framing.py has refused it before
    if is_one_value_at_most(bytes(data)):
        check(bytes(data), offset)


def is_one_value_at_most(data: bytes) -> bool:
    """Not `1,"data":2` or `1}`, which are not values but make another message that is valid."""
    return not accepted_by_json(b'{"data":' + data + b',"idempotent":true}') or accepted_by_json(data)


def sequences(tokens: list[bytes], count_max: int) -> Iterator[bytes]:
    for count in range(1, count_max + 1):
        for chosen in itertools.product(tokens, repeat=count):
            yield b"".join(chosen)


@is_found
@pytest.mark.uncovered
def test_every_short_sequence_of_tokens() -> None:
    chance = random.Random(1)
    for inside in sequences([b"{", b"}", b"[", b"]", b",", b":", b'"a"', b"1", b" "], 5):
        for data in (b"[" + inside + b"]", b'{"b":' + inside + b"}"):
            if is_one_value_at_most(data):
                check(data, chance.choice([0, chance.randrange(64)]))


@is_found
@pytest.mark.uncovered
def test_every_short_number() -> None:
    chance = random.Random(2)
    for number in sequences([b"-", b"+", b".", b"e", b"E", b"0", b"7"], 5):
        check(b"[" + number + b"]", chance.randrange(64))


@is_found
def test_every_escape_at_every_place_of_a_block() -> None:
    hexadecimal = [
        b"\\u00e9",
        b"\\uD83D\\uDE00",
        b"\\ud83d",
        b"\\uDE00",
        b"\\ud83d\\u0041",
        b"\\u00g9",
        b"\\u00e",
        b"\\u",
        b'\\u"',
        b"\\u000",
    ]
    escapes = [b"\\" + bytes([byte]) for byte in string.printable.encode()] + hexadecimal
    for escape, offset in itertools.product([*escapes, b"\\\\" * 3, b"\\" * 3, b"\\\\\\"], range(64)):
        check(b'["' + escape + b'"]', offset)
        check(b'{"' + escape + b'":"' + escape + b'"}', offset)


@is_found
@pytest.mark.parametrize(
    "word", [b"true", b"false", b"null", b"truE", b"nul", b"nulll", b"True", b"NaN", b"'a'", b""]
)
def test_words(word: bytes) -> None:
    for offset in range(64):
        check(b"[" + word + b"]", offset)
        check(word, offset)


@is_found
def test_a_long_string_in_blocks_of_its_own() -> None:
    for size in range(120, 330):
        check(b'["' + b"x" * size + b'"]', 0)
        check(b'{"' + b"x" * size + b'":"' + b"y" * size + b'"}', 0)
        check(b'["' + b"x" * size + b'\x1f"]', 0)
        check(b'["' + b"x" * size + b'\\"' + b"x" * size + b'"]', 0)
        check(b'["' + b"x" * size, 0)


@is_found
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded_and_what_is_deeper_is_the_decoders(pair: tuple[bytes, bytes]) -> None:
    def nested(depth: int) -> bytes:
        return b'{"command":"echo","data":' + pair[0] * depth + b"1" + pair[1] * depth + b"}"

    assert find_value(nested(DEPTH_MAX), (b"data",)) is not None
    assert find_value(nested(DEPTH_MAX + 1), (b"data",)) is None
    message = nested(DEPTH_MAX + 1)
    assert LARGE_REQUEST_DECODERS[Encoding.JSON](message) == CODECS[Encoding.JSON].request(message)


@pytest.mark.parametrize("end", [b"", b"x"])
def test_at_the_interpreters_limit_either_decoder_may_be_the_first_to_refuse(end: bytes) -> None:
    """One calls the other, so it is some calls deeper: only one of the two may find a message too deep."""
    for depth in range(DEPTH_AT_THE_LIMIT, 1_001):
        check_as_fuzzing_does(b'{"type":' + b"[" * depth + end)


@each_case(
    "message",
    [
        b'{"data":1,"data":2}',
        b'{"d\\u0061ta":1}',
        b'{"d\\u0061ta":1,"data":2}',
        b'{"command":"echo"}',
        b'{"data":1}x',
        b'{"data":1',
        b'{"data":1,}',
        b'{"data" 1}',
        b'{"data"',
        b"{data:1}",
        b"{}",
        b"[]",
        b"",
    ],
)
def test_what_is_out_of_the_ordinary_is_left_alone(message: bytes) -> None:
    assert find_value(message, (b"data",)) is None


def outcome(decode: object, message: bytes) -> object:
    try:
        return decode(message)  # type: ignore[operator]  # any decoder
    except DECODE_ERRORS as error:
        return type(error), str(error)


BIG = json.dumps(["x" * 40] * 60).encode()

REQUESTS = [
    b'{"request_id":"1","command":"echo","data":%s}' % BIG,
    b' {"data":%s , "timeout":5,"target":{"a":["b"]},"command":"echo"}\n' % BIG,
    b'{"command":"echo","data":%s,"timeout":-5}' % BIG,
    b'{"command":"echo","data":%s,"timeout":5' % BIG,
    b'{"command":5,"data":%s}' % BIG,
    b'{"command":"echo","data":%s,"data":1}' % BIG,
    b'{"command":"echo","data":%s}' % BIG[:-1],
    b'{"command":"echo","data":%s"unknown":[%s]}' % (BIG[:-1] + b"],", BIG),
    b'{"type":"ping","unknown":%s}' % BIG,
]
FROM_WORKER = [
    b'{"type":"response","msg_id":"m","data":{"success":true,"result":%s}}' % BIG,
    b'{"data":{"result":%s,"success":true},"timestamp":1.5,"msg_id":"m","type":"response"}' % BIG,
    b'{"type":"response","msg_id":"m","data":{"success":"yes","result":%s}}' % BIG,
    b'{"type":"response","msg_id":"m","data":{"success":true,"result":%s}}' % BIG[:-1],
    b'{"type":"response","msg_id":"m","data":{"success":false,"error":%s}}' % json.dumps("x" * 3000).encode(),
    b'{"type":"custom","data":{"result":%s}}' % BIG,
    b'{"type":"connect","data":{"commands":["a"],"result":%s}}' % BIG,
    b'{"type":"response","msg_id":"m","data":%s}' % BIG,
    b'{"type":"chunk","msg_id":"m","sequence":1,"data":%s}' % BIG,
    b'{"type":"chunk","sequence":1,"data":%s,"msg_id":"m","timestamp":1.5}' % BIG,
    b'{"type":"chunk","msg_id":"m","sequence":0,"data":%s}' % BIG,
    b'{"type":"chunk","msg_id":"m","sequence":1,"data":%s}' % BIG[:-1],
    b'{"type":"chunk","msg_id":"%s","sequence":1}' % (b"x" * 3000),
    b'{"type":"chunk","msg_id":"m","sequence":1,"d\\u0061ta":%s}' % BIG,
    b'{"type":"chunk","msg_id":"m","type":"custom","data":%s}' % BIG,
    b'{"msg_id":"m","type":"chunk","sequence":1,"data":{"result":%s}}' % BIG,
]


@each_case("message", REQUESTS)
def test_a_large_request_is_what_the_decoder_reads(message: bytes) -> None:
    assert len(message) >= LARGE_SIZE_BYTES
    decode = CODECS[Encoding.JSON].request
    assert outcome(LARGE_REQUEST_DECODERS[Encoding.JSON], message) == outcome(decode, message)


@each_case("message", FROM_WORKER)
def test_a_large_message_of_a_worker_is_what_the_decoder_reads(message: bytes) -> None:
    assert len(message) >= LARGE_SIZE_BYTES
    decode = CODECS[Encoding.JSON].from_worker
    assert outcome(LARGE_FROM_WORKER_DECODERS[Encoding.JSON], message) == outcome(decode, message)


@is_found
def test_the_value_is_there() -> None:
    request = LARGE_REQUEST_DECODERS[Encoding.JSON](REQUESTS[0])
    response = LARGE_FROM_WORKER_DECODERS[Encoding.JSON](FROM_WORKER[0])
    assert isinstance(request, Request)
    assert isinstance(response, WorkerResponse)
    assert request.data == Raw(BIG)
    chunk = LARGE_FROM_WORKER_DECODERS[Encoding.JSON](
        b'{"type":"chunk","msg_id":"m","sequence":1,"data":%s}' % BIG
    )
    assert isinstance(chunk, WorkerChunk)
    assert chunk.data == Raw(BIG)
    assert response.data.result == Raw(BIG)


def test_without_the_compiled_code_the_decoder_reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taskferry.protocol._json", None)
    spec = find_spec("taskferry.protocol.large")
    assert spec is not None
    assert spec.loader is not None
    pure = module_from_spec(spec)
    spec.loader.exec_module(pure)
    assert pure.find_value(REQUESTS[0], (b"data",)) is None
    decode = CODECS[Encoding.JSON].request
    for message in REQUESTS:
        assert outcome(pure.LARGE_REQUEST_DECODERS[Encoding.JSON], message) == outcome(decode, message)


def test_messagepack_has_the_same_two() -> None:
    codec = CODECS[Encoding.MSGPACK]
    assert LARGE_REQUEST_DECODERS[Encoding.MSGPACK] is codec.request
    assert LARGE_FROM_WORKER_DECODERS[Encoding.MSGPACK] is codec.from_worker


@is_found
@given(st.binary(max_size=200))
@example(b'{"data":"\xff"}')
def test_any_bytes_may_come(message: bytes) -> None:
    find_value(message, (b"data",))
    find_value(message, (b"data", b"result"))


@is_found
def test_what_it_does_not_take() -> None:
    with pytest.raises(TypeError, match="one key or more"):
        find_value(b"{}", ())
    with pytest.raises(TypeError, match="one key or more"):
        find_value("{}", (b"data",))  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="keys that are bytes"):
        find_value(b"{}", ("data",))  # type: ignore[arg-type]  # likewise
