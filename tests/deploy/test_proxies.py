"""Requests through the real nginx and the real HAProxy, configured as in the examples, to a real broker: over TLS, with
a worker behind the proxy too, and connections that carry only heartbeats for longer than the proxy's timeout."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from typing import Final

import pytest
import websockets
from taskferry.requester import Requester

from tests.deploy.proxies import STARTS, Proxied, Substitutions
from tests.integration.peers import eventually
from tests.processes import PATIENCE_S, Program, Programs

SHORTENED: Final[dict[str, Substitutions]] = {
    # 6 s and 18 s are a little over the heartbeats' 4 s and 15 s; the examples' 30 s and 60 s are far over them.
    "nginx": {r"(read|send)_timeout 30s": r"\1_timeout 6s", r"(read|send)_timeout 60s": r"\1_timeout 18s"},
    # The two timeouts that would cut a connection if `timeout tunnel` did not replace them are the shortest.
    "haproxy": {r"(client|server) 30s": r"\1 3s", r"tunnel 30s": "tunnel 6s", r"tunnel 60s": "tunnel 18s"},
}
TOO_SHORT: Final[dict[str, Substitutions]] = {
    "nginx": {r"(read|send)_timeout \d+s": r"\1_timeout 2s"},
    "haproxy": {r"tunnel \d+s": "tunnel 2s"},
}
IDLE_S: Final = 20.0
"""Longer than any of the shortened timeouts."""


def start_worker(programs: Programs, proxied: Proxied) -> Program:
    worker = programs.start(
        "-m",
        "taskferry.worker",
        "--broker",
        proxied.worker_url,
        "--name",
        "behind",
        environment=proxied.environment,
    )
    worker.wait_for_stderr("connected")
    return worker


@pytest.fixture(params=STARTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_requests_and_workers_get_through(
    programs: Programs, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied = Proxied(programs, kind, {})
    worker = start_worker(programs, proxied)
    monkeypatch.setenv("SSL_CERT_FILE", str(proxied.certificates.authority))
    async with Requester(proxied.requester_url) as requester:
        assert await requester.call("echo", {"message": "x"}) == "Echo: x"
        # The largest possible: many TLS records, and more than the proxy's buffers hold.
        large = "x" * 1_000_000
        assert await requester.call("echo", {"message": large}) == f"Echo: {large}"
        answers = await asyncio.gather(
            *(requester.call("calculate", {"a": n, "b": n, "op": "+"}) for n in range(200))
        )
        assert answers == [2 * n for n in range(200)]
    request = programs.start(
        *("-m", "taskferry.requester", "--broker", proxied.requester_url, "echo", "message=y"),
        environment=proxied.environment,
    )
    assert request.wait() == 0
    assert json.loads(request.stdout) == "Echo: y"
    worker.terminate()
    assert worker.wait() == 0


async def test_a_client_that_does_not_trust_the_certificate_reports_it(programs: Programs, kind: str) -> None:
    proxied = Proxied(programs, kind, {})
    request = programs.start("-m", "taskferry.requester", "--broker", proxied.requester_url, "echo")
    assert request.wait() == 5
    assert "is from an authority" in request.stderr
    assert len(request.stderr.splitlines()) == 1


async def test_only_the_two_paths_are_forwarded(programs: Programs, kind: str) -> None:
    proxied = Proxied(programs, kind, {})
    trusting = ssl.create_default_context(cafile=str(proxied.certificates.authority))
    for path in ("/", "/metrics", "/worker/more", "/api/workers"):
        url = proxied.url.replace("wss", "https") + path
        with pytest.raises(urllib.error.HTTPError) as caught:
            await asyncio.to_thread(urllib.request.urlopen, url, timeout=PATIENCE_S, context=trusting)
        with caught.value as answer:
            assert answer.code == 404


async def test_heartbeats_keep_idle_connections(
    programs: Programs, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied = Proxied(programs, kind, SHORTENED[kind])
    start_worker(programs, proxied)
    monkeypatch.setenv("SSL_CERT_FILE", str(proxied.certificates.authority))
    trusting = ssl.create_default_context()
    async with (
        Requester(proxied.requester_url) as requester,
        # It sends no pings itself: the broker's must suffice.
        websockets.connect(proxied.requester_url, ssl=trusting, ping_interval=None) as plain,
    ):
        await requester.call("echo", {"message": "x"})
        await asyncio.sleep(IDLE_S)
        await plain.send('{"request_id": "1", "command": "echo", "data": {"message": "x"}}')
        assert json.loads(await asyncio.wait_for(plain.recv(), PATIENCE_S))["data"] == "Echo: x"
        assert await requester.call("echo", {"message": "x"}) == "Echo: x"
        assert (await asyncio.to_thread(proxied.broker.status))["requester_count"] == 2
    row = (await asyncio.to_thread(proxied.broker.workers))["behind"]
    assert row["connected_s"] >= IDLE_S  # the first connection, not a second


async def test_a_timeout_shorter_than_the_heartbeats_would_cut_them(programs: Programs, kind: str) -> None:
    proxied = Proxied(programs, kind, TOO_SHORT[kind])
    worker = start_worker(programs, proxied)
    await eventually(lambda: worker.stderr.count("connected to") > 1, "the worker had to connect again")


async def test_the_broker_sees_the_name_and_the_address_of_a_client(programs: Programs, kind: str) -> None:
    # As the head of each example says.
    named = ("--allowed-host", "broker.example.com", "--trusted-proxy", "127.0.0.1")
    (programs.folder / "access.toml").write_text('anonymous = { serve = ["echo"] }\n')
    access = ("--access", str(programs.folder / "access.toml"))
    proxied = Proxied(programs, kind, {}, *named, *access)
    trusting = ssl.create_default_context(cafile=str(proxied.certificates.authority))
    trusting.check_hostname = False  # the certificate is for the address

    async def refusal(host: str, address: str) -> int:
        """The status that a client at `address`, which makes up another one, gets from the requester port."""
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(
                f"wss://{host}/requester", host="127.0.0.1", port=int(proxied.url.rpartition(":")[2]),
                local_addr=(address, 0), ssl=trusting, additional_headers={"X-Forwarded-For": "10.9.9.9"},
            )  # fmt: skip
        return int(caught.value.response.status_code)

    assert await refusal("broker.example.com", "127.0.0.2") == 401
    proxied.broker.wait_for_stderr(r"connection from 127\.0\.0\.2 refused: a token is needed")
    assert await refusal("rebound.example.com", "127.0.0.3") == 403
    proxied.broker.wait_for_stderr(r"connection from 127\.0\.0\.3 refused: .*--allowed-host")
    assert "10.9.9.9" not in proxied.broker.stderr
