"""WebSocket frames in and out, without I/O: a short path for the common frame, websockets' own protocol for the rest.

After the handshake, whole frames are cut from what arrives. A complete, unfragmented, correctly masked data frame of
the kind that this connection speaks is unmasked right here (frames.py). Any other frame (control, fragmented, of the
other kind, with reserved bits, wrongly masked, not UTF-8, too large) is passed, whole, to the `websockets` protocol
object, which enforces RFC 6455. So the protocol object is always between two frames, and either path may take the next
one. A property test shows that both agree. Knows no sockets, no clock, and nothing of what a message means.
"""

import os
from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from .frames import LENGTH_16, LENGTH_64, MASKED, frame_head, is_utf8

try:
    from ._frames import LargeFrame, cut_frames, masked_frame
except ImportError:  # not built: see frames.py
    from .frames import LargeFrame, cut_frames, masked_frame  # type: ignore[assignment]  # the other of the twins

_FIN: Final = 0x80
_PING: Final = _FIN | Opcode.PING
_PONG: Final = _FIN | Opcode.PONG
_CONTROL_SIZE_BYTES_MAX: Final = 125
_NO_FRAME: Final = -1
"""A value that is no frame's first byte."""
_MASK_POOL_SIZE_BYTES: Final = 4096
"""Masking keys are read from the system's random numbers in blocks of this size: RFC 6455 (5.3) wants them to be
unpredictable, and a system call per frame would cost more than the frame."""
_HELD_COUNT_MAX: Final = 256
"""Pieces of an unfinished frame that are kept separately: if a peer sends two bytes at a time, each pair must not cost
the forty bytes of an object."""
LARGE_SIZE_BYTES: Final = 4096
"""Frames of at least this size that arrive in pieces are assembled in place; for smaller ones it is not worth it."""
LARGE_PARTS_COUNT: Final = 8
"""This fraction of a large frame must have arrived before its memory is allocated: a peer that only announces a large
frame gets none."""


FRAGMENT_SIZE_BYTES_MIN: Final = 64
"""Of one message on average, if it is as large as it may be: the smallest that Autobahn's testsuite sends. A message
may have as many fragments as that makes, so that nobody can send empty ones without end."""
FRAGMENTS_COUNT_MIN: Final = 256
"""That many a message may have, however small it must be."""
PREBUILT_HEADERS_COUNT: Final = 2048
"""Headers of unmasked messages below this size are built once: nearly all messages of a broker are smaller."""


_EMPTY_PONG: Final = frame_head(_PONG, 0, 0)
_PREBUILT_HEADERS: Final = {
    opcode: tuple(frame_head(_FIN | opcode, 0, size) for size in range(PREBUILT_HEADERS_COUNT))
    for opcode in (Opcode.TEXT, Opcode.BINARY)
}


class Framing:
    """The frames of one connection, in either role.

    `protocol` is websockets' Sans-I/O object, `message_size_bytes_max` (125 or more) bounds one incoming message.
    After each call that may have made the protocol object write (`receive`, `fail`), the owner sends what
    `protocol.data_to_send()` gives.
    """

    __slots__ = (
        "_common_byte",
        "_first_byte",
        "_fragments",
        "_fragments_count",
        "_fragments_opcode",
        "_held",
        "_held_size",
        "_is_text",
        "_large",
        "_large_key",
        "_mask_bit",
        "_mask_pool",
        "_mask_position",
        "_opcode",
        "_wanted_size",
        "headers",
        "message_size_bytes_max",
        "missing_size",
        "protocol",
        "wrong_kind_count",
    )

    def __init__(
        self, protocol: ServerProtocol | ClientProtocol, opcode: Opcode, message_size_bytes_max: int
    ) -> None:
        self.protocol = protocol
        self.message_size_bytes_max = message_size_bytes_max
        self.wrong_kind_count = 0
        """Whole messages of the other kind (text for binary or binary for text) in the last `receive`."""
        self.missing_size = 0
        """Bytes of the unfinished frame that have not arrived."""
        is_client = isinstance(protocol, ClientProtocol)
        self._mask_bit = 0 if is_client else MASKED
        self._opcode = opcode
        self._first_byte = _FIN | opcode
        self._common_byte = self._first_byte
        """The first byte of frames that may be cut here; none while the protocol object is inside a message."""
        self.headers: tuple[bytes, ...] = () if is_client else _PREBUILT_HEADERS[opcode]
        """A server's prebuilt headers by message size: what `frame` would return, without the call."""
        self._is_text = opcode is Opcode.TEXT
        self._large: LargeFrame | None = None
        self._large_key = b""
        self._held: list[bytes] | None = None
        self._held_size = 0
        self._wanted_size = 0
        self._fragments: bytearray | None = None
        self._fragments_count = 0
        self._fragments_opcode = Opcode.CONT
        self._mask_pool = b""
        self._mask_position = 0

    def receive(self, data: bytes | memoryview) -> list[bytes]:
        """Take in what arrived after the handshake. Returns the whole messages that it completes, in order. Keeps no
        reference to `data`.

        Never raises: a violation of RFC 6455 fails the connection inside the protocol object, which then has a close
        frame to send.
        """
        messages: list[bytes] = []
        self.wrong_kind_count = 0
        start = 0
        if self._held is not None or self._large is not None:
            start = self._go_on(data, messages)
        size = len(data)
        while True:
            start = cut_frames(
                data,
                start,
                self._common_byte,
                self._mask_bit,
                self.message_size_bytes_max,
                self._is_text,
                messages,
            )
            if start == size:
                return messages
            end = self._frame_end(data, start)
            if end > size:
                self._begin(data, start, end, messages)
                return messages
            if end == start:
                self._hand_over(data[start:], messages)
                return messages
            if self._common_byte == _NO_FRAME or not self._is_answered(data, start, end):
                self._hand_over(data[start:end], messages)
            start = end

    def _is_answered(self, data: bytes | memoryview, start: int, end: int) -> bool:
        """Whether the frame needs nothing more. Each of ten thousand idle connections gets a pong every few seconds,
        which says nothing but that it came; and a server answers pings without a payload, of which a peer can send most
        with the least, right here."""
        if data[start] == _PONG:
            return end - start <= _CONTROL_SIZE_BYTES_MAX
        is_empty_ping = data[start] == _PING and data[start + 1] == MASKED
        if is_empty_ping and self._mask_bit and self.protocol.state is State.OPEN:
            self.protocol.writes.append(_EMPTY_PONG)
            return True
        return False

    def ping(self) -> bytes:
        """A ping without a payload, ready to be sent."""
        if self._mask_bit:
            return frame_head(_PING, 0, 0)
        return masked_frame(_PING, b"", self._mask())

    def frame(self, payload: bytes) -> tuple[bytes, ...]:
        """One outgoing data message, in pieces to be sent in order; a client's is masked."""
        if self._mask_bit:
            return frame_head(self._first_byte, 0, len(payload)), payload
        return (masked_frame(self._first_byte, payload, self._mask()),)

    def head(self, size: int) -> bytes:
        """The header of an outgoing data message of `size` bytes. For servers, whose messages are not masked."""
        return frame_head(self._first_byte, 0, size)

    def _mask(self) -> bytes:
        """An unpredictable masking key."""
        position = self._mask_position
        if position >= len(self._mask_pool):
            self._mask_pool = os.urandom(_MASK_POOL_SIZE_BYTES)
            position = 0
        self._mask_position = position + 4
        return self._mask_pool[position : position + 4]

    def _frame_end(self, data: bytes | memoryview, start: int) -> int:
        """Where the frame at `start` ends, or at least how far it reaches if too little of it has arrived; `start` if
        the protocol object will refuse its header."""
        left = len(data) - start
        if left < 2:
            return start + 2
        length = data[start + 1] ^ self._mask_bit
        if length > 127:  # the mask bit is wrong for the role
            return start
        head_size = 6 if self._mask_bit else 2
        if length >= 126:
            length_size, layout = (2, LENGTH_16) if length == 126 else (8, LENGTH_64)
            head_size += length_size
            if left < 2 + length_size:
                return start + head_size
            length = layout.unpack_from(data, start + 2)[0]
        return start if length > self.message_size_bytes_max else start + head_size + length

    def _go_on(self, data: bytes | memoryview, messages: list[bytes]) -> int:
        """Continue the unfinished frame. Returns how far in `data` it reached."""
        start = 0
        while self._held is not None:
            held, missing_size = self._held, self._wanted_size - self._held_size
            piece = bytes(data[start : start + missing_size])
            start += len(piece)
            held.append(piece)
            self._held_size += len(piece)
            self.missing_size = max(0, self.missing_size - len(piece))
            if len(piece) < missing_size:
                if len(held) > _HELD_COUNT_MAX:
                    self._held = [b"".join(held)]
                return start
            self._held = None
            self.missing_size = 0
            wrong_kind_count = self.wrong_kind_count
            messages += self.receive(b"".join(held))
            self.wrong_kind_count += wrong_kind_count
        return start if self._large is None else self._fill(self._large, data, start, messages)

    def _begin(self, data: bytes | memoryview, start: int, end: int, messages: list[bytes]) -> None:
        """Take in what has arrived of the frame from `start` to `end`, which is beyond `data`."""
        size = end - start
        if size < LARGE_SIZE_BYTES or data[start] != self._common_byte:
            self._hold(data, start, size)
            self.missing_size = end - len(data)
            return
        if len(data) - start < size // LARGE_PARTS_COUNT:
            self._hold(data, start, size // LARGE_PARTS_COUNT)
            self.missing_size = end - len(data)
            return
        body = start + (4 if data[start + 1] ^ self._mask_bit == 126 else 10)
        key_size = 4 if self._mask_bit else 0
        self._large_key = bytes(data[body : body + key_size])
        self._large = LargeFrame(end - body - key_size, self._large_key)
        self._fill(self._large, data, body + key_size, messages)

    def _fill(self, large: LargeFrame, data: bytes | memoryview, start: int, messages: list[bytes]) -> int:
        """Take in more of `large`. Returns where that ends in `data`."""
        start = large.take(data, start)
        self.missing_size = large.missing_size
        if large.missing_size:
            return start
        self._large = None
        payload = large.payload()
        if not self._is_text or large.is_ascii or is_utf8(payload):
            messages.append(payload)
        elif self._mask_bit:
            self._hand_over(masked_frame(self._first_byte, payload, self._large_key), messages)
        else:
            self._hand_over(frame_head(self._first_byte, 0, len(payload)) + payload, messages)
        return start

    def _hold(self, data: bytes | memoryview, start: int, wanted_size: int) -> None:
        self._held = [bytes(data[start:])]
        self._held_size = len(data) - start
        self._wanted_size = wanted_size

    def _hand_over(self, data: bytes | memoryview, messages: list[bytes]) -> None:
        """Pass `data` to the protocol object: one whole frame, or the beginning of one that it will refuse."""
        protocol = self.protocol
        protocol.receive_data(bytes(data))
        is_plain = protocol.current_size is None and protocol.state is State.OPEN
        self._common_byte = self._first_byte if is_plain else _NO_FRAME
        for event in protocol.events_received():
            opcode: Opcode = event.opcode  # type: ignore[union-attr]  # after the handshake, events are frames
            if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
                self._fragments_opcode = opcode
            elif opcode is not Opcode.CONT:
                continue
            if self._fragments is None:
                self._fragments = bytearray()
                self._fragments_count = 0
            self._fragments_count += 1
            count_max = max(FRAGMENTS_COUNT_MIN, self.message_size_bytes_max // FRAGMENT_SIZE_BYTES_MIN)
            if self._fragments_count > count_max:
                self._common_byte = _NO_FRAME
                protocol.fail(CloseCode.MESSAGE_TOO_BIG, f"over {count_max} fragments in one message")
                return
            self._fragments += event.data  # type: ignore[union-attr]
            if event.fin:  # type: ignore[union-attr]
                payload = bytes(self._fragments)
                self._fragments = None
                if self._fragments_opcode is not self._opcode:
                    self.wrong_kind_count += 1
                elif not self._is_text or self._check_text(payload):
                    messages.append(payload)

    def _check_text(self, payload: bytes) -> bool:
        """RFC 6455 (8.1): text that is not UTF-8 fails the connection. Checked here so that no other peer gets it."""
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            self._common_byte = _NO_FRAME
            self.protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            return False
        return True
