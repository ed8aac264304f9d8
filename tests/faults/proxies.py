"""A TCP proxy between a client and a broker that does to its bytes what a broken network does.

It runs in the test's event loop, needs no rights, and works on any system. A real network, for machines that allow one,
is in networks.py.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

READ_SIZE_BYTES: Final = 64 * 1024


class Proxy:
    """Passes TCP connections on to `target_url`; `url` is its own.

    `to_server` and `to_client` are its two directions: clear both events for a silent partition, one for a one-way
    partition. What is sent in a closed direction, the end of a connection too, is acknowledged up to what the kernel
    buffers, and arrives once the event is set again, as it does after retransmissions.
    """

    def __init__(self, target_url: str) -> None:
        target = urlsplit(target_url)
        self._target_host, self._target_port = target.hostname, target.port
        self.url = ""
        self.to_server = asyncio.Event()
        self.to_client = asyncio.Event()
        self.connections_count = 0
        """Connections accepted so far."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.heal()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"

    async def stop(self) -> None:
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def partition(self) -> None:
        """Pass nothing on, in either direction. No connection ends."""
        self.to_server.clear()
        self.to_client.clear()

    def heal(self) -> None:
        self.to_server.set()
        self.to_client.set()

    def cut(self) -> None:
        """Reset all connections on both sides. New ones are accepted."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_count += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = {writer}
        try:
            with suppress(OSError):
                server_reader, server_writer = await asyncio.open_connection(
                    self._target_host, self._target_port
                )
                writers.add(server_writer)
                self._writers |= writers
                await asyncio.gather(
                    _pass_on(reader, server_writer, self.to_server),
                    _pass_on(server_reader, writer, self.to_client),
                )
        finally:
            self._writers -= writers
            for one in writers:
                one.transport.abort()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event
) -> None:
    """Returns once the sender has closed its side. A reset ends the other side by an abort."""
    while True:
        try:
            data = await reader.read(READ_SIZE_BYTES)
        except OSError:
            await is_open.wait()
            writer.transport.abort()
            return
        await is_open.wait()
        if not data:
            with suppress(OSError):
                writer.write_eof()
            return
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def proxied(target_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of `target_url`."""
    proxy = Proxy(target_url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
