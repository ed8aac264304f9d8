"""The broker's certificate: which files are refused, and what a reload changes for whom."""

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from taskferry.broker.tls import ServerTls, TlsFiles
from taskferry.configuration.sources import ConfigurationError

WITHIN_S = 10.0


class Files:
    """The files of a broker's certificate, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.paths = TlsFiles(*(str(folder / name) for name in ("cert.pem", "key.pem", "client-ca.pem")))
        self.issue("one.example")
        self.trust_clients_of(self.authority)

    def issue(self, *names: str) -> None:
        issued = self.authority.issue_cert(*names)
        issued.private_key_pem.write_to_path(self.paths.key)
        Path(self.paths.certificate).write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    def trust_clients_of(self, authority: trustme.CA) -> None:
        assert self.paths.client_ca is not None
        authority.cert_pem.write_to_path(self.paths.client_ca)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Connection(threading.Thread):
    """One connection to a server with `tls`: what each side sees of the other. Stays open until `close`."""

    def __init__(self, tls: ServerTls, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        super().__init__()
        ours, theirs = socket.socketpair()
        ours.settimeout(WITHIN_S)
        theirs.settimeout(WITHIN_S)
        self._theirs = theirs
        self._context = tls.context()
        self.server: ssl.SSLSocket | None = None
        self.start()
        self.client = client.wrap_socket(
            ours, server_hostname="any", do_handshake_on_connect=False, session=session
        )
        try:
            self.client.do_handshake()
            self.client.sendall(b"?")
            self.client.recv(1)
        except OSError:
            self.client.close()
            raise
        finally:
            self.join()

    def run(self) -> None:
        server = self._context.wrap_socket(self._theirs, server_side=True, do_handshake_on_connect=False)
        try:
            server.do_handshake()
            server.sendall(server.recv(1))
            self.server = server
        except OSError:
            server.close()

    def close(self) -> None:
        self.client.close()
        assert self.server is not None
        self.server.close()


def client_of(files: Files, certificate_of: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    files.authority.configure_trust(context)
    if certificate_of is not None:
        certificate_of.issue_cert("worker-7.example").configure_cert(context)
    return context


def names_of(connection: Connection) -> list[str]:
    certificate: dict[str, Any] | None = connection.client.getpeercert()
    assert certificate is not None
    names: list[tuple[str, str]] = list(certificate["subjectAltName"])
    return [value for _, value in names]


def test_a_reload_is_for_handshakes_from_then_on(files: Files) -> None:
    tls = ServerTls(files.paths)
    before = Connection(tls, client_of(files))
    files.issue("two.example")
    put_in_force = tls.read_again()
    between = Connection(tls, client_of(files))
    put_in_force()
    after = Connection(tls, client_of(files))
    assert [names_of(each) for each in (before, between, after)] == [
        ["one.example"],
        ["one.example"],
        ["two.example"],
    ]
    assert before.server is not None
    before.client.sendall(b"still here")
    assert before.server.recv(99) == b"still here"
    for connection in (before, between, after):
        connection.close()


def test_a_client_shows_its_certificate_or_none(files: Files) -> None:
    tls = ServerTls(files.paths)
    for certificate_of, expected in ((files.authority, (("DNS", "worker-7.example"),)), (None, None)):
        connection = Connection(tls, client_of(files, certificate_of))
        assert connection.server is not None
        certificate = connection.server.getpeercert()
        assert (certificate or {}).get("subjectAltName") == expected
        connection.close()


def test_an_authority_that_was_replaced_is_trusted_no_more(files: Files) -> None:
    tls = ServerTls(files.paths)
    other = trustme.CA()
    files.trust_clients_of(other)
    tls.read_again()()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Connection(tls, client_of(files, files.authority)).close()
    connection = Connection(tls, client_of(files, other))
    assert connection.server is not None
    assert connection.server.getpeercert()
    connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed_past_a_reload(files: Files, version: ssl.TLSVersion) -> None:
    tls = ServerTls(files.paths)
    client = client_of(files, files.authority)
    client.minimum_version = client.maximum_version = version
    connection = Connection(tls, client)
    assert connection.client.version() == version.name.replace("v1_", "v1.")
    tls.read_again()()
    again = Connection(tls, client, connection.client.session)
    assert not again.client.session_reused
    connection.close()
    again.close()


def test_tls_older_than_1_2_is_refused(files: Files) -> None:
    tls = ServerTls(files.paths)
    assert tls.context().minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.context().options & ssl.OP_NO_RENEGOTIATION


def test_http_1_1_is_chosen_of_what_browsers_offer(files: Files) -> None:
    client = client_of(files)
    client.set_alpn_protocols(["h2", "http/1.1"])
    connection = Connection(ServerTls(files.paths), client)
    assert connection.client.selected_alpn_protocol() == "http/1.1"
    connection.close()


def broken(files: Files, how: str) -> str:
    """Breaks a file; returns the error that is expected."""
    certificate, key, client_ca = files.paths
    assert client_ca is not None
    match how:
        case "no certificate":
            Path(certificate).unlink()
            return f"tls_certificate {certificate}: no such file or directory"
        case "no key":
            Path(key).unlink()
            return f"tls_key {key}: no such file or directory"
        case "a folder":
            Path(key).unlink()
            Path(key).mkdir()
            return f"tls_key {key}: is a directory"
        case "key in the place of the certificate":
            Path(certificate).write_bytes(Path(key).read_bytes())
            return f"tls_certificate {certificate}: holds no certificate in PEM format"
        case "certificate in the place of the key":
            Path(key).write_bytes(Path(certificate).read_bytes())
            return f"tls_key {key}: holds no private key in PEM format"
        case "another key":
            files.authority.issue_cert("x").private_key_pem.write_to_path(key)
            return f"tls_key {key}: is not the key of {certificate}"
        case "an encrypted key":
            plain = load_pem_private_key(Path(key).read_bytes(), None)
            encryption = BestAvailableEncryption(b"secret")
            pem = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
            Path(key).write_bytes(pem)
            return f"tls_key {key}: is encrypted; write it without a password"
        case "half a certificate":
            content = Path(certificate).read_bytes()
            Path(certificate).write_bytes(content[: len(content) // 3])
            return f"tls_certificate {certificate}: "
        case "half a key":
            content = Path(key).read_bytes()
            Path(key).write_bytes(content[: len(content) // 3])
            return f"tls_key {key}: holds no whole private key in PEM format"
        case "no client authority":
            Path(client_ca).write_text("\n")
            return f"tls_client_ca {client_ca}: holds no certificate in PEM format"
        case _:
            raise AssertionError(how)


BROKEN = [
    "no certificate",
    "no key",
    "a folder",
    "key in the place of the certificate",
    "certificate in the place of the key",
    "another key",
    "an encrypted key",
    "half a certificate",
    "half a key",
    "no client authority",
]


@pytest.mark.parametrize("how", BROKEN)
def test_a_file_that_cannot_be_used_is_named_and_changes_nothing(files: Files, how: str) -> None:
    tls = ServerTls(files.paths)
    expected = broken(files, how)
    for attempt in (tls.read_again, lambda: ServerTls(files.paths)):
        with pytest.raises(ConfigurationError) as error:
            attempt()
        (line,) = error.value.lines
        assert line.startswith(expected)
        assert "\n" not in line
    connection = Connection(tls, client_of(files))
    assert names_of(connection) == ["one.example"]
    connection.close()
