"""Whether a peer takes what it is sent, however slowly, as far as our operating system knows.

A link that only looks at its own buffers cannot tell a peer that reads slowly from one that does not read: the system
holds megabytes more, and asks for the next bytes only when a third of them has gone. Linux counts what was acknowledged
(TCP_INFO) and what was not (SIOCOUTQ); elsewhere nothing is known.
"""

import socket
import struct
import sys
from asyncio import Transport
from typing import Final

try:
    import fcntl
    import termios
except ImportError:  # Windows
    pass

_INFO_SIZE_BYTES: Final = 128
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` in `struct tcp_info`, since Linux 4.2; it counts up from the beginning of the connection."""
_INT: Final = struct.Struct("=i")


def taken_size_bytes(sock: socket.socket) -> int | None:
    """All that the peer's system has acknowledged on this connection; None if ours does not say."""
    if sys.platform != "linux":
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE_BYTES)
        return int(_ACKNOWLEDGED.unpack(info)[0])
    except (OSError, struct.error):  # not TCP, or just closed; an older system
        return None


def untaken_size_bytes(sock: socket.socket) -> int:
    """What our system holds that the peer's has not acknowledged; 0 if it does not say."""
    if sys.platform != "linux":
        return 0
    try:
        return int(_INT.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, _INT.pack(0)))[0])
    except OSError:
        return 0


class Taking:
    """What the peer of one connection takes. `at`: when it was last seen to take something, in seconds of the caller's
    clock."""

    __slots__ = ("_before_ping_end", "_size", "_transport", "at")

    def __init__(self, transport: Transport, now: float) -> None:
        self._transport = transport
        self._size = 0
        self._before_ping_end = 0
        """As a value of `_size`: where what was sent before the ping ends. 0 until that has been looked up."""
        self.at = now

    def begins(self, now: float) -> None:
        """It does not take all at once, from now on."""
        self._size = self._look()
        self.at = now

    def goes_on(self, now: float) -> bool:
        """Whether it has taken something since the last look."""
        size = self._look()
        if size <= self._size:
            return False
        self._size = size
        self.at = now
        return True

    def pinged(self) -> None:
        """It is sent a ping."""
        self._before_ping_end = 0

    def goes_on_before_ping(self, now: float) -> bool:
        """Whether it has taken more of what was sent before the ping, since the last look. Its pong can only come after
        that. To take what was sent later is no sign of life: its system does so for a process that stands still."""
        if self._before_ping_end:
            return self._size < self._before_ping_end and self.goes_on(now)
        self._size = self._look()
        self._before_ping_end = self._size + untaken_size_bytes(self._transport.get_extra_info("socket"))
        return False

    def _look(self) -> int:
        """Grows while it takes something."""
        size = taken_size_bytes(self._transport.get_extra_info("socket"))
        return -self._transport.get_write_buffer_size() if size is None else size
