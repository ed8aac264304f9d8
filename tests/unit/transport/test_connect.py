"""Opening a link: a link or one clear error in bounded time, and a receiver that is notified only of success."""

import asyncio
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.configuration.url import without_secrets
from taskferry.protocol.encodings import Encoding
from taskferry.transport.admission import Refusal, RefusalReason
from taskferry.transport.connect import ConnectError, check_url, connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.listen import listen
from taskferry.transport.settings import LinkSettings
from taskferry.transport.sockets import bound_sockets

from tests.unit.transport.ends import RawPeer, Recorder, open_link, open_port, raw_server
from tests.unit.transport.waiting import until


def unused_port() -> int:
    """A port without a listener: it was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def failed_connect(url: str, group: LinkGroup, handshake_s_max: float = 10.0) -> ConnectError:
    """The error of an attempt that must fail."""
    recorder = Recorder()
    with pytest.raises(ConnectError) as caught:
        await connect(url, recorder, group, LinkSettings(handshake_s_max=handshake_s_max), Encoding.JSON)
    await until(lambda: not group.links)
    assert (recorder.links, recorder.reasons) == ([], [])
    return caught.value


NO_URLS = [
    "",
    "broker",
    "broker:8765",
    "http://broker:8765",
    "ws://",
    "ws:///path",
    "ws://broker:99999",
    "ws://broker:port",
    "ws://broker:-1",
    "ws://[::1",
    "ws://a..b:8765",
    "ws://" + "x" * 64 + ":8765",
    "ws://broker/#fragment",
]


@pytest.mark.parametrize("url", NO_URLS)
async def test_an_invalid_url_is_a_permanent_error(group: LinkGroup, url: str) -> None:
    error = await failed_connect(url, group)
    assert (
        str(error) == f"{without_secrets(url)!r} is not a URL of the form ws://HOST:PORT or wss://HOST:PORT"
    )
    assert error.is_permanent


texts = st.text() | st.text().map("ws://".__add__)


@given(texts | st.from_regex(r"wss?://[\w.\[:\]%@]{0,40}(:\d{0,6})?", fullmatch=True))
def test_checking_a_url_raises_nothing_else(url: str) -> None:
    with suppress(ConnectError):
        assert 0 <= check_url(url).port <= 65535


async def test_there_is_no_listener(group: LinkGroup) -> None:
    error = await failed_connect(f"ws://127.0.0.1:{unused_port()}", group)
    assert str(error) == "connection refused"
    assert not error.is_permanent


@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop does not use Python's resolver
async def test_there_is_no_listener_at_any_address(group: LinkGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()

    def two_addresses(*_: Any, **__: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.1", port)), (*kind, ("127.0.0.2", port))]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    assert str(await failed_connect(f"ws://broker:{port}", group)) == "connection refused"


async def test_the_host_is_unknown(group: LinkGroup) -> None:
    error = await failed_connect("ws://broker.invalid:8765", group)
    assert "known" in str(error)
    assert not error.is_permanent


async def test_the_server_refuses(group: LinkGroup) -> None:
    text = "over 10000 connections on the worker port"
    full = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, RefusalReason.TOO_MANY_CONNECTIONS)
    async with open_port(group, admit=lambda _: full) as port:
        error = await failed_connect(port.url, group)
        assert str(error) == f"handshake refused: 503 {text}"
        assert not error.is_permanent


ANSWERS = {
    b"": "connection lost during the handshake",
    b"HTTP/1.1 101 Switch": "connection lost during the handshake",
    b"+OK ready\r\n\r\n": (
        "handshake refused: did not receive a valid HTTP response: invalid HTTP status line: +OK ready"
    ),
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 17\r\n\r\nno such page\nsorry": "handshake refused: 404 no such page",
    b"HTTP/1.1 403 Forbidden\r\n\r\nno, you": "handshake refused: 403 no, you",
    b"HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n0\r\n\r\n": (
        "handshake refused: 502 down"
    ),
    b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n": (
        "handshake refused: server rejected WebSocket connection: HTTP 301"
    ),
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n": (
        "handshake refused: missing Sec-WebSocket-Accept header"
    ),
    b"x" * 20000: "handshake over 16384 bytes",
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("chunk_size", [23, 100_000])
async def test_the_server_answers_something_else(group: LinkGroup, answer: bytes, chunk_size: int) -> None:
    async def serve(peer: RawPeer) -> None:
        await peer.read_head()
        for start in range(0, len(answer), chunk_size):
            await peer.write(answer[start : start + chunk_size])

    async with raw_server(serve) as url:
        assert str(await failed_connect(url, group)) == ANSWERS[answer]


async def test_the_server_answers_nothing(group: LinkGroup) -> None:
    async def serve(peer: RawPeer) -> None:
        await peer.read_all()

    async with raw_server(serve) as url:
        error = await failed_connect(url, group, handshake_s_max=0.05)
        assert str(error) == "no answer within 0.05 s"


async def test_the_server_speaks_no_tls(group: LinkGroup) -> None:
    async def serve(peer: RawPeer) -> None:
        await peer.read()
        await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(serve) as url:
        error = await failed_connect(url.replace("ws://", "wss://"), group)
        assert "SSL" in str(error)


async def test_an_attempt_can_be_cancelled(group: LinkGroup) -> None:
    is_waiting = asyncio.Event()

    async def serve(peer: RawPeer) -> None:
        await peer.read_head()
        is_waiting.set()
        await peer.read_all()

    async with raw_server(serve) as url:
        recorder = Recorder()
        task = asyncio.create_task(connect(url, recorder, group, LinkSettings(), Encoding.JSON))
        await is_waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not group.links)
        assert recorder.reasons == []


async def test_the_loss_of_an_open_link_is_reported_to_the_receiver(group: LinkGroup) -> None:
    async with open_port(group) as port:
        recorder, link = await open_link(port.url, group)
        assert recorder.link is link
        port.receivers[0].link.abort("gone")
        assert (await recorder.closed()).startswith("connection lost")


async def test_a_port_in_use_cannot_be_bound(group: LinkGroup) -> None:
    async with open_port(group) as port:
        with pytest.raises(OSError, match="in use"):
            await listen(
                bound_sockets("127.0.0.1", port.number)[0], lambda _: Recorder(), group, LinkSettings()
            )


async def test_a_file_that_tls_cannot_write_to_is_named(
    group: LinkGroup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "nowhere" / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    error = await failed_connect("wss://127.0.0.1:1", group)
    assert error.line == f"TLS cannot be set up: SSLKEYLOGFILE: {path}: no such file or directory"
    assert not error.is_permanent


@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop resolves names in threads of its own
async def test_a_moment_without_threads_is_an_error_like_others(
    group: LinkGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    error = await failed_connect("ws://localhost:1", group)
    assert str(error) == "RuntimeError: can't start new thread"
    assert not error.is_permanent
