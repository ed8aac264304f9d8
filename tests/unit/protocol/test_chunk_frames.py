"""A chunk built from parts equals what the encoder would have written from its structure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from taskferry.protocol.chunk_frames import ChunkFrame
from taskferry.protocol.codec import CODECS
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.stream_messages import Chunk

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize("encoding", Encoding)
@given(
    request_id=TEXTS,
    chunks=st.lists(
        st.tuples(st.integers(1, 2**40), st.integers(1, 300), TEXTS | st.none()), min_size=1, max_size=4
    ),
)
def test_a_chunk_is_what_the_encoder_writes(
    encoding: Encoding, request_id: str, chunks: list[tuple[int, int, str | None]]
) -> None:
    frame, encode = ChunkFrame(encoding, request_id), CODECS[encoding].encode
    for sequence, attempt, value in chunks:
        data = Raw(encode(value))
        written = frame.head(sequence, attempt) + bytes(data) + frame.tail
        assert written == encode(Chunk(request_id=request_id, sequence=sequence, attempt=attempt, data=data))
