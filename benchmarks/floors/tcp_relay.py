"""Floor: length-prefixed messages (four octets) over TCP, cut from the stream and passed on as they are.

No WebSocket, no JSON, no id: what is left is the event loop, the kernel and the interpreter. The relay sends an empty
message to a connection once it has registered it.
"""

import asyncio
from typing import Any, cast

from .relay import HOST, Relay, serve

LENGTH_BYTES = 4
WELCOME = bytes(LENGTH_BYTES)
READ_BYTES_MAX = 262_144
# Up to this size pieces are joined into one write; above it the copy costs more than passing a list.
JOIN_BYTES_MAX = 65_536

_SHARED_BUFFER = bytearray(READ_BYTES_MAX)


class Connection(asyncio.BufferedProtocol):
    """One connection. All read into one buffer, and into their own if a read ends within a message."""

    __slots__ = ("_buffer", "_filled_bytes", "_is_worker", "_pass_on", "_relay", "_transport", "outgoing")

    def __init__(self, relay: Relay, is_worker: bool) -> None:
        self._relay = relay
        self._is_worker = is_worker
        self._pass_on = relay.to_requester if is_worker else relay.to_workers
        self._buffer = memoryview(_SHARED_BUFFER)
        self._filled_bytes = 0
        self._transport: asyncio.Transport
        self.outgoing: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._is_worker:
            self._relay.worker_joined(self)
        self._transport.write(WELCOME)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_worker:
            self._relay.worker_left(self)

    def get_buffer(self, sizehint: int) -> Any:
        return self._buffer[self._filled_bytes :]

    def buffer_updated(self, nbytes: int) -> None:
        buffer = self._buffer
        position, end = 0, self._filled_bytes + nbytes
        length_bytes = 0
        while end - position >= LENGTH_BYTES:
            length_bytes = int.from_bytes(buffer[position : position + LENGTH_BYTES], "big")
            after = position + LENGTH_BYTES + length_bytes
            if after > end:
                break
            self._pass_on(self, (bytes(buffer[position:after]),))
            position = after
        self._filled_bytes = end - position
        if self._filled_bytes:
            self._keep(buffer[position:end], READ_BYTES_MAX + LENGTH_BYTES + length_bytes)

    def _keep(self, beginning: memoryview, buffer_bytes_min: int) -> None:
        """Move the beginning of a message to the beginning of a buffer large enough for all of it."""
        if self._buffer.obj is _SHARED_BUFFER or len(self._buffer) < buffer_bytes_min:
            self._buffer = memoryview(bytearray(buffer_bytes_min))
        self._buffer[: len(beginning)] = beginning

    def flush(self) -> None:
        pieces, self.outgoing = self.outgoing, []
        if sum(map(len, pieces)) > JOIN_BYTES_MAX:
            self._transport.writelines(pieces)
        else:
            self._transport.write(b"".join(pieces))


async def listen(relay: Relay, is_worker: bool) -> asyncio.Server:
    """A server for connections of one kind."""
    return await asyncio.get_running_loop().create_server(
        lambda: Connection(relay, is_worker), HOST, 0, backlog=1_024
    )


if __name__ == "__main__":
    serve(listen)
