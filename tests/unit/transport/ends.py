"""Ends of connections for tests: a receiver that records, a listening port, a peer with a bare socket."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from taskferry.protocol.encodings import Encoding
from taskferry.transport.admission import HandshakeRequest, Refusal
from taskferry.transport.connect import connect
from taskferry.transport.counts import LinkCounts
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.listen import listen
from taskferry.transport.receiver import Receiver
from taskferry.transport.settings import LinkSettings
from taskferry.transport.sockets import bound_sockets
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from tests.unit.transport.waiting import WITHIN_S, until


class Recorder:
    """Records everything that its link reports."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.messages: list[bytes] = []
        self.wrong_kind_count = 0
        self.reasons: list[str] = []

    @property
    def link(self) -> Link:
        (link,) = self.links
        return link

    def link_opened(self, link: Link) -> None:
        self.links.append(link)

    def messages_received(self, payloads: list[bytes]) -> None:
        assert payloads
        self.messages += payloads

    def wrong_kind_received(self) -> None:
        self.wrong_kind_count += 1

    def link_closed(self, reason: str) -> None:
        self.reasons.append(reason)

    async def opened(self) -> Link:
        await until(lambda: self.links)
        return self.link

    async def closed(self) -> str:
        """Why the link has closed; that is reported once."""
        await until(lambda: self.reasons)
        (reason,) = self.reasons
        return reason


class Echo(Recorder):
    """Sends every message back unchanged, and an error text for one of the wrong kind."""

    def messages_received(self, payloads: list[bytes]) -> None:
        super().messages_received(payloads)
        for payload in payloads:
            self.link.send(payload)

    def wrong_kind_received(self) -> None:
        super().wrong_kind_received()
        self.link.send(b"wrong kind")


class Port:
    """A listening port, the receivers of the links that have opened on it, and why other connections ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.receivers: list[Recorder] = []
        self.failures: list[str] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.number}"

    async def receiver(self) -> Recorder:
        """That of the only link so far."""
        await until(lambda: self.receivers)
        (receiver,) = self.receivers
        return receiver

    async def failure(self) -> str:
        """Why the only other connection never opened."""
        await until(lambda: self.failures)
        (failure,) = self.failures
        return failure


@asynccontextmanager
async def open_port(
    group: LinkGroup,
    settings: LinkSettings | None = None,
    make_receiver: Callable[[], Recorder] = Recorder,
    *,
    admit: Callable[[HandshakeRequest], Refusal | None] = lambda _: None,
    counts: LinkCounts | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Port]:
    def make(request: HandshakeRequest) -> Receiver | Refusal:
        refusal = admit(request)
        if refusal is not None:
            return refusal
        port.receivers.append(make_receiver())
        return port.receivers[-1]

    def never_opened(peer: str, reason: str) -> None:
        assert peer.startswith("127.0.0.1:")
        port.failures.append(reason)

    server = await listen(
        bound_sockets("127.0.0.1", 0)[0],
        make,
        group,
        settings or LinkSettings(),
        never_opened=never_opened,
        counts=counts,
        tls=None if tls is None else lambda: tls,
    )
    port = Port(server.sockets[0].getsockname()[1])
    try:
        yield port
    finally:
        server.close()


async def open_link(
    url: str, group: LinkGroup, settings: LinkSettings | None = None, encoding: Encoding = Encoding.JSON
) -> tuple[Recorder, Link]:
    recorder = Recorder()
    link = await connect(url, recorder, group, settings or LinkSettings(), encoding)
    return recorder, link


def handshake(*lines: str, method: str = "GET", path: str = "/", version: str = "HTTP/1.1") -> bytes:
    """The head of a WebSocket client's request, with these lines added."""
    head = [
        f"{method} {path} {version}",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode()


class RawPeer:
    """A bare socket: writes and reads only on request, and never answers by itself."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._loop = asyncio.get_running_loop()
        self._stream = StreamReader()

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(WITHIN_S):
            await self._loop.sock_sendall(self.socket, data)

    async def read(self, size_max: int = 65536) -> bytes:
        """What has arrived, up to `size_max` bytes; empty at the end of the stream."""
        async with asyncio.timeout(WITHIN_S):
            return await self._loop.sock_recv(self.socket, size_max)

    async def read_head(self) -> str:
        """The head of the answer to a handshake."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = await self.read(1)
            if not byte:
                break
            head += byte
        return head.decode()

    async def read_all(self) -> bytes:
        """Everything up to the end of the stream."""
        data = b""
        while chunk := await self.read():
            data += chunk
        return data

    async def read_frames(self, count: int = 1) -> list[Frame]:
        """The next frames of a server. Raises EOFError if the stream ends before."""
        frames: list[Frame] = []
        while len(frames) < count:
            parser = Frame.parse(self._stream.read_exact, mask=False)
            while True:
                try:
                    next(parser)
                except StopIteration as stop:
                    frames.append(stop.value)
                    break
                chunk = await self.read()
                if not chunk:
                    raise EOFError(f"{len(frames)} frames of {count}: {frames}")
                self._stream.feed_data(chunk)
        return frames

    async def read_messages(self, count: int) -> list[bytes]:
        frames = await self.read_frames(count)
        assert all(frame.opcode in (Opcode.TEXT, Opcode.BINARY) for frame in frames), frames
        return [bytes(frame.data) for frame in frames]

    def end_writing(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


@asynccontextmanager
async def raw_peer(port: Port, request: bytes | None = None) -> AsyncIterator[RawPeer]:
    """A bare socket connected to `port`, its handshake (`request`, or a plain one) done unless that is empty."""
    sock = socket.socket()
    # Small, so that a peer that does not read has an effect soon.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer = RawPeer(sock)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port.number))
        if request is None:
            await peer.write(handshake())
            assert (await peer.read_head()).startswith("HTTP/1.1 101 ")
        elif request:
            await peer.write(request)
        yield peer
    finally:
        peer.close()


@asynccontextmanager
async def raw_server(serve: Callable[[RawPeer], object]) -> AsyncIterator[str]:
    """The URL of a port that passes each connection to the coroutine function `serve`, then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()

    async def accept() -> None:
        while True:
            sock, _ = await loop.sock_accept(listener)
            peer = RawPeer(sock)
            try:
                await serve(peer)  # type: ignore[misc]
            finally:
                peer.close()

    task = asyncio.create_task(accept())
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
