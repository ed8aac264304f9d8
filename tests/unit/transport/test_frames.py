"""Cutting and making the common frame: the Python and the C of it do the same, and what they do is RFC 6455's."""

from array import array
from dataclasses import replace
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from taskferry.transport import frames as in_python
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from tests.unit.transport import frames as raw
from tests.unit.transport.frames import RawFrame

try:
    from taskferry.transport import _frames as in_c
except ImportError:  # no compiler was there: the Python is all there is to test
    in_c = None  # type: ignore[assignment]  # a module or nothing

SIZE_BYTES_MAX = 70_000
TEXT = 0x81

TWINS = [
    pytest.param(in_python, id="python"),
    pytest.param(in_c, id="c", marks=pytest.mark.skipif(in_c is None, reason="_frames.c was not built")),
]

PAYLOADS = st.one_of(
    st.binary(max_size=140),
    st.text(max_size=40).map(str.encode),
    st.sampled_from([0, 125, 126, 127, 65_535, 65_536, SIZE_BYTES_MAX, SIZE_BYTES_MAX + 1]).map(
        lambda size: b"x" * size
    ),
)
FRAMES = st.builds(
    RawFrame,
    opcode=st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.CLOSE]),
    payload=PAYLOADS,
    fin=st.sampled_from([True, True, True, False]),
    masked=st.sampled_from([True, True, True, False]),
    length_size=st.sampled_from([None, None, 2, 8]),
)


def exactly(data: bytes) -> memoryview:
    """`data` in memory that ends with it, so that a sanitizer finds who reads on; behind bytes there is a NUL."""
    return memoryview(array("B", list(data)))


def is_common(frame: RawFrame, *, masked: bool, is_text: bool) -> bool:
    return (
        frame.opcode == Opcode.TEXT
        and frame.fin
        and frame.masked is masked
        and len(frame.payload) <= SIZE_BYTES_MAX
        and (not is_text or in_python.is_utf8(frame.payload))
    )


@pytest.mark.parametrize("twin", TWINS)
@given(
    sent=st.lists(FRAMES, max_size=5),
    missing=st.integers(0, 12),
    before=st.binary(max_size=3),
    masked=st.booleans(),
    is_text=st.booleans(),
    is_view=st.booleans(),
)
@example(
    sent=[RawFrame(Opcode.TEXT, b"\xff")], missing=0, before=b"", masked=True, is_text=True, is_view=True
)
@example(
    sent=[RawFrame(Opcode.TEXT, "é".encode())],
    missing=0,
    before=b"",
    masked=True,
    is_text=True,
    is_view=False,
)
def test_common_frames_are_cut_up_to_the_first_that_is_not(  # noqa: PLR0917  what Hypothesis draws
    twin: ModuleType,
    sent: list[RawFrame],
    missing: int,
    before: bytes,
    masked: bool,
    is_text: bool,
    is_view: bool,
) -> None:
    sent = [replace(it, length_size=8) if len(it.payload) >= 65_536 else it for it in sent]
    data = before + b"".join(frame.to_bytes() for frame in sent)
    whole = max(len(before), len(data) - missing)
    data = data[:whole]
    expected, position = [], len(before)
    for frame in sent:
        end = position + len(frame.to_bytes())
        if end > whole or not is_common(frame, masked=masked, is_text=is_text):
            break
        expected.append(frame.payload)
        position = end
    messages = [b"kept"]
    found = twin.cut_frames(
        exactly(data) if is_view else data,
        len(before),
        TEXT,
        0x80 if masked else 0,
        SIZE_BYTES_MAX,
        is_text,
        messages,
    )
    assert messages == [b"kept", *expected]
    assert found == position


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_536])
@pytest.mark.parametrize("mask_bit", [0, 0x80])
def test_a_frame_is_left_until_all_of_it_is_there(twin: ModuleType, size: int, mask_bit: int) -> None:
    frame = RawFrame(Opcode.TEXT, b"x" * size, masked=bool(mask_bit)).to_bytes()
    for end in [*range(min(20, len(frame))), len(frame) - 1]:
        messages: list[bytes] = []
        assert twin.cut_frames(exactly(frame[:end]), 0, TEXT, mask_bit, SIZE_BYTES_MAX, True, messages) == 0
        assert messages == []


@pytest.mark.parametrize("twin", TWINS)
@given(payload=PAYLOADS, key=st.binary(min_size=4, max_size=4))
def test_a_masked_frame_is_one_that_websockets_reads(
    twin: ModuleType,
    payload: bytes,
    key: bytes,
) -> None:
    reader = StreamReader()
    reader.feed_data(twin.masked_frame(TEXT, payload, key))
    reader.feed_eof()
    with pytest.raises(StopIteration) as stop:
        next(Frame.parse(reader.read_exact, mask=True))
    assert stop.value.value == Frame(Opcode.TEXT, payload)


@pytest.mark.skipif(in_c is None, reason="_frames.c was not built")
def test_the_twin_in_c_refuses_what_it_was_not_made_for() -> None:
    with pytest.raises(TypeError, match="7 arguments"):
        in_c.cut_frames(b"")  # type: ignore[call-arg]  # that is the point
    with pytest.raises(TypeError, match="a list"):
        in_c.cut_frames(b"", 0, TEXT, 0, 10, True, ())  # type: ignore[arg-type]  # likewise
    with pytest.raises(TypeError, match="a position"):
        in_c.cut_frames(b"", -1, TEXT, 0, 10, True, [])
    with pytest.raises(TypeError, match="four bytes of key"):
        in_c.masked_frame(TEXT, b"", b"12345")
    found: list[bytes] = []
    assert in_c.cut_frames(raw.text(b"yes"), 0, TEXT, 0x80, 3, True, found) == 9
    assert found == [b"yes"]
    with pytest.raises(ValueError, match="a size from 0 up"):
        in_c.LargeFrame(-1, b"")
    with pytest.raises(ValueError, match="four bytes or none"):
        in_c.LargeFrame(1, b"123")
    large = in_c.LargeFrame(2, b"")
    with pytest.raises(TypeError, match="a position"):
        large.take(b"ab", -1)
    with pytest.raises(ValueError, match="when it is whole"):
        large.payload()
    large.take(b"ab", 0)
    assert large.payload() == b"ab"
    with pytest.raises(ValueError, match="handed out once"):
        large.payload()
    with pytest.raises(TypeError, match="until the payload is handed out"):
        large.take(b"", 0)


@pytest.mark.parametrize("twin", TWINS)
@given(
    payload=PAYLOADS,
    key=st.sampled_from([b"", b"\x00\xff\x80\x7f"]) | st.binary(min_size=4, max_size=4),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    behind=st.binary(max_size=3),
    is_view=st.booleans(),
)
def test_a_large_frame_is_its_pieces_unmasked(  # noqa: PLR0917  what Hypothesis draws
    twin: ModuleType, payload: bytes, key: bytes, cuts: list[int], behind: bytes, is_view: bool
) -> None:
    frame = in_python.masked_frame(TEXT, payload, key) if key else payload
    masked = frame[len(frame) - len(payload) :]
    large = twin.LargeFrame(len(payload), key)
    ends = sorted({min(cut, len(masked)) for cut in cuts} | {len(masked)})
    start = 0
    for end in ends:
        assert large.missing_size == len(payload) - start
        piece = b"??" + masked[start:end] + (behind if end == len(masked) else b"")
        assert large.take(exactly(piece) if is_view else piece, 2) == 2 + end - start
        assert large.is_ascii is payload[:end].isascii()
        start = end
    assert large.missing_size == 0
    assert large.payload() == payload
