"""The chunk as a requester is sent it, written around its data: most of a stream's bytes are never copied.

The result equals codec.py's `encode` of `Chunk`, which the tests compare.
"""

from typing import Final

from .codec import CODECS
from .encodings import Encoding

_TAIL: Final = {Encoding.JSON: b"}", Encoding.MSGPACK: b""}
"""What follows the data."""

# A map says how many pairs it has (0x85: five), a short text how long it is (0xa4: four bytes).
_BEFORE_REQUEST_ID: Final = {
    Encoding.JSON: b'{"type":"chunk","request_id":',
    Encoding.MSGPACK: b"\x85\xa4type\xa5chunk\xaarequest_id",
}
_BEFORE_SEQUENCE: Final = {Encoding.JSON: b',"sequence":', Encoding.MSGPACK: b"\xa8sequence"}
_BEFORE_ATTEMPT: Final = {Encoding.JSON: b',"attempt":', Encoding.MSGPACK: b"\xa7attempt"}
_BEFORE_DATA: Final = {Encoding.JSON: b',"data":', Encoding.MSGPACK: b"\xa4data"}


class ChunkFrame:
    """Writes the chunks of one request."""

    __slots__ = ("_attempt", "_before_sequence", "_encode", "_encoding", "_from_attempt", "tail")

    def __init__(self, encoding: Encoding, request_id: str) -> None:
        self._encoding = encoding
        self._encode = CODECS[encoding].encode
        self._before_sequence = b"".join(
            (_BEFORE_REQUEST_ID[encoding], self._encode(request_id), _BEFORE_SEQUENCE[encoding])
        )
        self._attempt = 0
        self._from_attempt = b""
        self.tail = _TAIL[encoding]

    def head(self, sequence: int, attempt: int) -> bytes:
        """What comes before the data."""
        if attempt != self._attempt:
            self._attempt = attempt
            before, after = _BEFORE_ATTEMPT[self._encoding], _BEFORE_DATA[self._encoding]
            self._from_attempt = before + self._encode(attempt) + after
        return b"".join((self._before_sequence, self._encode(sequence), self._from_attempt))
