"""Workers, requesters and the sub-commands that ask over HTTP log in at a real broker."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import trustme
from taskferry.credentials.tls import client_context
from taskferry.requester import Requester, Response
from taskferry.worker import Worker

from tests.processes import Broker, Programs, wait_until

TOKENS: Final = {name: f"tfk_{name:x<43}" for name in ("alice", "watcher", "server", "server2")}
RIGHTS: Final = {
    "alice": 'call = ["login_same"]',
    "watcher": 'roles = ["observer"]',
    "server": 'serve = ["login_same"]',
}

WORKER: Final = """
from taskferry.worker import Worker

worker = Worker(concurrency=4)

@worker.command("login_same")
async def same(value: object = None) -> object:
    return value

@worker.command("login_other")
async def other() -> None:
    pass
"""


def write(path: Path, server_token: str = "server", **rights: str) -> None:
    """An access file with these identities, each with its token."""
    lines = []
    for name, granted in (RIGHTS | rights).items():
        token = TOKENS[server_token if name == "server" else name]
        digest = hashlib.sha256(token.encode()).hexdigest()
        lines += [f"[identities.{name}]", granted, f'tokens = [{{ sha256 = "{digest}" }}]']
    path.write_text("\n".join(lines))


@pytest.fixture
def access(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    write(path)
    return path


@pytest.fixture
def broker(programs: Programs, access: Path) -> Broker:
    return programs.start_broker("--access", str(access))


def taskferry(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code, and what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TASKFERRY_")}
    done = subprocess.run(
        [sys.executable, "-m", "taskferry.cli", *arguments],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert not any(token in done.stdout + done.stderr for token in TOKENS.values())
    return done.returncode, done.stdout + done.stderr


def status_as(name: str, broker: Broker) -> Mapping[str, object]:
    code, printed = taskferry("status", "--json", "--http", broker.http_url, TASKFERRY_TOKEN=TOKENS[name])
    assert code == 0, printed
    answer: Mapping[str, object] = json.loads(printed)
    return answer


def test_programs_log_in_and_recover_from_a_rotation(
    programs: Programs, broker: Broker, access: Path, tmp_path: Path
) -> None:
    (tmp_path / "login_tasks.py").write_text(WORKER)
    token_file = tmp_path / "token"
    token_file.write_text(TOKENS["server"] + "\n")
    worker = programs.start(
        "-m", "taskferry.worker", "login_tasks:worker", "--broker", broker.worker_url,
        "--processes", "2", "--token-file", str(token_file),
        environment={"PYTHONPATH": str(tmp_path)}, is_warm=False,
    )  # fmt: skip
    worker.wait_for_stderr("connected to")
    worker.wait_for_stderr("this worker may not serve all of its commands: .*login_other")
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert TOKENS["server"].encode() not in process.read_bytes()
        except OSError:
            continue

    request = ("request", "login_same", "value=1", "--broker", broker.requester_url)
    assert taskferry(*request, TASKFERRY_TOKEN=TOKENS["alice"]) == (0, "1\n")
    code, printed = taskferry(*request)
    assert (code, printed.count("\n")) == (6, 1)
    assert "a token is needed" in printed
    assert "--token-file" in printed
    code, printed = taskferry(*request, TASKFERRY_TOKEN=TOKENS["server"])
    assert (code, printed.count("\n")) == (6, 1)
    assert "server has no rights on the requester port" in printed
    other = ("request", "login_other", "--broker", broker.requester_url)
    code, printed = taskferry(*other, TASKFERRY_TOKEN=TOKENS["alice"])
    assert code == 6
    assert "alice may not call 'login_other'" in printed

    assert status_as("watcher", broker)
    assert taskferry("status", "--http", broker.http_url)[0] == 6
    assert taskferry("workers", "--http", broker.http_url, TASKFERRY_TOKEN=TOKENS["alice"])[0] == 6

    write(access, "server2")
    broker.send_signal(signal.SIGHUP)
    worker.wait_for_stderr("4401")
    worker.wait_for_stderr("handshake refused: 401 the token is not known here; retrying")
    token_file.write_text(TOKENS["server2"] + "\n")
    wait_until(
        lambda: taskferry(*request, TASKFERRY_TOKEN=TOKENS["alice"])[0] == 0,
        "a worker with a fresh token",
        40,
    )
    for text in (worker.stderr, broker.stderr):
        assert not any(token in text for token in TOKENS.values())


async def test_a_requester_whose_token_is_revoked_says_so_and_recovers(broker: Broker, access: Path) -> None:
    before = access.read_text()
    async with Requester(broker.requester_url, token=TOKENS["alice"]) as requester:
        await answered(requester, "no_available_workers")
        access.write_text(before.replace(hashlib.sha256(TOKENS["alice"].encode()).hexdigest(), "0" * 64))
        broker.send_signal(signal.SIGHUP)
        refused = await answered(requester, "unauthenticated")
        assert "the token is not known here" in (refused.error or "")
        access.write_text(before)
        broker.send_signal(signal.SIGHUP)
        await answered(requester, "no_available_workers")


async def answered(requester: Requester, code: str) -> Response:
    """The first response with this code."""
    async with asyncio.timeout(30):
        while (response := await requester.request("login_same")).code != code:
            await asyncio.sleep(0.01)
    return response


async def test_both_clients_speak_tls_and_a_certificate_is_a_login(
    programs: Programs, access: Path, tmp_path: Path
) -> None:
    authority = trustme.CA()
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "broker", "worker")}
    authority.cert_pem.write_to_path(files["ca"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files["broker"])
    authority.issue_cert("worker-7.example").private_key_and_cert_chain_pem.write_to_path(files["worker"])
    text = access.read_text()
    access.write_text(
        f'{text}\n[identities.machine]\nserve = ["*"]\ncertificates = ["DNS:worker-7.example"]\n'
    )
    broker = programs.start_broker(
        "--access", str(access), "--tls-certificate", files["broker"], "--tls-key", files["broker"],
        "--tls-client-ca", files["ca"],
    )  # fmt: skip
    worker = Worker(name="w7")
    worker.command("login_same")(lambda data: data)
    shown = client_context(ca=files["ca"], certificate=files["worker"], key=None, skips_verification=False)
    trusted = client_context(ca=files["ca"], certificate=None, key=None, skips_verification=False)
    worker_url, requester_url = (
        url.replace("ws://", "wss://") for url in (broker.worker_url, broker.requester_url)
    )
    serving = asyncio.create_task(worker.serve(worker_url, tls=shown))
    try:
        async with Requester(requester_url, token=TOKENS["alice"], tls=trusted) as requester:
            async with asyncio.timeout(20):
                while not (response := await requester.request("login_same", 7)).success:
                    assert response.code == "no_available_workers", response
                    await asyncio.sleep(0.05)
            assert response.data == 7
    finally:
        worker.drain()
        await serving
