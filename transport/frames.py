"""The common frame of RFC 6455 (5.2), parsed and built: complete, unfragmented, of one kind, masked as its role must.

Knows only bytes: no connection, no protocol object. Any other frame is left where it is, for framing.py. `_frames.c`
is the same in C and replaces what is here if it was built; the tests hold both to the same behaviour.
"""

from struct import Struct as Layout
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without websockets' C extension
    from websockets.utils import apply_mask

LENGTH_16: Final = Layout("!H")
LENGTH_64: Final = Layout("!Q")
MASKED: Final = 0x80
_COPY_SIZE_BYTES_MAX: Final = 16 * 1024
"""Up to this size a view is copied first: small frames are cut from bytes faster than from a view."""


def frame_head(first_byte: int, mask_bit: int, size: int) -> bytes:
    """The first two bytes and the extended length of a frame whose payload has `size` bytes."""
    if size < 126:
        return bytes((first_byte, mask_bit | size))
    if size < 65536:
        return bytes((first_byte, mask_bit | 126)) + LENGTH_16.pack(size)
    return bytes((first_byte, mask_bit | 127)) + LENGTH_64.pack(size)


def cut_frames(  # noqa: PLR0917  called for every read: names would cost
    data: bytes | memoryview,
    start: int,
    first_byte: int,
    mask_bit: int,
    size_bytes_max: int,
    is_text: bool,
    messages: list[bytes],
) -> int:
    """Cut common frames from `data`, starting at `start`, and append their payloads to `messages`.

    A common frame begins with `first_byte`, has the mask bit `mask_bit` (0x80 or 0) and a complete payload of at most
    `size_bytes_max`, which is UTF-8 if `is_text`. Returns the position of the first frame that is not, or the end of
    `data`.
    """
    if len(data) <= _COPY_SIZE_BYTES_MAX:
        data = bytes(data)
    key_size = 4 if mask_bit else 0
    size = len(data)
    while size - start >= 2 and data[start] == first_byte:
        length = data[start + 1] ^ mask_bit
        body = start + 2 + key_size
        if length >= 126:
            if length == 126 and size - start >= 4:
                length = LENGTH_16.unpack_from(data, start + 2)[0]
                body += 2
            elif length == 127 and size - start >= 10:
                length = LENGTH_64.unpack_from(data, start + 2)[0]
                body += 8
            else:
                return start
        end = body + length
        if length > size_bytes_max or end > size:
            return start
        if mask_bit:
            payload = apply_mask(data[body:end], data[body - 4 : body])  # type: ignore[arg-type]  # takes views
        else:
            payload = bytes(data[body:end])
        if is_text and not payload.isascii() and not is_utf8(payload):
            return start
        messages.append(payload)
        start = end
    return start


class LargeFrame:
    """The payload of one frame that arrives in pieces, each unmasked with the four bytes of `key` (or none) at once.

    In C it allocates all `size` bytes at once, so that no byte is copied twice. Attributes: `missing_size`, the bytes
    that have not arrived; `is_ascii`, whether those that have arrived are.
    """

    __slots__ = ("_key", "_pieces", "is_ascii", "missing_size")

    def __init__(self, size: int, key: bytes) -> None:
        self._key = key
        self._pieces: list[bytes] = []
        self.missing_size = size
        self.is_ascii = True

    def take(self, data: bytes | memoryview, start: int) -> int:
        """Take what belongs to the payload from `data`, starting at `start`. Returns the position behind it."""
        end = min(len(data), start + self.missing_size)
        piece = bytes(data[start:end])
        if self._key:
            piece = apply_mask(piece, self._key)
            turned = len(piece) % 4
            self._key = self._key[turned:] + self._key[:turned]
        self._pieces.append(piece)
        self.missing_size -= len(piece)
        self.is_ascii &= piece.isascii()
        return end

    def payload(self) -> bytes:
        """The payload, once nothing is missing. To be called once."""
        return b"".join(self._pieces)


def masked_frame(first_byte: int, payload: bytes, key: bytes) -> bytes:
    """A whole frame as a client sends it, masked with the four bytes of `key`."""
    return frame_head(first_byte, MASKED, len(payload)) + key + apply_mask(payload, key)


def is_utf8(payload: bytes) -> bool:
    """Whether these bytes may be in a text frame (RFC 6455, 8.1)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
