"""`taskferry workers` and `taskferry status` against an HTTP server that answers what a broker would, or nonsense."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result
from taskferry.cli import inspection
from taskferry.cli.inspection import status, workers

WORKERS = {
    "workers": [
        {
            "worker_id": "vm-1",
            "state": "healthy",
            "commands": ["echo", "get_time"],
            "concurrency": 16,
            "in_flight": 3,
            "weight": 1.0,
            "labels": {"gpu": "yes"},
            "peer": "10.0.0.7:4711",
            "encoding": "json",
            "connected_s": 7200.0,
            "sdk": "python 0.1.0",
            "succeeded_count": 12345,
            "failed_count": 6,
        },
        {
            "worker_id": "[red]vm-2[/red]",
            "state": "suspect",
            "commands": [],
            "concurrency": 1,
            "in_flight": 0,
            "weight": 2.5,
            "labels": {},
            "peer": "10.0.0.8:4711",
            "encoding": "msgpack",
            "connected_s": 3.0,
            "sdk": None,
            "succeeded_count": 0,
            "failed_count": 0,
        },
    ]
}
STATUS = {
    "version": "1.2.3",
    "state": "serving",
    "uptime_s": 90.0,
    "strategy": "least_loaded",
    "worker_count": 2,
    "requester_count": 5,
    "submitted_count": 1000,
    "in_flight_count": 7,
    "queued_count": 4,
    "outcomes": {"success": 980, "timeout": 13, "cancelled": 0},
    "commands": [{"command": "echo", "worker_count": 2, "queued_count": 4}],
}


class HttpPort:
    """An HTTP server on a free port; `answers` are the bodies by path, anything else is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        port = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = port.answers.get(self.path)
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def port() -> Iterator[HttpPort]:
    port = HttpPort()
    thread = threading.Thread(target=port.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield port
    port.server.shutdown()
    thread.join()
    port.server.server_close()


def run(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_workers_as_a_table(port: HttpPort) -> None:
    port.answers["/api/workers"] = json.dumps(WORKERS).encode()
    result = run(workers, "--http", port.url)
    assert (result.exit_code, result.stderr) == (0, "")
    header, first, second = (" ".join(line.split()) for line in result.stdout.splitlines())
    assert header == "worker state commands in flight succeeded failed weight labels peer connected"
    assert first == "vm-1 healthy echo, get_time 3/16 12,345 6 1 gpu=yes 10.0.0.7:4711 2.0 h"
    assert second == "[red]vm-2[/red] suspect 0/1 0 0 2.5 10.0.0.8:4711 3 s"


def test_no_workers(port: HttpPort) -> None:
    port.answers["/api/workers"] = b'{"workers":[]}'
    assert "none" in run(workers, "--http", port.url).stdout


def test_status_as_a_table(port: HttpPort) -> None:
    port.answers["/api/status"] = json.dumps(STATUS).encode()
    result = run(status, "--http", port.url + "/")  # with a slash or without
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines == [
        "version 1.2.3",
        "state serving",
        "up 1.5 min",
        "strategy least_loaded",
        "workers 2",
        "requesters 5",
        "submitted 1,000",
        "in flight 7",
        "queued 4",
        "success 980",
        "timeout 13",
        "",
        "command workers queued",
        "echo 2 4",
    ]


@pytest.mark.parametrize(
    ("command", "path", "answer"), [(workers, "workers", WORKERS), (status, "status", STATUS)]
)
def test_json_is_what_the_broker_answers(
    port: HttpPort, command: Any, path: str, answer: dict[str, Any]
) -> None:
    port.answers[f"/api/{path}"] = json.dumps(answer).encode()
    result = run(command, "--http", port.url, "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout) == answer


def test_the_address_may_come_by_environment(port: HttpPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_HTTP", port.url)
    port.answers["/api/workers"] = b'{"workers":[]}'
    assert run(workers).exit_code == 0


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"workers":[{}]}', b'{"workers":3}', b"\xff"])
def test_what_is_no_answer_of_a_broker_is_one_line(port: HttpPort, body: bytes) -> None:
    port.answers["/api/workers"] = body
    result = run(workers, "--http", port.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: the answer of {port.url} cannot be read: is that a Taskferry broker's HTTP port?\n"
    )


def test_an_http_error_is_one_line(port: HttpPort) -> None:
    result = run(status, "--http", port.url)
    assert (result.exit_code, result.stderr) == (1, f"error: {port.url}/api/status answered 404 Not Found\n")


def test_nobody_there_is_one_line_with_what_to_do() -> None:
    result = run(status, "--http", "http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == (
        "error: cannot connect to http://127.0.0.1:1: connection refused. "
        "Is a broker running there? Start one with: taskferry broker\n"
    )


def test_a_broker_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "ANSWER_S_MAX", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = run(status, "--http", url)
    assert result.exit_code == 5
    assert result.stderr.startswith(f"error: cannot connect to {url}: no answer within 0.1 s.")


def test_a_port_that_speaks_no_http_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as strange:

        def greet() -> None:
            connection, _ = strange.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-strange\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        result = run(status, "--http", f"http://127.0.0.1:{strange.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 5
    assert "SSH-2.0-strange" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["localhost:8767", "http://", "http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:0"]
)
def test_an_address_that_is_none_is_one_line(url: str) -> None:
    result = run(status, "--http", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: --http: {url!r} is not a URL of the form http://HOST:PORT\n"
