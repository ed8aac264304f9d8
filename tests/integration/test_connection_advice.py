"""Who cannot connect is told in one line what to do, which depends on what is at the other end."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from click import Command
from click.testing import CliRunner
from taskferry.requester import BlockingRequester, CannotConnect, Requester
from taskferry.requester.cli import request
from taskferry.requester.jobs.jobs_cli import jobs
from taskferry.requester.jobs.submit_cli import submit
from taskferry.worker import Worker

from tests.processes import Broker, programs_in

START = "Is a broker running there? Start one with: taskferry broker"


class Ends(NamedTuple):
    """What may be at the other end: `answers` has a URL for each answer of a web server."""

    plain: Broker
    tls: Broker
    answers: dict[str, str]


@contextmanager
def web_server(answer: bytes) -> Iterator[str]:
    """Answers everything so; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.recv(65536)
                        peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    folder = tmp_path_factory.mktemp("ends")
    issued = trustme.CA().issue_cert("127.0.0.1")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    issued.private_key_pem.write_to_path(str(key))
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    empty = b"\r\nContent-Length: 0\r\n\r\n"
    with (
        programs_in(folder) as programs,
        web_server(b"HTTP/1.1 404 Not Found" + empty) as not_found,
        web_server(b"HTTP/1.1 502 Bad Gateway" + empty) as proxy,
        web_server(b"HTTP/1.1 301 Moved\r\nLocation: https://example.org/" + empty) as moved,
    ):
        yield Ends(
            programs.start_broker("--journal", "none"),
            programs.start_broker("--tls-certificate", str(certificate), "--tls-key", str(key)),
            {"not found": not_found, "proxy": proxy, "moved": moved},
        )


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def cases(ends: Ends, *, is_worker: bool) -> dict[str, tuple[str, str]]:
    """URLs, and how the line ends that says why there is no connection to them."""

    def of(broker: Broker) -> str:
        return broker.worker_url if is_worker else broker.requester_url

    lost = "connection lost during the handshake; check the port; a broker with TLS has a URL with wss://"
    http_port = (
        "the HTTP port of a broker; workers and requesters connect to others, by default 8765 and 8766"
    )
    no_broker = "HTTP 404; no broker answers there: check host, port and path"
    return {
        "nothing": (f"ws://127.0.0.1:{unused_port()}", "connection refused"),
        "no such host": (
            "ws://broker.invalid:8766",
            "; check the name broker.invalid, and the name server of this machine",
        ),
        "HTTP port": (ends.plain.http_url.replace("http:", "ws:"), http_port),
        "TLS on plain": (
            of(ends.plain).replace("ws:", "wss:"),
            "connection lost in the TLS handshake; a broker without TLS has a URL with ws://",
        ),
        "plain on TLS": (of(ends.tls).replace("wss:", "ws:"), lost),
        "unknown authority": (of(ends.tls).replace("ws:", "wss:"), "with --ca (in code: tls=)"),
        "no such page": (f"ws://{ends.answers['not found']}/x", no_broker),
        "a proxy": (
            f"ws://{ends.answers['proxy']}",
            "HTTP 502; a proxy answers there, and reaches no broker",
        ),
        "moved": (
            f"ws://{ends.answers['moved']}",
            "it redirects to https://example.org/: connect to where the broker is",
        ),
    }


async def test_requesters_are_told_what_to_do(ends: Ends) -> None:
    for what, (url, expected) in cases(ends, is_worker=False).items():
        async with Requester(url) as requester:
            with pytest.raises(CannotConnect) as caught:
                await requester.connect(retry=False)
        assert caught.value.text.endswith(expected), what
        assert "\n" not in caught.value.text, what


def test_the_line_of_a_program_says_how_to_start_a_broker_only_if_nothing_is_there(ends: Ends) -> None:
    for what, (url, expected) in cases(ends, is_worker=False).items():
        result = CliRunner().invoke(jobs, ["--broker", url])
        assert result.exit_code == 5, what
        assert f"{expected} [cannot_connect, not delivered]" in result.stderr, what
        assert (START in result.stderr) is (what == "nothing"), what
        assert result.stderr.count("\n") == 1, what


async def test_workers_are_told_what_to_do(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    for what, (url, expected) in cases(ends, is_worker=True).items():
        caplog.clear()
        worker = Worker()
        worker.command("echo")(lambda: None)
        serving = asyncio.create_task(worker.serve(url))
        async with asyncio.timeout(20):
            while "cannot connect" not in caplog.text:
                await asyncio.sleep(0.01)
        worker.drain()
        await serving
        assert f"{expected}; retrying" in caplog.text, what


@pytest.mark.parametrize("command", [jobs, request])
def test_a_token_file_without_a_token_is_named_before_anything_is_sent(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "alice.token"
    for content, problem in (
        ("", "the token is empty"),
        ("two words", "the token has other characters than "),
    ):
        file.write_text(content)
        words = [] if command is jobs else ["echo"]
        result = CliRunner().invoke(command, [*words, "--token-file", str(file)])
        assert result.exit_code == 2
        assert f"--token-file: {file}: {problem}" in result.stderr
        assert "broker" not in result.stderr


def test_the_port_of_workers_is_recognised_at_once(ends: Ends) -> None:
    expected = "that is the port of workers; requesters connect to another one, by default 8766"
    with BlockingRequester(ends.plain.worker_url) as requester:
        for ask in (
            lambda: requester.call("echo", timeout=600),
            lambda: requester.submit("echo"),
            lambda: next(iter(requester.jobs())),
        ):
            with pytest.raises(CannotConnect, match=expected) as caught:
                ask()
            assert caught.value.delivery == "not_delivered"


def test_a_broker_without_jobs_says_where_to_look(ends: Ends) -> None:
    result = CliRunner().invoke(submit, ["echo", "--broker", ends.plain.requester_url])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: This broker keeps no jobs [jobs_off, not delivered]. "
        "It runs with --journal none, or another broker has its journal: its first lines of log say which\n"
    )
