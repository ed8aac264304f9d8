"""Handshakes that do not end in a link: each is answered, or dropped, in bounded time and bounded memory."""

import time

import pytest
from taskferry.transport.admission import RefusalReason
from taskferry.transport.counts import LinkCounts
from taskferry.transport.group import LinkGroup
from taskferry.transport.settings import LinkSettings

from tests.unit.transport import frames
from tests.unit.transport.ends import handshake, open_port, raw_peer
from tests.unit.transport.waiting import until

PLAIN_HTTP = b"GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n"
REFUSED = {
    "plain HTTP": (PLAIN_HTTP, 426, "You need a WebSocket client"),
    "another method": (handshake(method="POST"), 405, "POST"),
    "HTTP/1.0": (handshake(version="HTTP/1.0"), 505, "HTTP/1.0"),
    "no key": (
        handshake().replace(b"Sec-WebSocket-Key", b"X-Key"),
        400,
        "missing Sec-WebSocket-Key header",
    ),
    "another version": (
        handshake().replace(b"Version: 13", b"Version: 8"),
        400,
        "invalid Sec-WebSocket-Version header: 8",
    ),
    "unknown sub-protocols": (
        handshake("Sec-WebSocket-Protocol: taskferry.v2.json, chat"),
        400,
        "unknown sub-protocol; expected one of taskferry.v1.json, taskferry.v1.msgpack, or none",
    ),
    "a long path": (
        handshake().replace(b"GET /", b"GET /" + b"x" * 8192),
        414,
        "8192 bytes",
    ),
    "a long line": (handshake("X: " + "x" * 8192), 431, "8192 bytes"),
    "many lines": (handshake(*["X: x"] * 200), 431, "128"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_handshake_that_cannot_be_accepted_is_answered(group: LinkGroup, name: str) -> None:
    request, status, text = REFUSED[name]
    async with open_port(group) as port, raw_peer(port, request + frames.text(b"never read")) as peer:
        answer = (await peer.read_all()).decode()
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert text in answer
        peer.close()
        assert (await port.failure()).startswith("handshake refused: ")
        assert port.receivers == []


WITH_A_BODY = {
    "a form": (handshake("Content-Length: 3", method="POST") + b"a=b", 405, "\r\nAllow: GET\r\n"),
    "an upload": (
        handshake("Transfer-Encoding: chunked", method="PUT") + b"1\r\nx\r\n",
        405,
        "only GET opens",
    ),
    "a handshake": (handshake("content-length: 01") + b"x", 400, "a WebSocket handshake has no body"),
}


@pytest.mark.parametrize("name", WITH_A_BODY)
async def test_a_request_with_a_body_is_answered_as_well(group: LinkGroup, name: str) -> None:
    request, status, text = WITH_A_BODY[name]
    async with open_port(group) as port, raw_peer(port, request) as peer:
        answer = (await peer.read_all()).decode()
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert text in answer
        peer.close()
        await port.failure()
        assert port.receivers == []


async def test_a_body_of_no_length_is_none(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port, handshake("Content-Length: 0")) as peer:
        assert (await peer.read_head()).startswith("HTTP/1.1 101 ")


TOKEN = "tfk_marked-secret"


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (f"taskferry.v1.msgpack, taskferry.token.{TOKEN}", "taskferry.v1.msgpack"),
        (f"taskferry.token.{TOKEN}, taskferry.v1.json", "taskferry.v1.json"),
        (f"taskferry.token.{TOKEN}", None),
    ],
)
async def test_a_token_among_the_sub_protocols_is_no_encoding_and_is_never_echoed(
    group: LinkGroup, offered: str, selected: str | None
) -> None:
    request = handshake(f"Sec-WebSocket-Protocol: {offered}")
    async with open_port(group) as port, raw_peer(port, request) as peer:
        head = await peer.read_head()
        assert head.startswith("HTTP/1.1 101 ")
        assert (f"Sec-WebSocket-Protocol: {selected}\r\n" in head) is (selected is not None)
        assert "taskferry.token" not in head
        assert (await port.receiver()).link.encoding.subprotocol == (selected or "taskferry.v1.json")


@pytest.mark.parametrize(
    "line",
    [
        f"Sec-WebSocket-Protocol: taskferry.v1.json, taskferry.token.{TOKEN}==",
        f"Sec-WebSocket-Protocol: taskferry.v1.json taskferry.token.{TOKEN}",
        f"Sec-WebSocket-Protocol: chat, taskferry.token.{TOKEN}",
        f"Authorization: Bearer {TOKEN}\x00",
    ],
)
async def test_a_handshake_with_an_error_keeps_its_token_secret(
    group: LinkGroup, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_port(group) as port, raw_peer(port, handshake(line)) as peer:
        assert TOKEN.encode() not in await peer.read_all()
        peer.close()
        assert TOKEN not in await port.failure()
        assert TOKEN not in caplog.text


async def test_anything_but_http_is_dropped(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port, b"\x16\x02\x01 hello\r\n\r\n") as peer:
        assert await peer.read_all() == b""
        peer.close()
        reason = await port.failure()
        assert reason.startswith("handshake refused: did not receive a valid HTTP request: ")


async def test_tls_on_a_plain_port_is_explained(group: LinkGroup) -> None:
    counts = LinkCounts()
    async with open_port(group, counts=counts) as port, raw_peer(port, b"\x16\x03\x01\x02\x00") as peer:
        expected = "it spoke TLS, and this port does not: use ws://, or set tls_certificate"
        assert await port.failure() == expected
        assert await peer.read_all() == b""
    assert counts.handshakes_refused[RefusalReason.BAD_REQUEST] == 1


SMALL_HEAD = LinkSettings(handshake_size_bytes_max=len(handshake()) - len(b"\r\n\r\n"))


async def test_a_head_at_the_bound_is_accepted(group: LinkGroup) -> None:
    async with open_port(group, SMALL_HEAD) as port, raw_peer(port, handshake()) as peer:
        assert (await peer.read_head()).startswith("HTTP/1.1 101 ")


@pytest.mark.parametrize("is_finished", [False, True])
async def test_a_head_over_the_bound_is_refused(group: LinkGroup, is_finished: bool) -> None:
    request = handshake("X: ")
    if not is_finished:
        request = request.rstrip(b"\r\n")
    async with open_port(group, SMALL_HEAD) as port, raw_peer(port, request) as peer:
        assert (await peer.read_all()).startswith(b"HTTP/1.1 431 ")
        peer.close()
        bound = SMALL_HEAD.handshake_size_bytes_max
        assert await port.failure() == f"handshake over {bound} bytes"


async def test_a_handshake_that_is_never_finished_is_dropped(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port, b"GET / HTTP/1.1\r\n") as peer:
        await until(lambda: still_group.links)
        (link,) = still_group.links
        link.check(time.monotonic() + LinkSettings().handshake_s_max - 1)
        await peer.write(b"Host: broker\r\n")  # some progress is not enough
        link.check(time.monotonic() + LinkSettings().handshake_s_max)
        assert await port.failure() == "handshake not finished in time"


async def test_a_refused_client_that_does_not_disconnect_is_dropped(still_group: LinkGroup) -> None:
    async with open_port(still_group) as port, raw_peer(port, PLAIN_HTTP) as peer:
        await peer.read_all()
        (link,) = still_group.links
        link.check(time.monotonic() + LinkSettings().close_s_max)
        assert (await port.failure()).startswith(("peer did not finish", "handshake refused"))


async def test_a_client_that_leaves_before_its_handshake_is_forgotten(group: LinkGroup) -> None:
    async with open_port(group) as port, raw_peer(port, b"GET / HTTP/1.1\r\n") as peer:
        await until(lambda: group.links)
        peer.end_writing()
        assert await port.failure() == "connection lost during the handshake"
