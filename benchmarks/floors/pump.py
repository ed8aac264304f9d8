"""Floor: bytes from a worker's connection to a requester's and back, as they come: a link in two hops.

The first connections of both kinds belong together, then the second ones, and so on.
"""

import asyncio
from functools import partial
from typing import Any, cast

from .relay import HOST, Relay, serve
from .tcp_relay import READ_BYTES_MAX, WELCOME

_SHARED_VIEW = memoryview(bytearray(READ_BYTES_MAX))


class Connection(asyncio.BufferedProtocol):
    """One connection; its other end must be connected before it sends."""

    __slots__ = ("_others", "_own", "_place", "_write", "transport")

    def __init__(self, own: list["Connection"], others: list["Connection"]) -> None:
        self._own = own
        self._others = others
        self._place = 0
        self._write: Any = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._place = len(self._own)
        self._own.append(self)
        self.transport.write(WELCOME)

    def get_buffer(self, sizehint: int) -> Any:
        return _SHARED_VIEW

    def buffer_updated(self, nbytes: int) -> None:
        if self._write is None:
            self._write = self._others[self._place].transport.write
        self._write(bytes(_SHARED_VIEW[:nbytes]))


async def listen(
    workers: list[Connection], requesters: list[Connection], relay: Relay, is_worker: bool
) -> asyncio.Server:
    """A server for one kind of connection."""
    own, others = (workers, requesters) if is_worker else (requesters, workers)
    return await asyncio.get_running_loop().create_server(lambda: Connection(own, others), HOST, 0)


if __name__ == "__main__":
    serve(partial(listen, [], []))
