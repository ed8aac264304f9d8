"""What a client shows when it connects: a token that appears nowhere else, and its side of TLS."""

import datetime
import logging
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import pytest
import trustme
from taskferry.credentials.tls import TlsError, client_context
from taskferry.credentials.token import Token
from taskferry.protocol.encodings import Encoding
from taskferry.transport.admission import HandshakeRequest, Refusal, RefusalReason
from taskferry.transport.connect import ConnectError, connect
from taskferry.transport.group import LinkGroup
from taskferry.transport.settings import LinkSettings
from taskferry.transport.websocket_log import websocket_logger

from tests.unit.transport.ends import RawPeer, Recorder, open_port, raw_server
from tests.unit.transport.waiting import until

SECRET = "tfk_marked-and-never-shown"
AUTHORITY = trustme.CA()
LONG_AGO = datetime.datetime(2001, 1, 1)


async def failed(
    url: str, group: LinkGroup, token: Token | None = None, tls: ssl.SSLContext | None = None
) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await connect(url, Recorder(), group, LinkSettings(), Encoding.JSON, token=token, tls=tls)
    await until(lambda: not group.links)
    return caught.value


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_OPTIONAL
    AUTHORITY.configure_trust(context)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def ca(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return str(path)


def context_of(
    ca: str | None, certificate: str | None = None, key: str | None = None, *, skips: bool = False
) -> ssl.SSLContext | None:
    return client_context(ca=ca, certificate=certificate, key=key, skips_verification=skips)


async def test_a_token_is_a_header_of_the_handshake_and_of_no_log(
    group: LinkGroup, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Mapping[str, str]] = []

    def admit(request: HandshakeRequest) -> None:
        seen.append(request.headers)

    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, websocket_logger.name):
        async with open_port(group, admit=admit) as port:
            token = Token(SECRET)
            link = await connect(port.url, Recorder(), group, LinkSettings(), Encoding.JSON, token=token)
            link.close()
            await until(lambda: not group.links)
    assert seen[0]["authorization"] == f"Bearer {SECRET}"
    assert "Sec-WebSocket-Key" in caplog.text, "the library's log was on"
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(None, 0), ("7", 7), ("0", 0), ("-7", 0), ("7.5", 0), ("x", 0), ("\u0667", 0), ("9" * 400, 0),
     ("Wed, 21 Oct 2026 07:28:00 GMT", 0)],
)  # fmt: skip
async def test_a_refusal_has_its_status_and_when_to_come_back(
    group: LinkGroup, retry_after: str | None, seconds: float
) -> None:
    headers = b"" if retry_after is None else f"Retry-After: {retry_after}\r\n".encode()

    async def serve(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.write(b"HTTP/1.1 429 Slow Down\r\n" + headers + b"Content-Length: 5\r\n\r\nslow\n")

    async with raw_server(serve) as url:
        error = await failed(url, group)
    assert (str(error), error.status) == ("handshake refused: 429 slow", 429)
    assert (error.is_refused, error.retry_after_s) == (True, seconds)


@pytest.mark.parametrize("text", [f"no: {SECRET}", f"{'x' * 190}{SECRET}", f"\x1b[2J{SECRET}\u202e"])
async def test_a_server_that_echoes_the_token_does_not_get_it_into_an_error(
    group: LinkGroup, text: str
) -> None:
    async def serve(peer: RawPeer) -> None:
        await peer.read_head()
        body = text.encode()
        await peer.write(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async with raw_server(serve) as url:
        error = str(await failed(url, group, Token(SECRET)))
    assert SECRET[:8] not in error
    assert error.isprintable()


async def test_a_redirect_is_not_followed(group: LinkGroup) -> None:
    async def serve(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(serve) as url:
        error = await failed(url, group, Token(SECRET))
    assert error.status == 302
    assert not error.is_refused


async def test_a_client_trusts_an_authority_and_shows_a_certificate(
    group: LinkGroup, ca: str, tmp_path: Path
) -> None:
    seen: list[HandshakeRequest] = []
    mine = AUTHORITY.issue_cert("worker-1.example.org")
    certificate, key, both = (str(tmp_path / name) for name in ("c.pem", "k.pem", "both.pem"))
    mine.cert_chain_pems[0].write_to_path(certificate)
    mine.private_key_pem.write_to_path(key)
    mine.private_key_and_cert_chain_pem.write_to_path(both)
    server = server_context(AUTHORITY.issue_cert("localhost", "127.0.0.1"))
    async with open_port(group, admit=seen.append, tls=server) as port:
        url = port.url.replace("ws://", "wss://")
        for context in (
            context_of(ca),
            context_of(ca, certificate, key),
            context_of(ca, both),
            context_of(None, skips=True),
        ):
            assert context is not None
            assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
            link = await connect(url, Recorder(), group, LinkSettings(), Encoding.JSON, tls=context)
            link.close()
            await until(lambda: not group.links)
    assert [request.certificate is not None for request in seen] == [False, True, True, False]


CERTIFICATES = {
    "is from an authority that is not trusted; to trust its authority, give that authority's certificate with --ca": (
        trustme.CA().issue_cert("127.0.0.1")
    ),
    "is for another address: connect to a name or address that it is for; --ca": (
        AUTHORITY.issue_cert("broker.example")
    ),
    "has expired: renew it, or check the clock of this machine; --ca": (
        AUTHORITY.issue_cert("127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO)
    ),
}


@pytest.mark.parametrize("reason", CERTIFICATES)
async def test_each_problem_of_a_certificate_is_one_clear_line(
    group: LinkGroup, ca: str, reason: str
) -> None:
    async with open_port(group, tls=server_context(CERTIFICATES[reason])) as port:
        error = str(await failed(port.url.replace("ws://", "wss://"), group, tls=context_of(ca)))
    assert error.startswith(f"the certificate of 127.0.0.1 {reason}")
    assert "\n" not in error


async def test_a_name_that_a_certificate_is_not_for(group: LinkGroup, ca: str) -> None:
    async with open_port(group, tls=server_context(AUTHORITY.issue_cert("broker.example"))) as port:
        url = port.url.replace("ws://127.0.0.1", "wss://localhost")
        error = str(await failed(url, group, tls=context_of(ca)))
    assert error.startswith("the certificate of localhost is for another name")


async def test_the_system_does_not_trust_just_anybody(group: LinkGroup) -> None:
    async with open_port(group, tls=server_context(AUTHORITY.issue_cert("127.0.0.1"))) as port:
        assert "--ca" in str(await failed(port.url.replace("ws://", "wss://"), group))


async def test_what_does_not_go_together_is_a_permanent_error(group: LinkGroup, ca: str) -> None:
    error = await failed("ws://127.0.0.1:1", group, tls=context_of(ca))
    assert error.is_permanent
    error = await failed("ws://ann:pw@127.0.0.1:1", group, Token(SECRET))
    assert error.is_permanent
    assert "pw" not in str(error)


def test_files_that_are_none(ca: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nrubbish")
    one, another = (AUTHORITY.issue_cert(name) for name in ("a", "b"))
    certificate, key = str(tmp_path / "c.pem"), str(tmp_path / "k.pem")
    one.cert_chain_pems[0].write_to_path(certificate)
    another.private_key_pem.write_to_path(key)
    for error, arguments in {
        f"--ca: {missing}: no such file": (missing, None, None),
        f"--ca: {rubbish} is not a PEM file": (str(rubbish), None, None),
        f"--certificate: {missing}: no such file": (ca, missing, None),
        f"--key: {missing}: no such file": (ca, certificate, missing),
        "--key needs --certificate": (ca, None, key),
        f"--certificate: {certificate} and {key}: the key does not belong": (ca, certificate, key),
        f"--certificate: {certificate}: not PEM files of a certificate and its key": (ca, certificate, None),
    }.items():
        with pytest.raises(TlsError) as caught:
            context_of(*arguments)
        assert str(caught.value).startswith(error)
    assert context_of(None) is None


def test_the_file_for_the_keys_of_tls_is_named(
    ca: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "nowhere" / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    with pytest.raises(TlsError, match=f"^SSLKEYLOGFILE: {path}: no such file or directory$"):
        context_of(ca)


async def test_a_refusal_of_our_own_server_arrives(group: LinkGroup) -> None:
    refusal = Refusal(HTTPStatus.UNAUTHORIZED, "the token has run out", RefusalReason.UNAUTHENTICATED)
    async with open_port(group, admit=lambda _: refusal) as port:
        error = await failed(port.url, group, Token(SECRET))
    assert (str(error), error.status) == ("handshake refused: 401 the token has run out", 401)
