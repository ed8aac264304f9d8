"""Floor: sends each requester the chunks that it asks for: a link in one hop."""

import asyncio

from ..chunk_stream import ChunkStreams
from ..load import Load
from .chunk_peers import LinkSender
from .relay import HOST, Relay, serve
from .tcp_relay import WELCOME


class Connection(LinkSender):
    """One connection."""

    __slots__ = ()

    def greet(self) -> None:
        self.send(WELCOME)


async def listen(relay: Relay, is_worker: bool) -> asyncio.Server:
    """A server; there are no workers."""
    return await asyncio.get_running_loop().create_server(
        lambda: Connection(Load(b""), ChunkStreams(), ""), HOST, 0
    )


if __name__ == "__main__":
    serve(listen)
