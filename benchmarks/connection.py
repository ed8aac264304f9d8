"""A bare client connection of the load generator: bytes in without a copy, bytes out in one of the two modes.

It covers the socket side only; its subclasses define which bytes make a message. It is an asyncio.BufferedProtocol
and not one of the SDKs, so that the load costs little and the same against every broker.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

from .load import Load
from .request_stream import LoadFailed, RequestStream

OPEN_TIMEOUT_S = 10.0
# The most that uvloop reads at once; the rest of a message must fit beside it.
READ_BYTES_MAX = 262_144
# Envelope and headers around the data of one message; every broker here stays far below.
ENVELOPE_BYTES_MAX = 4_096


# All connections read into it, because each read is processed before the next. A buffer for each of 10,000 idle
# connections would fill the memory.
_SHARED_BUFFER = bytearray(READ_BYTES_MAX)
_SHARED_VIEW = memoryview(_SHARED_BUFFER)


class Connection(asyncio.BufferedProtocol, ABC):
    """One connection. `send` writes at once in mode `each`, or with the rest of its read batch in mode `joined`.

    It gets its own buffer with the first read that ends within a message.
    """

    __slots__ = (
        "_abort",
        "_buffer",
        "_filled_bytes",
        "_joined",
        "_outgoing",
        "_own_buffer_bytes",
        "_settled",
        "_stream",
        "_transport",
        "_view",
        "send",
    )

    def __init__(self, load: Load, stream: RequestStream) -> None:
        """A peer of `load`; any error on it fails `stream`. Made within a running event loop."""
        self._stream = stream
        self._own_buffer_bytes = READ_BYTES_MAX + len(load.data) + ENVELOPE_BYTES_MAX
        self._buffer = _SHARED_BUFFER
        self._view = _SHARED_VIEW
        self._filled_bytes = 0
        self._joined = load.mode == "joined"
        self._outgoing: list[bytes] = []
        self._settled = asyncio.Event()
        self._transport: asyncio.Transport
        self._abort: Callable[[], object] = _not_connected
        self.send: Callable[[bytes], object]

    async def open(self, address: tuple[str, int]) -> None:
        """Connects, and returns when the broker has accepted this peer. Raises LoadFailed, OSError."""
        host, port = address
        await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        try:
            await asyncio.wait_for(self._settled.wait(), OPEN_TIMEOUT_S)
        except TimeoutError:
            raise LoadFailed(f"no welcome from {host}:{port} within {OPEN_TIMEOUT_S:g} s") from None
        self._stream.check()

    def close(self) -> None:
        """Ends the connection, without a close frame or the like."""
        self._abort()

    def flush(self) -> None:
        """Writes what mode `joined` has collected."""
        if self._outgoing:
            self._transport.write(b"".join(self._outgoing))
            self._outgoing.clear()

    @abstractmethod
    def receive(self, buffer: bytearray, end: int) -> int:
        """Processes the whole messages in buffer[:end]; returns their size in octets."""

    @abstractmethod
    def greet(self) -> None:
        """The connection is up: send the client's first bytes."""

    def welcomed(self) -> None:
        """The broker has accepted this peer."""
        self._settled.set()

    def fail(self, reason: str) -> None:
        """The load can no longer use this connection."""
        self._stream.fail(reason)
        self._settled.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._abort = self._transport.abort
        # uvloop and asyncio alike: a write to an empty transport is one send to the socket, there and then.
        self.send = self._outgoing.append if self._joined else self._transport.write
        self.greet()
        self.flush()

    def get_buffer(self, sizehint: int) -> Any:
        return self._view[self._filled_bytes :]

    def buffer_updated(self, nbytes: int) -> None:
        end = self._filled_bytes + nbytes
        taken = self.receive(self._buffer, end)
        rest = end - taken
        if rest:
            self._keep(taken, end)
        self._filled_bytes = rest
        if self._outgoing:
            self.flush()

    def _keep(self, start: int, end: int) -> None:
        """Move the beginning of a message to the beginning of this connection's own buffer."""
        beginning = self._view[start:end]
        if self._buffer is _SHARED_BUFFER:
            self._buffer = bytearray(self._own_buffer_bytes)
            self._view = memoryview(self._buffer)
        elif start == 0:
            return
        self._view[: end - start] = beginning

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"the broker closed a connection: {exc or 'end of stream'}")


def _not_connected() -> None:
    """There is nothing to end yet."""
