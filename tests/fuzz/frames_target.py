"""The frames in C (`_frames.c`) against their twin in Python, cut from one run of bytes in every way.

The first HEAD_SIZE bytes of an input say how the rest is read: masked or not, text or not, from where, in which pieces.
"""

from array import array
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from taskferry.transport import _frames as in_c
from taskferry.transport import frames as in_python

TEXT: Final = 0x81
HEAD_SIZE: Final = 4
SIZES_MAX: Final = (0, 5, 125, 126, 1000, 65_535, 2**62)
WORDS: Final = (
    *(bytes([byte]) for byte in b"\x00\x01\x7d\x7e\x7f\x80\x81\x82\xfd\xfe\xff\x89"),
    *(b"\x81\x00", b"\x81\x80\x00\x00\x00\x00", b"\x81\x85\x01\x02\x03\x04Hello", b"\x81\x05Hello"),
    *(
        b"\x81\x7e\x00\x7e",
        b"\x81\xfe\x00\x7e",
        b"\x81\x7f" + b"\x00" * 7 + b"\x05",
        b"\x81\xff" + b"\xff" * 8,
    ),
    *("é€😀".encode(), b"\xc3", b"\xed\xa0\x80", b"x" * 7, b"x" * 125, b"x" * 126),
)


def check(data: bytes) -> str:
    """How `data` was answered. Raises AssertionError if the twins answer differently."""
    head, body = data[:HEAD_SIZE].ljust(HEAD_SIZE, b"\x00"), data[HEAD_SIZE:]
    # Behind what is read from a list there is no byte to spare; bytes have a NUL, which a sanitizer lets be read.
    piece = memoryview(array("B", list(body))) if head[0] & 4 else body
    mask_bit = 0x80 if head[0] & 1 else 0
    size_max = SIZES_MAX[head[1] % len(SIZES_MAX)]
    cut = [
        _cut(twin, piece, head[2] % 8, mask_bit, size_max, bool(head[0] & 2)) for twin in (in_c, in_python)
    ]
    assert cut[0] == cut[1]
    key = body[:4]
    if len(key) == 4:
        framed = [twin.masked_frame(TEXT, body, key) for twin in (in_c, in_python)]
        assert framed[0] == framed[1]
    pieces = [list(_taken(twin, body, key if len(key) == 4 else b"", head)) for twin in (in_c, in_python)]
    assert pieces[0] == pieces[1]
    position, messages = cut[0]
    sizes = sorted({min(len(message), 127) // 42 for message in messages})
    left = body[position:]
    return f"{mask_bit}, {min(len(messages), 4)}, {sizes}, {min(len(left), 11)}, {left[:2]!r}"


def _cut(  # noqa: PLR0917  as the twins have them
    twin: ModuleType, data: bytes | memoryview, start: int, mask_bit: int, size_max: int, is_text: bool
) -> tuple[int, list[bytes]]:
    messages: list[bytes] = []
    return twin.cut_frames(data, start, TEXT, mask_bit, size_max, is_text, messages), messages


def _taken(twin: ModuleType, body: bytes, key: bytes, head: bytes) -> Iterator[object]:
    """All that a LargeFrame says while `body` comes in pieces, with bytes around each that are not its own."""
    size = len(body) * (head[3] % 4) // 3  # some of the bytes, all of them
    frame = twin.LargeFrame(size, key)
    step = 1 + len(body) // (1 + head[2] % 8)
    for start in range(0, len(body) + 1, step):
        before = head[3] % 5
        piece = memoryview(array("B", list(b"?" * before + body[start : start + step])))
        yield frame.take(piece, before), frame.missing_size, frame.is_ascii
        yield frame.take(b"", 0), frame.missing_size
    yield frame.payload()
