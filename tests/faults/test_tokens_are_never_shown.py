"""A marked token and a marked secret, in everything that real programs print, log and answer while they succeed and
fail in many ways: neither is ever in it, nor in the list of processes."""

import asyncio
import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import jwt
import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from tests.faults.raw_peer import TEXT, answer_to, frame, handshake
from tests.faults.starting import ROOT
from tests.integration.peers import connected
from tests.processes import Broker, Program, Programs

MARK: Final = "MARKEDx5yVb0"
"""In every token, secret and password of this test."""
MARKS: Final = re.compile(
    "|".join(
        re.escape(text)
        for text in (
            MARK,
            *(
                base64.b64encode(b" " * shift + MARK.encode()).decode()[4 if shift else 0 : -4]
                for shift in range(3)
            ),
            MARK.encode().hex(),
        )
    )
)
"""As it is, in base64 at any offset, and in hexadecimal digits."""
CALLER: Final = f"tfk_{MARK}_caller".ljust(47, "x")
SERVER: Final = f"tfk_{MARK}_server".ljust(47, "x")
UNKNOWN: Final = f"tfk_{MARK}_unknown".ljust(47, "x")
SECRET: Final = f"{MARK}-a-secret-of-more-than-32-bytes"
ASKED_S_MAX: Final = 30


def signed(secret: str = SECRET, **changed: object) -> str:
    claims = {
        "sub": MARK,
        "aud": "taskferry",
        "exp": time.time() + 600,
        "taskferry": {"call": ["*"]},
        **changed,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def write_access(path: Path, broken: str = "") -> None:
    caller, server = (hashlib.sha256(token.encode()).hexdigest() for token in (CALLER, SERVER))
    path.write_text(
        f"""
[identities.caller]
roles = ["admin"]
tokens = [{{ sha256 = "{caller}" }}]
[identities.server]
serve = ["echo", "fail"]
tokens = [{{ sha256 = "{server}" }}]
[jwt]
audience = "taskferry"
[jwt.keys.main]
algorithm = "HS256"
secret = "{SECRET}"
{broken}"""
    )


class Printed:
    """All that was printed, by which program."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, source: str, text: str) -> None:
        self.texts[f"{len(self.texts)} {source}"] = text

    def run(self, *arguments: str, token: str | None = None, stdin: str | None = None) -> int:
        """The exit code of `taskferry`; TASKFERRY_TOKEN is `token`."""
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "taskferry.cli", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=ASKED_S_MAX,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                **({} if token is None else {"TASKFERRY_TOKEN": token}),
            },
        )
        self.add(" ".join(arguments), done.stdout + done.stderr)
        return done.returncode

    def assert_unmarked(self) -> None:
        shown = {
            source: [text[max(0, found.start() - 100) : found.end() + 20] for found in MARKS.finditer(text)]
            for source, text in self.texts.items()
        }
        assert {source: found for source, found in shown.items() if found} == {}


@pytest.fixture
def access(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    write_access(path)
    return path


ECHOED: Final = re.compile(rb"unsupported HTTP method|invalid (Upgrade|Sec-WebSocket-Key) header")
"""Answers that say, to its sender alone, what was sent in a place where no token is expected."""
LOUD: Final = ("--log-level", "debug")


def start_worker(programs: Programs, url: str, *options: str, token: str | None = None) -> Program:
    environment = {"PYTHONPATH": str(ROOT), **({} if token is None else {"TASKFERRY_TOKEN": token})}
    words = ("-m", "taskferry.worker", "tests.faults.tasks:worker", "--broker", url, *LOUD, *options)
    return programs.start(*words, environment=environment, is_warm=False)


def handshakes() -> list[bytes]:
    """With a token in the right place, in many wrong ones, and in heads that are broken there."""
    offered = f"taskferry.v1.json, taskferry.token.{UNKNOWN}"
    return [
        handshake("", f"Authorization: Bearer {UNKNOWN}"),
        handshake("", f"Authorization: Bearer {UNKNOWN} {UNKNOWN}"),
        handshake("", f"Authorization: bearer\t{UNKNOWN}\x7f"),
        handshake("", f"Authorization: Basic {base64.b64encode(UNKNOWN.encode()).decode()}"),
        handshake("", f"Authorization: Bearer {CALLER}", f"Authorization: Bearer {UNKNOWN}"),
        handshake("", f"Authorization: Bearer {signed(aud='else')}"),
        handshake("", f"Authorization: Bearer {signed(exp=1)}"),
        handshake("", f"Authorization: Bearer {signed('another-secret-of-more-than-32-bytes')}"),
        handshake("", f"Authorization: Bearer {UNKNOWN}" * 300),
        handshake("", f"Authorization: Bearer {UNKNOWN}".ljust(20_000, "x")),
        handshake("", f"Authorization {UNKNOWN}"),
        handshake("", f"Cookie: token={UNKNOWN}"),
        handshake("", f"Origin: https://{UNKNOWN}.example"),
        handshake(offered),
        handshake(f"{offered}, taskferry.token.{CALLER}"),
        handshake(f"taskferry.token.{UNKNOWN}"),
        handshake(f"chat, {offered};x=y"),
        handshake().replace(b"GET / ", f"GET /?token={UNKNOWN} ".encode()),
        handshake().replace(b"GET / ", f"POST /{UNKNOWN} ".encode()),
        handshake().replace(b"GET / ", f"{UNKNOWN} / ".encode()),
        handshake().replace(b"HTTP/1.1", f"HTTP/1.1 {UNKNOWN}".encode()),
        handshake().replace(b"Host: ", f"Host: {UNKNOWN}@".encode()),
        handshake().replace(b"Upgrade: websocket", f"Upgrade: {UNKNOWN}".encode()),
        handshake().replace(b"Key: ", f"Key: {UNKNOWN}".encode()),
        handshake("", f"Content-Length: {UNKNOWN}"),
        f"{UNKNOWN}\r\n\r\n".encode(),
        handshake("", f"Authorization: Bearer {UNKNOWN}")[:-2],  # not finished: cut off
    ]


async def abuse_the_links(broker: Broker, printed: Printed) -> None:
    """In-band logins of all kinds, on links that are open."""
    for url, token in ((broker.requester_url, CALLER), (broker.worker_url, SERVER)):
        for sent in (
            {"type": "auth", "token": UNKNOWN},
            {"type": "auth", "data": {"token": UNKNOWN}},
            {"type": "auth", "token": [UNKNOWN]},
            {"type": "auth", "data": {"token": {"a": UNKNOWN}}},
            {"type": "auth", "token": UNKNOWN + "x" * 9000},
        ):
            async with connected(url, additional_headers={"Authorization": f"Bearer {token}"}) as peer:
                if url == broker.worker_url:
                    await peer.join("linked", "echo")
                for _ in range(4):  # the broker closes the link after some of these
                    with suppress(ConnectionClosed):
                        await peer.send(sent)
                    printed.add(f"answer on {url}", str(await peer.receive_or_close()))


def ask_with_the_command_line(broker: Broker, access: Path, folder: Path, printed: Printed) -> None:
    """Every sub-command, with a good token, with a bad one, and with what cannot work."""
    good, bad, odd = (folder / name for name in ("good.token", "bad.token", "odd.token"))
    good.write_text(CALLER)
    bad.write_text(UNKNOWN)
    odd.write_text(f"{UNKNOWN}\n{UNKNOWN} and more\n")
    at, http = ("--broker", broker.requester_url), ("--http", broker.http_url)
    assert printed.run("request", "echo", "message=x", *at, *LOUD, "--token-file", str(good)) == 0
    assert printed.run("request", "echo", *at, *LOUD, token=UNKNOWN) != 0
    assert printed.run("request", "echo", *at, *LOUD, "--token-file", str(odd)) != 0
    elsewhere = broker.http_url.replace("http:", "ws:")
    for url in (
        elsewhere,
        broker.worker_url,
        "ws://127.0.0.1:1",
        broker.requester_url.replace("ws:", "wss:"),
    ):
        words = ("request", "echo", "--broker", url, "--timeout", "2", *LOUD, "--token-file", str(good))
        assert printed.run(*words) != 0
    for name in ("workers", "status", "explain"):
        printed.run(name, *http, "--token-file", str(good))
        printed.run(name, *http, token=UNKNOWN)
    printed.run("drain", "nobody", *http, token=CALLER)
    configuration = folder / "taskferry.toml"
    configuration.write_text(
        f'[broker]\naccess = "{access}"\n[worker]\nbroker = "ws://u:{MARK}@h/?token={UNKNOWN}"\n'
    )
    printed.run("check-config", str(configuration))
    printed.run("check-config", str(configuration), "--json", token=CALLER)
    printed.run("token", "list", "--access", str(access))
    printed.run("token", "check", "--access", str(access), token=UNKNOWN)
    printed.run("token", "check", "--access", str(access), stdin=signed(aud="else"))
    printed.run("can", "caller", "call", "echo", "--access", str(access))


def scrape(broker: Broker, printed: Printed) -> None:
    views = ("status", "workers", "requests", "jobs", "explain", "explain/x")
    for path in ("/healthz", "/readyz", "/metrics", *(f"/api/{view}" for view in views)):
        for token in (CALLER, UNKNOWN, signed(aud="else")):
            printed.add(f"{path}", broker.get(path, {"Authorization": f"Bearer {token}"})[1])


async def test_no_token_and_no_secret_is_ever_shown(programs: Programs, access: Path, tmp_path: Path) -> None:
    printed = Printed()
    broker = programs.start_broker("--access", str(access), *LOUD, is_warm=False)
    token_file = tmp_path / "server.token"
    token_file.write_text(SERVER)
    workers = [
        start_worker(programs, broker.worker_url, "--name", "w", "--token-file", str(token_file)),
        start_worker(programs, broker.worker_url, "--name", "bad", token=UNKNOWN),
        start_worker(programs, broker.requester_url, "--name", "astray", token=SERVER),
        start_worker(programs, f"{broker.worker_url}/?token={UNKNOWN}", "--name", "in-url", token=SERVER),
        start_worker(programs, broker.worker_url.replace("ws://", f"ws://u:{MARK}@"), "--name", "user"),
    ]
    await asyncio.to_thread(workers[0].wait_for_stderr, "connected")
    for sent in handshakes():
        for url in (broker.requester_url, broker.worker_url, broker.http_url):
            pieces = (sent, frame(TEXT, UNKNOWN.encode()))
            answer = await asyncio.to_thread(partial(answer_to, url, *pieces, within_s=0.2))
            if not ECHOED.search(answer):
                printed.add("answer to a handshake", answer.decode(errors="replace"))
    await abuse_the_links(broker, printed)
    await asyncio.to_thread(ask_with_the_command_line, broker, access, tmp_path, printed)
    await asyncio.to_thread(scrape, broker, printed)
    for number, broken in enumerate((f'secret = "{SECRET}', f'[jwt.keys.b]\nalgorithm = "{SECRET}"')):
        write_access(access, broken)
        broker.send_signal(signal.SIGHUP)
        await asyncio.to_thread(broker.wait_for_stderr, "(?s)" + "not reloaded.*" * (number + 1))
    for process in (broker, *workers):
        if process.exit_code is None:
            printed.add("the list of processes", " ".join(psutil.Process(process.pid).cmdline()))
    write_access(access)
    access.write_text(access.read_text().replace("[identities.server]", "[identities.nobody]"))
    broker.send_signal(signal.SIGHUP)
    await asyncio.to_thread(workers[0].wait_for_stderr, "4401|login")
    for worker in workers:
        worker.terminate()
    broker.terminate()
    assert broker.wait() == 0
    for program in (broker, *workers):
        program.wait()
        printed.add(" ".join(program.arguments), program.stdout + program.stderr)
    # Who put it into the URL has it in its list of processes; nothing of ours prints it.
    printed.texts = {
        source: text
        for source, text in printed.texts.items()
        if "list of processes" not in source or (UNKNOWN not in text and f"u:{MARK}@" not in text)
    }
    assert any("refused" in text for text in printed.texts.values())
    printed.assert_unmarked()
