"""Frames as a peer might write them, valid or not. Built by hand: the code under test must not make its own input."""

import struct
from dataclasses import dataclass

from websockets.frames import Opcode

MASK = b"\x1f\x00\xa5\xff"


@dataclass(frozen=True)
class RawFrame:
    """One frame on the wire. `declared_length` replaces its true length and `length_size` pads it, if given."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    reserved: int = 0
    masked: bool = True
    length_size: int | None = None
    declared_length: int | None = None

    def to_bytes(self) -> bytes:
        length = len(self.payload) if self.declared_length is None else self.declared_length
        size = self.length_size if self.length_size is not None else _minimal_length_size(length)
        mask_bit = 0x80 if self.masked else 0
        head = bytes([(0x80 if self.fin else 0) | self.reserved << 4 | self.opcode])
        match size:
            case 0:
                head += bytes([mask_bit | length])
            case 2:
                head += bytes([mask_bit | 126]) + struct.pack("!H", length)
            case _:
                head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
        if not self.masked:
            return head + self.payload
        return head + MASK + _masked(self.payload)


def _masked(payload: bytes) -> bytes:
    size = len(payload)
    mask = (MASK * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)


def _minimal_length_size(length: int) -> int:
    if length < 126:
        return 0
    return 2 if length < 65536 else 8


def text(payload: bytes, *, masked: bool = True, fin: bool = True) -> bytes:
    return RawFrame(Opcode.TEXT, payload, masked=masked, fin=fin).to_bytes()


def binary(payload: bytes, *, masked: bool = True, fin: bool = True) -> bytes:
    return RawFrame(Opcode.BINARY, payload, masked=masked, fin=fin).to_bytes()


def continuation(payload: bytes, *, masked: bool = True, fin: bool = True) -> bytes:
    return RawFrame(Opcode.CONT, payload, masked=masked, fin=fin).to_bytes()


def ping(payload: bytes = b"", *, masked: bool = True) -> bytes:
    return RawFrame(Opcode.PING, payload, masked=masked).to_bytes()


def close(code: int, reason: bytes = b"", *, masked: bool = True) -> bytes:
    return RawFrame(Opcode.CLOSE, struct.pack("!H", code) + reason, masked=masked).to_bytes()
