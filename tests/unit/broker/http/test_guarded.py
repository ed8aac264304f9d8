"""Who sees what on the HTTP port: rights, hosts and origins, before any view."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from taskferry.broker.core.fleet.worker import WorkerState
from taskferry.broker.http.guarded import CERTIFICATE
from taskferry.broker.http.server import make_app
from taskferry.broker.identity.access_file import parsed
from taskferry.broker.operations import Operations

from tests.unit.broker.shell import Shell, open_shell

TOKENS: Final = {name: f"tfk_{name:x<43}" for name in ("observer", "operator", "requester")}
ACCESS: Final = 'anonymous = { serve = ["work"] }\n' + "".join(
    f'[identities.{name}]\nroles = ["{name}"]\n'
    f'tokens = [{{ sha256 = "{hashlib.sha256(token.encode()).hexdigest()}" }}]\n'
    for name, token in TOKENS.items()
)
CERTIFICATES: Final = '[identities.scraper]\nroles = ["observer"]\ncertificates = ["DNS:scraper.example"]\n'
VIEWS: Final = (
    "/metrics",
    "/api/workers",
    "/api/commands",
    "/api/connections",
    "/api/status",
    "/api/requests",
    "/api/requests/r1",
)
DRAIN: Final = "/api/workers/w1/drain"


def with_certificate(app: ASGIApp, certificate: dict[str, Any] | None) -> ASGIApp:
    """The app as a connection calls it whose client has shown this certificate."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {CERTIFICATE: certificate}}, receive, send)

    return called


@asynccontextmanager
async def client_of(
    shell: Shell, name: str = "", certificate: dict[str, Any] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    app = with_certificate(
        make_app(shell.read_model, Operations(shell.core, shell.entrance), shell.entrance), certificate
    )
    headers = {"authorization": f"Bearer {TOKENS[name]}"} if name else {}
    transport = httpx.ASGITransport(app, client=("10.0.0.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


@asynccontextmanager
async def guarded_shell() -> AsyncIterator[Shell]:
    async with open_shell(parsed((ACCESS + CERTIFICATES).encode(), Path("access.toml"))) as shell:
        await shell.worker(name="w1")
        yield shell


async def test_probes_need_no_login_and_all_else_does() -> None:
    async with guarded_shell() as shell, client_of(shell) as client:
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).status_code == 200
        for path in (*VIEWS, "/", "/nothing", "/healthz/", "/readyz/../metrics"):
            refused = await client.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (
                401,
                'Bearer realm="taskferry"',
            )
            assert refused.headers["content-type"] == "application/json"
            assert list(refused.json()) == ["error"]
        for method in ("POST", "OPTIONS", "DELETE", "BREW"):
            assert (await client.request(method, "/healthz")).status_code == 401


async def test_a_websocket_handshake_is_told_that_it_is_meant_for_another_port() -> None:
    async with guarded_shell() as shell, client_of(shell) as client:
        handshake = {"connection": "Upgrade", "upgrade": "WebSocket", "sec-websocket-version": "13"}
        for path in ("/", "/healthz", "/metrics"):
            answer = await client.get(path, headers=handshake)
            assert answer.status_code == 421
            assert answer.text.startswith(
                "this is the HTTP port of a broker; workers and requesters connect to"
            )


async def test_a_wrong_token_is_refused_and_not_repeated() -> None:
    async with guarded_shell() as shell, client_of(shell) as client:
        headers = {"authorization": "Bearer tfk_marked-secret"}
        refused = await client.get("/metrics", headers=headers)
        assert refused.status_code == 401
        assert "marked-secret" not in refused.text


@pytest.mark.parametrize(
    ("name", "view_status", "drain_status"),
    [("observer", 200, 403), ("operator", 200, 200), ("requester", 403, 403)],
)
async def test_views_need_the_right_to_observe_and_changes_that_to_operate(
    name: str, view_status: int, drain_status: int
) -> None:
    async with guarded_shell() as shell, client_of(shell, name) as client:
        for path in VIEWS:
            answer = await client.get(path)
            expected = 404 if path.endswith("r1") and view_status == 200 else view_status
            assert (answer.status_code, path) == (expected, path)
            assert (await client.head(path)).status_code in {expected, 405}
        drained = await client.post(DRAIN, json={})
        assert drained.status_code == drain_status
        if drain_status == 403:
            assert drained.json() == {"error": f"{name} may not operate: no rule grants it"}
        is_drained = shell.core.roster.workers["w1"].state is WorkerState.DRAINING
        assert is_drained is (drain_status == 200)
        (entrant,) = shell.entrance.connections
        kicked = await client.post(f"/api/connections/{entrant.connection_id}/kick", json={})
        assert kicked.status_code == drain_status
        assert entrant.is_over is (drain_status == 200)


async def test_a_certificate_is_a_login_as_well() -> None:
    certificate = {"subjectAltName": (("DNS", "scraper.example"),)}
    async with guarded_shell() as shell:
        async with client_of(shell, certificate=certificate) as client:
            assert (await client.get("/metrics")).status_code == 200
            assert (await client.post(DRAIN, json={})).status_code == 403
        async with client_of(shell, certificate={"subjectAltName": (("DNS", "x.example"),)}) as client:
            assert (await client.get("/metrics")).status_code == 401


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/api/status"])
@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"host": "rebound.example:8767"}, "this broker is not known as rebound.example"),
        ({"host": "localhost@evil.com"}, "the Host header is not a host name"),
        ({"host": ""}, "the Host header is not a host name"),
        ({"origin": "https://evil.com"}, "web pages of https://evil.com may not connect"),
        ({"origin": "null"}, "web pages of null may not connect"),
    ],
)
async def test_a_web_page_sees_nothing_also_without_access_configured(
    path: str, headers: dict[str, str], text: str
) -> None:
    async with open_shell() as shell, client_of(shell) as client:
        refused = await client.get(path, headers=headers)
        assert refused.status_code == 403
        assert refused.json()["error"].startswith(text)
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("http_version", ["1.0", "1.1"])
async def test_only_http_1_0_may_lack_a_host(http_version: str) -> None:
    async with open_shell() as shell:
        app = make_app(shell.read_model, Operations(shell.core, shell.entrance), shell.entrance)
        statuses = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            statuses.append(message.get("status"))

        scope = {
            "type": "http",
            "http_version": http_version,
            "method": "GET",
            "path": "/readyz",
            "headers": [],
            "query_string": b"",
            "client": ("10.0.0.7", 4711),
        }
        await app(scope, receive, send)
        assert statuses[0] == (200 if http_version == "1.0" else 403)


async def test_repeated_hosts_are_refused() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        headers = [("host", "localhost"), ("host", "evil.com")]
        assert (await client.get("/readyz", headers=headers)).status_code == 403
