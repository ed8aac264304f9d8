"""WebSocket client framing for the load generator (RFC 6455), as little of it as a load on a correct broker needs.

The handshake, whole data frames, ping and close; fragments and extensions are not negotiated and end the load.
"""

import base64
import os
from abc import abstractmethod

from .connection import Connection
from .load import Load
from .request_stream import RequestStream

TEXT = 0x81
BINARY = 0x82
CLOSE = 0x88
PING = 0x89
PONG = 0x8A

# One octet four times makes a mask that does not depend on the offset, so messages can be built from parts that were
# masked before. To the receiver it is a key like any other; an application would have to choose it at random.
MASK_OCTET = 0xA5
MASK_KEY = bytes([MASK_OCTET]) * 4
_MASKED = bytes(octet ^ MASK_OCTET for octet in range(256))


def masked(payload: bytes | bytearray) -> bytes:
    """`payload` under the mask of this module."""
    return bytes(payload.translate(_MASKED))


def frame_head(opcode_octet: int, payload_bytes: int) -> bytes:
    """Header and mask key of an unfragmented client frame."""
    if payload_bytes < 126:
        length = bytes([0x80 | payload_bytes])
    elif payload_bytes < 65_536:
        length = bytes([0x80 | 126]) + payload_bytes.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + payload_bytes.to_bytes(8, "big")
    return bytes([opcode_octet]) + length + MASK_KEY


def frame(opcode_octet: int, payload: bytes) -> bytes:
    """A whole client frame."""
    return frame_head(opcode_octet, len(payload)) + masked(payload)


class WebSocketConnection(Connection):
    """A connection that speaks WebSocket without extensions, in data frames of one kind."""

    __slots__ = ("_opcode_octet", "_subprotocol", "_upgraded", "pings_count")

    def __init__(
        self, load: Load, stream: RequestStream, opcode_octet: int = TEXT, subprotocol: str | None = None
    ) -> None:
        """`pings_count` are the pings that it has answered."""
        super().__init__(load, stream)
        self._opcode_octet = opcode_octet
        self._subprotocol = subprotocol
        self._upgraded = False
        self.pings_count = 0

    @abstractmethod
    def upgraded(self) -> None:
        """The handshake is done."""

    @abstractmethod
    def take_message(self, buffer: bytearray, start: int, end: int) -> None:
        """One whole message, buffer[start:end]."""

    def greet(self) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        offer = f"Sec-WebSocket-Protocol: {self._subprotocol}\r\n" if self._subprotocol else ""
        self.send(
            (
                "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
            ).encode()
        )

    def receive(self, buffer: bytearray, end: int) -> int:
        position = 0 if self._upgraded else self._take_handshake(buffer, end)
        opcode_octet = self._opcode_octet
        while end - position >= 2:
            length = buffer[position + 1]
            start = position + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if start > end:
                    return position
                length = int.from_bytes(buffer[position + 2 : start], "big")
            after = start + length
            if after > end:
                return position
            if buffer[position] == opcode_octet:
                self.take_message(buffer, start, after)
            else:
                self._take_control(buffer[position], bytes(buffer[start:after]))
            position = after
        return position

    def _take_handshake(self, buffer: bytearray, end: int) -> int:
        head_end = buffer.find(b"\r\n\r\n", 0, end)
        if head_end < 0:
            return 0
        status_line = bytes(buffer[: buffer.find(b"\r\n")])
        if b" 101 " not in status_line:
            self.fail(f"WebSocket handshake refused: {status_line.decode(errors='replace')}")
            return end
        self._upgraded = True
        self.upgraded()
        return head_end + 4

    def _take_control(self, opcode_octet: int, payload: bytes) -> None:
        if opcode_octet == PING:
            self.pings_count += 1
            self.send(frame(PONG, payload))
        elif opcode_octet == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self.fail(f"the broker closed with {code}: {payload[2:].decode(errors='replace')}")
        else:
            self.fail(f"a frame that no broker should send here: first octet {opcode_octet:#04x}")
