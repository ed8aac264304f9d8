"""What carries a value to the other encoding in C (`_to_json.c`, `_to_msgpack.c`) against the way by parts."""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Raw
from taskferry.protocol._to_json import to_json
from taskferry.protocol._to_msgpack import to_msgpack
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.errors import NotRepresentable
from taskferry.protocol.transcode import transcode_by_parts

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
    *(b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", b"\xcb\x7f\xf0" + b"\x00" * 6, b"\x91" * 64),
)


def check(data: bytes) -> str:
    """How `data` was answered both ways. Raises AssertionError if it is not what the way by parts answers."""
    return f"{_check(data, Encoding.JSON, to_msgpack)}, {_check(data, Encoding.MSGPACK, to_json)}"


def _check(data: bytes, source: Encoding, carry: Callable[[bytes], bytes | None]) -> str:
    carried = carry(data)
    try:
        expected = bytes(transcode_by_parts(Raw(data), source))
    except NotRepresentable as error:
        assert carried is None, carried
        return " ".join(re.sub(r"[0-9]+|'.*'", "", error.text).split()[:8])
    if carried is None:
        return "left to the way by parts"
    assert carried == expected
    return f"carried as {expected[:1]!r}, {len(expected).bit_length()} bits of length"
