"""A WebSocket client that keeps no rule: a bare socket, on which any bytes can be sent, frames of any kind among them.

It blocks: in a coroutine that must run on meanwhile, call it with `asyncio.to_thread`.
"""

import contextlib
import select
import socket
import struct
import time
import urllib.parse
from types import TracebackType
from typing import Final, NamedTuple, Self

from tests.processes import PATIENCE_S, Hangs

CONT: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
FIN: Final = 0x80
_KEY: Final = b"\0\0\0\0"
"""A masking key that leaves the payload as it is."""


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def handshake(subprotocol: str = "", *lines: str) -> bytes:
    """The head of a WebSocket handshake, with `lines` added."""
    offered = [f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []
    head = (
        *("GET / HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"),
        *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"),
        *(*offered, *lines, "", ""),
    )
    return "\r\n".join(head).encode()


def frame(
    opcode: int, payload: bytes = b"", *, first_bits: int = FIN, announced_size: int | None = None
) -> bytes:
    """A masked frame. `announced_size`: the length in its head, whatever follows."""
    size = len(payload) if announced_size is None else announced_size
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes((first_bits | opcode,)) + length + _KEY + payload


def answer_to(url: str, *pieces: bytes, within_s: float | None = None) -> bytes:
    """All that is answered to `pieces`, sent one after the other on a new connection, until it ends; or `within_s`, if
    it may stay open."""
    answer = b""
    with socket.create_connection(address_of(url), timeout=PATIENCE_S) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        may_stay_open = within_s is not None
        connection.settimeout(within_s or PATIENCE_S)
        with contextlib.suppress(ConnectionError, *([TimeoutError] if may_stay_open else [])):
            while data := connection.recv(65536):
                answer += data
    return answer


class Frame(NamedTuple):
    """A frame from the broker."""

    opcode: int
    payload: bytes


class RawPeer:
    """One connection to `url`; a context manager. `subprotocol` as in the handshake. `receive_buffer_bytes`: what its
    operating system takes in for it, if it does not read."""

    def __init__(
        self, url: str, subprotocol: str = "", *lines: str, receive_buffer_bytes: int | None = None
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(address_of(url))
        self.socket.sendall(handshake(subprotocol, *lines))
        self._received = b""
        head = self._read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self.socket.sendall(data)

    def send_while_open(self, data: bytes) -> bool:
        """The same, unless the broker has sent something: then False, and nothing is sent. It is no error if the broker
        drops the connection meanwhile."""
        if select.select([self.socket], [], [], 0)[0]:
            return False
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)
        return True

    def receive(self) -> Frame:
        """The next frame. Raises ConnectionError if the connection ends before it is whole."""
        opcode, size = self._take(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return Frame(opcode & 0x0F, self._take(size))

    def close_code(self) -> int | None:
        """The code with which the broker closes, after whatever else it sends; None if it just drops the connection."""
        give_up_at = time.monotonic() + PATIENCE_S
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < give_up_at:
                found = self.receive()
                if found.opcode == CLOSE:
                    return int(struct.unpack_from("!H", found.payload)[0])
            raise Hangs(f"not closed within {PATIENCE_S:g} s")
        return None

    def is_alive(self) -> bool:
        """Whether the broker answers a ping, after whatever else it sends."""
        self.send(frame(PING, b"still there?"))
        with contextlib.suppress(ConnectionError):
            while True:
                found = self.receive()
                if found == Frame(PONG, b"still there?"):
                    return True
                if found.opcode == CLOSE:
                    return False
        return False

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._read()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._read()
        found, _, self._received = self._received.partition(end)
        return found + end

    def _read(self) -> None:
        data = self.socket.recv(1024 * 1024)
        if not data:
            raise ConnectionError("the broker has closed the connection")
        self._received += data
