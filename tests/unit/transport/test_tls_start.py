"""TLS on accepted connections: what of a handshake is counted, bounded and explained."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trustme
from taskferry.transport.admission import RefusalReason
from taskferry.transport.counts import LinkCounts
from taskferry.transport.group import LinkGroup
from taskferry.transport.settings import LinkSettings
from taskferry.transport.tls_start import TlsHandshakes

from tests.unit.transport.ends import Echo, handshake, open_port, raw_peer
from tests.unit.transport.waiting import WITHIN_S, until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(context)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_who_leaves_is_counted_and_took_no_place(group: LinkGroup, server: ssl.SSLContext) -> None:
    counts = LinkCounts()
    async with open_port(group, counts=counts, tls=server) as port, raw_peer(port, b"\x16") as idle:
        idle.close()
        assert await port.failure() == "connection lost during the TLS handshake"
        assert counts.connections_count == 0
        assert counts.handshakes_refused[RefusalReason.TLS_FAILED] == 1


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_read(
    group: LinkGroup, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    counts = LinkCounts()
    async with open_port(group, make_receiver=Echo, counts=counts, tls=server) as port:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with raw_peer(port, b"") as peer:
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            await peer.write(outgoing.read())
            while True:
                incoming.write(await peer.read())
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await peer.write(outgoing.read())
            tls.write(handshake())
            await peer.write(outgoing.read())  # the end of the handshake, and the request
            receiver = await port.receiver()
            await receiver.opened()
            assert counts.connections_count == 1


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (handshake(), "it sent plain HTTP, and this port speaks TLS: use wss:// or https://"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "it did not speak TLS"),
    ],
)
async def test_what_is_not_tls_is_explained(
    group: LinkGroup, server: ssl.SSLContext, sent: bytes, expected: str
) -> None:
    counts = LinkCounts()
    async with open_port(group, counts=counts, tls=server) as port, raw_peer(port, sent):
        assert await port.failure() == expected
    assert counts.handshakes_refused[RefusalReason.TLS_FAILED] == 1


async def test_an_unfinished_handshake_is_bounded_in_time(group: LinkGroup, server: ssl.SSLContext) -> None:
    counts = LinkCounts()
    settings = LinkSettings(handshake_s_max=0.1)
    async with open_port(group, settings, counts=counts, tls=server) as port, raw_peer(port, b"\x16") as peer:
        assert await port.failure() == "TLS handshake not finished within 0.1 s"
        assert await peer.read_all() == b""
    assert (counts.connections_count, counts.handshakes_refused[RefusalReason.TOO_SLOW]) == (0, 1)


async def test_a_client_certificate_of_another_authority_is_explained(
    group: LinkGroup, server: ssl.SSLContext, authority: trustme.CA
) -> None:
    client = ssl.create_default_context()
    authority.configure_trust(client)
    trustme.CA().issue_cert("worker").configure_cert(client)
    async with open_port(group, tls=server) as port:
        with contextlib.suppress(OSError):  # with TLS 1.3 it has sent it before the answer comes
            await talk(port.number, client)
        assert (await port.failure()).startswith("its certificate is not accepted: ")


async def test_a_client_that_does_not_trust_the_server_is_explained(
    group: LinkGroup, server: ssl.SSLContext
) -> None:
    async with open_port(group, tls=server) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(connect_blocking, port.number)
        assert await port.failure() == "it does not trust this server's certificate (unknown authority)"


def connect_blocking(port: int) -> None:
    """With default trust. asyncio would leave without a word if it trusts nobody."""
    with socket.create_connection(("127.0.0.1", port), WITHIN_S) as sock:
        ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")


async def talk(port: int, context: ssl.SSLContext) -> None:
    async with asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        try:
            await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def few(server: ssl.SSLContext, failures: list[tuple[str, RefusalReason]]) -> AsyncIterator[int]:
    """A port that takes two unfinished handshakes, and answers what is whole with one byte."""

    class Greeting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast(asyncio.Transport, transport).write(b"!")
            transport.close()

    handshakes = TlsHandshakes(
        lambda: server,
        count_max=2,
        s_max=WITHIN_S,
        failed=lambda peer, text, reason: failures.append((text, reason)),
    )
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: handshakes.start(Greeting), "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def test_the_oldest_unfinished_handshake_makes_room(
    group: LinkGroup, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    failures: list[tuple[str, RefusalReason]] = []
    async with few(server, failures) as port:
        idle = [socket.create_connection(("127.0.0.1", port))]
        await asyncio.sleep(0.05)  # whichever comes first is the oldest
        await talk(port, client)
        assert failures == [], "two are allowed"
        idle += [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        await until(lambda: failures)
        text = "over 2 unfinished TLS handshakes, of which this was the oldest"
        assert failures == [(text, RefusalReason.TOO_MANY_CONNECTIONS)]
        idle[0].setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(idle[0], 1) == b""
        for sock in idle:
            sock.close()
        await until(lambda: len(failures) == 3)
