"""A real broker on TLS: all three ports, certificates of clients, and a certificate replaced while it runs."""

import asyncio
import hashlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import trustme
import websockets

from tests.integration.peers import connected
from tests.processes import PATIENCE_S, Broker, Programs

TOKEN: Final = f"tfk_{'x' * 43}"
ACCESS: Final = f"""
[identities.resizer]
serve = ["resize"]
certificates = ["DNS:worker-7.example"]
[identities.alice]
call = ["resize"]
tokens = [{{ sha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}" }}]
[identities.prometheus]
roles = ["observer"]
certificates = ["DNS:prometheus.example"]
"""


class Files:
    """The broker's certificate and its access file."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.client_ca, self.access = folder / "ca.pem", folder / "access.toml"
        self.authority.cert_pem.write_to_path(str(self.client_ca))
        self.access.write_text(ACCESS)
        self.issue("one.example")

    def issue(self, name: str) -> None:
        issued = self.authority.issue_cert("127.0.0.1", name)
        issued.private_key_pem.write_to_path(str(self.key))
        self.certificate.write_bytes(issued.cert_chain_pems[0].bytes())

    def options(self) -> list[str]:
        return [
            *("--tls-certificate", str(self.certificate), "--tls-key", str(self.key)),
            *("--tls-client-ca", str(self.client_ca), "--access", str(self.access)),
        ]

    def client(self, name: str = "") -> ssl.SSLContext:
        """A client's context, with a certificate for `name`."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if name:
            self.authority.issue_cert(name).configure_cert(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def broker(programs: Programs, files: Files) -> Broker:
    return programs.start_broker(*files.options())


def get(broker: Broker, path: str, context: ssl.SSLContext) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(broker.http_url + path, timeout=PATIENCE_S, context=context) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def name_shown(url: str, context: ssl.SSLContext) -> str:
    """The name in the certificate that a port shows in a new handshake."""
    parts = urlsplit(url)
    assert parts.hostname
    with (
        socket.create_connection((parts.hostname, parts.port or 0), PATIENCE_S) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
    ):
        certificate: dict[str, Any] | None = tls.getpeercert()
        assert certificate
        return next(str(value) for kind, value in certificate["subjectAltName"] if kind == "DNS")


async def test_identities_by_certificate_and_token_on_all_ports(broker: Broker, files: Files) -> None:
    assert broker.worker_url.startswith("wss://")
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        connected(broker.worker_url, ssl=files.client("worker-7.example")) as worker,
        connected(broker.requester_url, ssl=files.client(), additional_headers=bearer) as alice,
    ):
        assert (await worker.join("w1", "resize"))["type"] == "connect"
        await alice.send({"request_id": "r1", "command": "resize"})
        await worker.respond(await worker.receive_assignment(), 42)
        assert (await alice.receive())["data"] == 42
        for path, name, status in (
            ("/metrics", "prometheus.example", 200),
            ("/metrics", "worker-7.example", 403),
            ("/metrics", "", 401),
            ("/readyz", "", 200),
        ):
            found, text = await asyncio.to_thread(get, broker, path, files.client(name))
            assert (found, path, name) == (status, path, name), text
    with pytest.raises(websockets.InvalidStatus, match="401"):
        await websockets.connect(broker.worker_url, ssl=files.client())


async def test_a_new_certificate_is_taken_without_dropping_a_link(broker: Broker, files: Files) -> None:
    urls = (broker.worker_url, broker.requester_url, broker.http_url)
    bearer = {"Authorization": f"Bearer {TOKEN}"}

    async def names() -> list[str]:
        return [await asyncio.to_thread(name_shown, url, files.client()) for url in urls]

    async with connected(broker.requester_url, ssl=files.client(), additional_headers=bearer) as alice:
        assert await names() == ["one.example"] * 3
        files.issue("two.example")
        broker.send_signal(signal.SIGHUP)
        await asyncio.to_thread(broker.wait_for_stderr, f"certificate reloaded: {files.certificate}\n")
        assert await names() == ["two.example"] * 3
        files.key.write_text("half a key")
        broker.send_signal(signal.SIGHUP)
        expected = f"certificate not reloaded, .*: tls_key {files.key}: holds no private key in PEM format\n"
        await asyncio.to_thread(broker.wait_for_stderr, expected)
        assert await names() == ["two.example"] * 3
        assert (await alice.call("resize"))["code"] == "no_available_workers"
    assert "there is no file" not in broker.stderr
    assert broker.stderr.count("access reloaded") == 2


def test_plain_speech_on_a_tls_port_is_named_in_the_log(broker: Broker) -> None:
    for url in (broker.worker_url, broker.http_url):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE_S) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(99) == b""
    for port in ("worker port", "http"):
        broker.wait_for_stderr(
            rf"{port}.*it sent plain HTTP, and this port speaks TLS: use wss:// or https://"
        )


def test_tls_on_a_plain_port_is_named_in_the_log(programs: Programs) -> None:
    broker = programs.start_broker()
    for url, port in ((broker.requester_url, "requester port"), (broker.http_url, "http")):
        with pytest.raises((ssl.SSLError, OSError)):
            name_shown(url, ssl.create_default_context())
        broker.wait_for_stderr(rf"{port}.*it spoke TLS, and this port does not")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_reads_it(broker: Broker, files: Files, tmp_path: Path) -> None:
    issued = files.authority.issue_cert("prometheus.example")
    pem = tmp_path / "client.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(pem))
    command = [
        "curl",
        "-sS",
        "--cacert",
        str(files.client_ca),
        "--cert",
        str(pem),
        f"{broker.http_url}/api/status",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert json.loads(found.stdout)["state"] == "serving", found.stderr


def test_a_certificate_that_cannot_be_used_is_an_error_at_the_start(programs: Programs, files: Files) -> None:
    files.authority.issue_cert("x").private_key_pem.write_to_path(str(files.key))
    program = programs.start("-m", "taskferry.broker", *files.options())
    assert program.wait() == 2
    assert program.stderr == f"error: tls_key {files.key}: is not the key of {files.certificate}\n"


@pytest.mark.parametrize(
    ("options", "is_loud"),
    [
        (["--host", "0.0.0.0"], True),
        (["--host", "0.0.0.0", "--insecure"], False),
        (["--host", "127.0.0.1"], False),
    ],
)
def test_a_broker_that_is_open_to_a_network_says_so_once(
    programs: Programs, options: list[str], is_loud: bool
) -> None:
    broker = programs.start_broker(*options)
    broker.wait_for_stderr("started on")
    assert broker.stderr.count("anyone who can connect to 0.0.0.0") == int(is_loud)
