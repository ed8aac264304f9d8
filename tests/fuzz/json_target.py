"""The reader of large JSON (`_json.c`) against `json` and the decoder that it stands in for (msgspec)."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from taskferry.protocol._json import find_value, find_value_anywhere
from taskferry.protocol.codec import CODECS, DECODE_ERRORS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.large import LARGE_FROM_WORKER_DECODERS, LARGE_REQUEST_DECODERS

DEPTH_MAX: Final = 256
"""Of `_json.c`: it leaves to the decoder what is deeper."""
DEPTH_AT_THE_LIMIT: Final = 900
"""The interpreter's limit is 1,000 less the calls that are running, and ours is two calls deeper than the decoder: of a
message just that deep, one of them may say that it is too deep and the other what else is wrong with it."""
WORDS: Final = (
    *(bytes([byte]) for byte in b'{}[],:"\\ \n\t\r0-.eEx\x00\x1f\x7f\xc3'),
    *(b'"data":', b'"result":', b'"command":"echo",', b"true", b"false", b"null", b"-0.5e+3", b"1E9"),
    *(b'\\"', b"\\\\", b"\\u00e9", b"\\ud83d\\ude00", b"\\ud83d", b"\\u12", "é€😀".encode()),
    *(b" " * 63, b'"' + b"x" * 62 + b'"', b"\\" * 63, b"[" * 64, b"]" * 64, b'{"a":' * 8, b"}" * 8),
)


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it is written: keys may come twice."""


def check(message: bytes) -> str:
    """How `message` was answered. Raises AssertionError if anybody answers differently."""
    found = find_value(message, (b"data",))
    assert find_value_anywhere(message, (b"data",)) == found
    inner = find_value(message, (b"data", b"result"))
    assert find_value_anywhere(message, (b"data", b"result")) == inner
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return f"no UTF-8, {found is not None}, {inner is not None}"
    whole = _read(text)
    assert (found is not None) == _is_found(text, whole, ["data"]), found
    assert (inner is not None) == _is_found(text, whole, ["data", "result"]), inner
    if found is not None:
        value = message[found[0] : found[1]]
        assert value == value.strip(b" \n\t\r")
        assert _read(value.decode()) == _value_of(whole, "data")
    request = _same(LARGE_REQUEST_DECODERS[Encoding.JSON], CODECS[Encoding.JSON].request, message)
    from_worker = _same(LARGE_FROM_WORKER_DECODERS[Encoding.JSON], CODECS[Encoding.JSON].from_worker, message)
    return f"{found is not None}, {inner is not None}, {request}, {from_worker}"


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _read(text: str) -> object:
    """What RFC 8259 has `text` be, or None: without what `json` reads beyond it, and without half a surrogate pair."""
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=Pairs)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _value_of(value: object, key: str) -> object:
    (found,) = (inner for name, inner in value if name == key)  # type: ignore[attr-defined]  # Pairs
    return found


def _is_found(text: str, value: object, path: list[str]) -> bool:
    """Whether the value behind `path` must be found: once, in objects whose keys are written without escapes, and not
    too deep, all of it."""
    for key in path:
        if type(value) is not Pairs or [name for name, _ in value].count(key) != 1:
            return False
        if "\\" in text and not all(f'"{name}"' in text for name, _ in value):
            return False
        depths = [_depth(inner) for name, inner in value if name != key]
        if max(depths, default=0) > DEPTH_MAX:
            return False
        value = _value_of(value, key)
    return _depth(value) <= DEPTH_MAX


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [one for one in level if type(one) in (list, Pairs)]:
        depth += 1
        level = [
            inner[1] if type(one) is Pairs else inner
            for one in level
            for inner in one  # type: ignore[attr-defined]  # a list
        ]
    return depth


def _same(ours: Callable[[bytes], object], theirs: Callable[[bytes], object], message: bytes) -> str:
    expected = _outcome(theirs, message)
    answer = _outcome(ours, message)
    if answer != expected and message.count(b"[") + message.count(b"{") > DEPTH_AT_THE_LIMIT:
        assert any(type(one) is tuple and one[0] is RecursionError for one in (answer, expected))
        return "at the interpreter's limit"
    assert answer == expected
    if isinstance(expected, tuple):
        return re.sub(r"[0-9]+|'.*'| - at.*", "", str(expected[1]))
    return "decoded"


def _outcome(decode: Callable[[bytes], object], message: bytes) -> object:
    try:
        return decode(message)
    except DECODE_ERRORS as error:
        return type(error), str(error)
