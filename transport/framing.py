"""WebSocket frames in and out, without I/O: a short path for the common frame, websockets' own protocol for all else.

Once the handshake is done, whole frames are cut from what arrives. A complete, unfragmented, correctly masked data
frame of the kind that this connection speaks is unmasked right here; any other frame (control, fragmented, of the
other kind, reserved bits, wrong masking, too large) goes, whole, to the `websockets` protocol object, which keeps the
law of RFC 6455. So the protocol object is always between two frames, and either path may take the next one. That both
paths agree is a property test. Knows no sockets, no clock and nothing of what a message says.
"""

import os
from struct import Struct as Layout
from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without websockets' C extension
    from websockets.utils import apply_mask

_LENGTH_16: Final = Layout("!H")
_LENGTH_64: Final = Layout("!Q")
_FIN: Final = 0x80
_MASKED: Final = 0x80
_MASK_POOL_SIZE_BYTES: Final = 4096
"""Masking keys are drawn from the system's randomness in blocks of this size: RFC 6455 (5.3) wants them
unpredictable, and one system call a frame would cost more than the frame."""
_HELD_COUNT_MAX: Final = 256
"""Pieces of an unfinished frame that are kept apart: a peer that drips two bytes at a time must not make each of its
pairs cost the forty bytes of an object."""


PREBUILT_HEADERS_COUNT: Final = 2048
"""Headers of unmasked messages up to this size are made once: nearly all messages of a broker are smaller."""


def _header(first_byte: int, mask_bit: int, size: int) -> bytes:
    """RFC 6455 (5.2): the first two bytes and the extended length."""
    if size < 126:
        return bytes((first_byte, mask_bit | size))
    if size < 65536:
        return bytes((first_byte, mask_bit | 126)) + _LENGTH_16.pack(size)
    return bytes((first_byte, mask_bit | 127)) + _LENGTH_64.pack(size)


_PREBUILT_HEADERS: Final = {
    opcode: tuple(_header(_FIN | opcode, 0, size) for size in range(PREBUILT_HEADERS_COUNT))
    for opcode in (Opcode.TEXT, Opcode.BINARY)
}


class Framing:
    """The frames of one connection, in either role.

    `protocol` is websockets' Sans-I/O object, `message_size_bytes_max` (125 or more) bounds one incoming message.
    After each call that may have made the protocol object write (`receive`, `fail`), the owner sends what
    `protocol.data_to_send()` gives.
    """

    __slots__ = (
        "_body_offset",
        "_first_byte",
        "_fragments",
        "_fragments_opcode",
        "_held",
        "_held_size",
        "_is_client",
        "_is_plain",
        "_is_text",
        "_mask_bit",
        "_mask_pool",
        "_mask_position",
        "_opcode",
        "_wanted_size",
        "headers",
        "message_size_bytes_max",
        "protocol",
        "wrong_kind_count",
    )

    def __init__(
        self, protocol: ServerProtocol | ClientProtocol, opcode: Opcode, message_size_bytes_max: int
    ) -> None:
        self.protocol = protocol
        self.message_size_bytes_max = message_size_bytes_max
        self.wrong_kind_count = 0
        """Whole messages of the other kind (text for binary or binary for text) that came in the last `receive`."""
        self._is_client = isinstance(protocol, ClientProtocol)
        self._mask_bit = 0 if self._is_client else _MASKED
        self._body_offset = 2 if self._is_client else 6
        self._opcode = opcode
        self._first_byte = _FIN | opcode
        self.headers: tuple[bytes, ...] = () if self._is_client else _PREBUILT_HEADERS[opcode]
        """A server's ready-made headers by message size: what `frame` would give, without the call."""
        self._is_plain = True
        self._is_text = opcode is Opcode.TEXT
        self._held: list[bytes] = []
        self._held_size = 0
        self._wanted_size = 0
        self._fragments = bytearray()
        self._fragments_opcode = Opcode.CONT
        self._mask_pool = b""
        self._mask_position = 0

    def receive(self, data: bytes | memoryview) -> list[bytes]:  # noqa: PLR0912  the hot path calls nothing it need not
        """Take in what arrived after the handshake; the whole messages that it completes, in order. Keeps no hold of
        `data`.

        Never raises: what breaks RFC 6455 fails the connection inside the protocol object, which then has a close
        frame to send.
        """
        if self._held:
            data = self._take_up(data)
        messages: list[bytes] = []
        self.wrong_kind_count = 0
        first_byte = self._first_byte
        mask_bit = self._mask_bit
        body_offset = self._body_offset
        is_text = self._is_text
        size = len(data)
        start = 0
        while size - start >= 2:
            length = data[start + 1] ^ mask_bit
            body = start + body_offset
            if length >= 126:
                if length == 126 and size - start >= 4:
                    length = data[start + 2] << 8 | data[start + 3]
                    body += 2
                elif length > 127:  # the mask bit is not what the role demands
                    self._hand_over(data[start:], messages)
                    return messages
                else:
                    length_size = 2 if length == 126 else 8
                    body += length_size
                    if size < start + 2 + length_size:
                        self._hold(data, start, body - start)
                        return messages
                    length = _LENGTH_64.unpack_from(data, start + 2)[0]
                if length > self.message_size_bytes_max:
                    self._hand_over(data[start:], messages)
                    return messages
            end = body + length
            if end > size:
                self._hold(data, start, end - start)
                return messages
            if data[start] == first_byte and self._is_plain:
                if mask_bit:
                    payload = apply_mask(data[body:end], data[body - 4 : body])  # type: ignore[arg-type]  # takes views
                else:
                    payload = bytes(data[body:end])
                if is_text and not payload.isascii() and not self._check_text(payload):
                    return messages
                messages.append(payload)
            else:
                self._hand_over(data[start:end], messages)
            start = end
        if start < size:
            self._hold(data, start, 2)
        return messages

    def frame(self, payload: bytes) -> tuple[bytes, bytes]:
        """One outgoing data message as its header and its body (masked by a client), to be sent one after the other."""
        mask_bit = _MASKED ^ self._mask_bit
        header = _header(self._first_byte, mask_bit, len(payload))
        if not mask_bit:
            return header, payload
        position = self._mask_position
        if position >= len(self._mask_pool):
            self._mask_pool = os.urandom(_MASK_POOL_SIZE_BYTES)
            position = 0
        mask = self._mask_pool[position : position + 4]
        self._mask_position = position + 4
        return header + mask, apply_mask(payload, mask)

    def _take_up(self, data: bytes | memoryview) -> bytes:
        """What is held and `data` behind it, if that is as much as was waited for; else nothing."""
        held = self._held
        held.append(bytes(data))
        self._held_size += len(data)
        if self._held_size >= self._wanted_size:
            self._held = []
            return b"".join(held)
        if len(held) > _HELD_COUNT_MAX:
            self._held = [b"".join(held)]
        return b""

    def _hold(self, data: bytes | memoryview, start: int, wanted_size: int) -> None:
        self._held.append(bytes(data[start:]))
        self._held_size = len(data) - start
        self._wanted_size = wanted_size

    def _hand_over(self, data: bytes | memoryview, messages: list[bytes]) -> None:
        """Let the protocol object take `data`: one whole frame, or the beginning of something that it will refuse."""
        protocol = self.protocol
        protocol.receive_data(bytes(data))
        self._is_plain = protocol.current_size is None and protocol.state is State.OPEN
        for event in protocol.events_received():
            opcode: Opcode = event.opcode  # type: ignore[union-attr]  # after the handshake, events are frames
            if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
                self._fragments_opcode = opcode
            elif opcode is not Opcode.CONT:
                continue
            self._fragments += event.data  # type: ignore[union-attr]
            if event.fin:  # type: ignore[union-attr]
                payload = bytes(self._fragments)
                self._fragments.clear()
                if self._fragments_opcode is not self._opcode:
                    self.wrong_kind_count += 1
                elif not self._is_text or self._check_text(payload):
                    messages.append(payload)

    def _check_text(self, payload: bytes) -> bool:
        """RFC 6455 (8.1): text that is not UTF-8 fails the connection. Checked here so that no peer is sent any."""
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            self._is_plain = False
            self.protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            return False
        return True
