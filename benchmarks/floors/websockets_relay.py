"""Floor: a bare relay on `websockets`' Sans-I/O ServerProtocol, every frame through it both ways.

No fast path and nothing of what a message says: what a broker on this library costs before it has any rules.
"""

import asyncio
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from .relay import HOST, Relay, serve


class Connection(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_is_worker", "_pass_on", "_protocol", "_relay", "_transport", "outgoing")

    def __init__(self, relay: Relay, is_worker: bool) -> None:
        self._relay = relay
        self._is_worker = is_worker
        self._pass_on = relay.to_requester if is_worker else relay.to_workers
        self._protocol = ServerProtocol()
        self._transport: asyncio.Transport
        self.outgoing: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_worker:
            self._relay.worker_left(self)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._accept(event)
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                self._pass_on(self, (bytes(event.data),))

    def flush(self) -> None:
        payloads, self.outgoing = self.outgoing, []
        for payload in payloads:
            self._protocol.send_binary(payload)
        self._write()

    def _accept(self, request: Request) -> None:
        if self._is_worker:
            self._relay.worker_joined(self)
        self._protocol.send_response(self._protocol.accept(request))
        self._write()

    def _write(self) -> None:
        self._transport.write(b"".join(self._protocol.data_to_send()))


async def listen(relay: Relay, is_worker: bool) -> asyncio.Server:
    """A server for connections of one kind."""
    return await asyncio.get_running_loop().create_server(
        lambda: Connection(relay, is_worker), HOST, 0, backlog=1_024
    )


if __name__ == "__main__":
    serve(listen)
