"""A peer that accepts a WebSocket connection, or not even that, and then sends and reads nothing: a frozen host."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol


@asynccontextmanager
async def silent_peer(*, accepts: bool = True) -> AsyncIterator[str]:
    """Its URL."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if not accepts:
            return
        protocol = ServerProtocol(subprotocols=[Subprotocol("taskferry.v1.json")])
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        writer.writelines(protocol.data_to_send())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for _ in range(4):
            await asyncio.sleep(0)  # lets `serve` see what has just been accepted
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)  # for the transports to close their sockets
