"""What carries a value to the other encoding in C (`_to_json.c`, `_to_msgpack.c`) against the way by parts."""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Raw
from taskferry.protocol._to_json import to_json
from taskferry.protocol._to_msgpack import to_msgpack
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable
from taskferry.protocol.transcode import transcode, transcode_by_parts

WORDS: Final = (
    *(bytes([byte]) for byte in b'{}[],:"\\ \n\t\r0-.eE1\x00\x1f\x7f\xc3'),
    *(
        b"true",
        b"false",
        b"null",
        b"-0.5e+3",
        b"1E9",
        b"0.1",
        b'"a":',
        b'"a"',
        b"[]",
        b"{}",
        b"18446744073709551615",
    ),
    *(
        b'\\"',
        b"\\u00e9",
        b"\\ud83d\\ude00",
        b"\\ud83d",
        b"\\u12",
        "é€😀".encode(),
        b"\xed\xa0\x80",
        b"[" * 64,
        b"]" * 64,
    ),
    *(bytes([byte]) for byte in b"\x80\x81\x90\x91\x92\x9f\x8f\xa0\xa1\xc0\xc2\xff\xe0\xc4\xd4\xc7"),
    *(
        b"\xa1a",
        b"\xd9\x01a",
        b"\xda\x00\x01a",
        b"\xdb\x00\x00\x00\x01a",
        b"\xdc\x00\x01",
        b"\xdd\x00\x00\x00\x01",
    ),
    *(
        b"\xde\x00\x01",
        b"\xdf\x00\x00\x00\x01",
        b"\xcc\xff",
        b"\xcd\xff\xff",
        b"\xce\xff\xff\xff\xff",
        b"\xcf" + b"\xff" * 8,
    ),
    *(
        b"\xd0\x80",
        b"\xd1\x80\x00",
        b"\xd2\x80\x00\x00\x00",
        b"\xd3\x80" + b"\x00" * 7,
        b"\xca\x3d\xcc\xcc\xcd",
    ),
    *(b'"a":1,"a":', b'{"a":1,"b":[2],"a":', b"1e400", b"1e-310", b"18446744073709551616", b"9" * 4301),
    *(b"\x82\xa1a\x01\xa1a", b"\x83\xa1a\x01\xa1b\x02\xa1a", b"\xc4\x00", b"\xd6\xff\x00\x00\x00\x01"),
    *(b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", b"\xcb\x7f\xf0" + b"\x00" * 6, b"\x91" * 64),
)


REFUSALS: Final = (OverflowError, RecursionError, ValueError)
"""What the C raises for a value that does not fit."""


def check(data: bytes) -> str:
    """How `data` was answered both ways. Raises AssertionError if it is not what the way by parts answers."""
    return f"{_check(data, Encoding.JSON, to_msgpack)}, {_check(data, Encoding.MSGPACK, to_json)}"


def _check(data: bytes, source: Encoding, carry: Callable[[bytes], bytes | None]) -> str:
    answer, expected = _answer(data, source, carry), _by_parts(data, source)
    if isinstance(expected, bytes):
        assert answer == expected, answer
        return f"carried as {expected[:1]!r}, {len(expected).bit_length()} bits of length"
    if "nested too deeply" in expected:
        return "too deep for the way by parts"  # which depends on what has called it
    assert not isinstance(answer, bytes), answer
    # msgpack says what is no key only after its value was decoded, if that has not failed; later Pythons say more.
    assert answer is None or "is not allowed for map key" in answer or expected.startswith(answer), (
        answer,
        expected,
    )
    return " ".join(re.sub(r"[0-9]+|'.*'", "", expected).split()[:8]) + (" (left)" if answer is None else "")


def _by_parts(data: bytes, source: Encoding) -> bytes | str:
    """What comes of it, or why nothing does."""
    try:
        return bytes(transcode_by_parts(Raw(data), source))
    except NotRepresentable as error:
        return error.text


def _answer(data: bytes, source: Encoding, carry: Callable[[bytes], bytes | None]) -> bytes | str | None:
    """The same in C; None for what that leaves to the way by parts."""
    try:
        return carry(data)
    except REFUSALS:
        pass
    try:
        return bytes(transcode(Raw(data), source, next(other for other in Encoding if other is not source)))
    except NotRepresentable as error:
        return error.text
