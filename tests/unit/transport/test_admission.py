"""The owner of a port decides from the handshake: what it sees of one, and how it refuses it."""

import asyncio
import ssl
from http import HTTPStatus
from typing import Final

import pytest
import trustme
from taskferry.protocol.encodings import Encoding
from taskferry.transport.admission import HandshakeRequest, Refusal, RefusalReason
from taskferry.transport.connect import ConnectError
from taskferry.transport.counts import LinkCounts
from taskferry.transport.group import LinkGroup

from tests.unit.transport.ends import handshake, open_link, open_port, raw_peer
from tests.unit.transport.waiting import WITHIN_S, until

REFUSALS: Final = {
    401: Refusal(
        HTTPStatus.UNAUTHORIZED,
        "a bearer token is needed",
        RefusalReason.BAD_REQUEST,
        {"WWW-Authenticate": 'Bearer realm="taskferry"'},
    ),
    403: Refusal(HTTPStatus.FORBIDDEN, "origin: not allowed here", RefusalReason.BAD_REQUEST),
    429: Refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too many connections from this address",
        RefusalReason.TOO_MANY_CONNECTIONS,
        {"Retry-After": "3"},
    ),
    503: Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "over 2 connections", RefusalReason.TOO_MANY_CONNECTIONS),
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_refusal_is_answered_with_its_status_headers_and_text(group: LinkGroup, status: int) -> None:
    refusal, counts = REFUSALS[status], LinkCounts()
    async with (
        open_port(group, admit=lambda _: refusal, counts=counts) as port,
        raw_peer(port, handshake()) as peer,
    ):
        head, _, body = (await peer.read_all()).decode().partition("\r\n\r\n")
        lines = head.split("\r\n")
        assert lines[0] == f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
        assert body == f"{refusal.text}\n"
        assert {f"{name}: {value}" for name, value in refusal.headers.items()} <= set(lines)
        await peer.write(b"more, which does not matter")
        peer.close()
        await until(lambda: not group.links)
    assert port.receivers == []
    assert port.failures == [], "the owner of the port knows"
    assert counts.handshakes_refused[refusal.reason] == 1


async def test_our_own_client_reports_the_status_and_the_text(group: LinkGroup) -> None:
    async with open_port(group, admit=lambda _: REFUSALS[403]) as port:
        with pytest.raises(ConnectError, match="403 origin: not allowed here"):
            await open_link(port.url, group)


async def test_it_sees_path_headers_origin_and_peer(group: LinkGroup) -> None:
    seen: list[HandshakeRequest] = []
    request = handshake(
        "Origin: https://example.org",
        "AUTHORIZATION: Bearer abc",
        "Sec-WebSocket-Protocol: taskferry.v1.msgpack, bearer.abc",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-For: 192.0.2.2",
        path="/ws?page=1",
    )
    async with open_port(group, admit=seen.append) as port, raw_peer(port, request) as peer:
        assert (await peer.read_head()).startswith("HTTP/1.1 101 ")
        assert (await port.receiver()).link.encoding is Encoding.MSGPACK
    (decided,) = seen
    assert decided.path == "/ws?page=1"
    assert decided.headers["host"] == "localhost"
    assert decided.headers["authorization"] == "Bearer abc"
    assert decided.headers["sec-websocket-protocol"] == "taskferry.v1.msgpack, bearer.abc"
    assert decided.headers["x-forwarded-for"] == "192.0.2.1, 192.0.2.2"
    assert decided.origin == "https://example.org"
    assert decided.peer_host == "127.0.0.1"
    assert decided.certificate is None


async def test_a_client_other_than_a_browser_has_no_origin(group: LinkGroup) -> None:
    seen: list[HandshakeRequest] = []
    async with open_port(group, admit=seen.append) as port, raw_peer(port):
        assert seen[0].origin is None


async def test_it_is_not_called_for_anything_but_a_websocket_handshake(group: LinkGroup) -> None:
    seen: list[HandshakeRequest] = []
    plain = b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"
    async with open_port(group, admit=seen.append) as port, raw_peer(port, plain) as peer:
        assert (await peer.read_all()).startswith(b"HTTP/1.1 426 ")
    assert seen == []


async def test_over_tls_it_sees_the_certificate_of_the_client(group: LinkGroup) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(server)
    authority.issue_cert("localhost").configure_cert(server)
    seen: list[HandshakeRequest] = []
    async with open_port(group, admit=seen.append, tls=server) as port:
        for has_certificate in (True, False):
            client = ssl.create_default_context()
            authority.configure_trust(client)
            if has_certificate:
                authority.issue_cert("worker-1.example.org").configure_cert(client)
            async with asyncio.timeout(WITHIN_S):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port.number, ssl=client, server_hostname="localhost"
                )
                writer.write(handshake())
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                writer.close()
        await until(lambda: not group.links)
    with_certificate, without = seen
    assert with_certificate.certificate is not None
    assert with_certificate.certificate["subjectAltName"] == (("DNS", "worker-1.example.org"),)
    assert without.certificate is None
