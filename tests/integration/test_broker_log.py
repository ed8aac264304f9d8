"""The log of a real broker: events as JSON with stable keys, repetitions folded, never a payload or a token."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from tests.integration.peers import connected, serving
from tests.processes import Broker, Programs

SECRET = "SECRET-4711"
LOUD = ("--log-level", "debug", "--log-level", "taskferry.websocket=info")


def lines_of(broker: Broker, *names: str) -> list[dict[str, Any]]:
    """Everything that it logged; with `names`, only these events."""
    lines = [json.loads(line) for line in broker.stderr.splitlines()]
    return [line for line in lines if not names or line["event"] in names]


def wait_for_event(broker: Broker, name: str) -> dict[str, Any]:
    broker.wait_for_stderr(f'"event": "{name}".*\n')
    return lines_of(broker, name)[-1]


async def test_the_life_of_a_worker_and_of_the_broker_as_json(programs: Programs) -> None:
    broker = programs.start_broker("--log-format", "json")
    async with connected(broker.worker_url) as worker:
        await worker.join("w", "c", concurrency=3)
    await asyncio.to_thread(wait_for_event, broker, "worker_left")
    broker.terminate()
    assert broker.wait() == 0
    lines = lines_of(broker)
    assert [(line["event"], line["level"]) for line in lines] == [
        ("broker_started", "info"),
        ("worker_joined", "info"),
        ("worker_left", "info"),
        ("broker_draining", "info"),
        ("broker_stopped", "info"),
    ]
    assert all(line["logger"].startswith("taskferry.broker.") and line["pid"] == broker.pid for line in lines)
    started, joined, left, draining, _ = lines
    assert started["worker_port"] == int(broker.worker_url.rpartition(":")[2])
    assert (joined["worker"], joined["commands_count"], joined["slots_count"]) == ("w", 1, 3)
    assert joined["peer"].startswith("127.0.0.1:")
    assert left["peer"] == joined["peer"]
    assert left["reason"].startswith("closed by peer")
    assert (draining["in_flight_count"], draining["grace_s"]) == (0, 10.0)


async def test_each_coming_and_going_of_a_worker_is_a_line_in_order(programs: Programs) -> None:
    broker = programs.start_broker("--log-format", "json")
    for _ in range(10):
        async with connected(broker.worker_url) as worker:
            await worker.join("flapping", "c")
        async with connected(broker.worker_url) as worker:
            await worker.join("steady", "c")
    broker.terminate()
    assert broker.wait() == 0
    for name in ("flapping", "steady"):
        events = [line["event"] for line in lines_of(broker) if line.get("worker") == name]
        assert events == ["worker_joined", "worker_left"] * 10


async def test_drain_requests_of_an_operator_are_logged(programs: Programs) -> None:
    broker = programs.start_broker("--log-format", "json")
    async with serving(broker.worker_url, {"c": lambda _: None}, name="w"):
        for arguments in (("w",), ("w", "--undo")):
            drain = programs.start("-m", "taskferry.cli", "drain", *arguments, "--http", broker.http_url)
            assert await asyncio.to_thread(drain.wait) == 0
    assert [
        (line["event"], line["worker"], line["state"]) for line in lines_of(broker) if "state" in line
    ] == [
        ("worker_drained", "w", "draining"),
        ("worker_undrained", "w", "healthy"),
    ]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (f"GET /?token={SECRET} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n", "Connection"),
        (f"GET /?token={SECRET}\r\nHost: x\r\n\r\n", "did not receive a valid HTTP request"),
        (f"GET / HTTP/1.1\r\nHost {SECRET}\r\n\r\n", "did not receive a valid HTTP request"),
        (f"GET / HTTP/1.1\r\nX: {SECRET * 2000}\r\n\r\n", "handshake over 16384 bytes"),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SECRET}\r\n\r\n",
            "invalid Sec-WebSocket-Key header",
        ),
    ],
)
def test_a_refused_handshake_is_logged_without_its_content(
    programs: Programs, sent: str, reason: str
) -> None:
    broker = programs.start_broker("--log-format", "json", *LOUD)
    port = int(broker.requester_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(sent.encode())
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass
    line = wait_for_event(broker, "handshake_refused")
    assert (line["port"], line["address"], line["level"]) == ("requester", "127.0.0.1", "warning")
    assert reason in line["reason"]
    assert SECRET not in broker.stderr


def test_a_client_that_connects_and_leaves_is_not_logged(programs: Programs) -> None:
    broker = programs.start_broker("--log-format", "json")
    for url in (broker.worker_url, broker.requester_url):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close()
    broker.terminate()
    assert broker.wait() == 0
    assert lines_of(broker, "handshake_refused") == []


@pytest.mark.parametrize("form", ["human", "json"])
async def test_no_payload_and_no_credential_is_ever_logged(programs: Programs, form: str) -> None:
    broker = programs.start_broker("--log-format", form, *LOUD)
    query = f"/?token={SECRET}"
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET}

    def fail(params: Any) -> Any:
        raise ValueError(f"{SECRET} {params}")

    async with (
        serving(broker.worker_url + query, {"c": fail}, name="bad", concurrency=1),
        serving(broker.worker_url, {"c": lambda params: params}, name="good", concurrency=1),
        connected(broker.requester_url + query, additional_headers=headers) as requester,
    ):
        for _ in range(40):
            await requester.call("c", {"password": SECRET})
        await requester.send_raw(f'{{"request_id": "1", "command": 7, "data": "{SECRET}"}}')
        await requester.receive()
        await requester.send({"type": SECRET, "data": SECRET})
        await requester.receive()
        async with connected(broker.worker_url + query, additional_headers=headers) as worker:
            await worker.join("odd", "d")
            for message in (
                {"type": SECRET, "data": SECRET},
                {"type": "response", "msg_id": SECRET, "data": {"success": True, "result": SECRET}},
                {"type": "response", "msg_id": 7, "data": {"success": True, "result": SECRET}},
                {"type": "error", "data": {"code": SECRET, "error": SECRET}},
                {"type": "custom", "data": SECRET},
            ):
                await worker.send(message)
            await worker.send_raw(SECRET)
            await worker.send({"type": "heartbeat", "msg_id": "last"})
            while (await worker.receive()).get("msg_id") != "last":
                pass
        with pytest.raises(InvalidHandshake):
            async with connect(
                broker.worker_url + query,
                additional_headers=headers,
                subprotocols=[f"{SECRET}.v9"],  # type: ignore[list-item]  # a str will do for the wire
            ):
                pass
    broker.terminate()
    assert await asyncio.to_thread(broker.wait) == 0
    assert "is ejected" in broker.stderr
    assert "sent a bad message" in broker.stderr
    assert "connection from" in broker.stderr
    assert SECRET not in broker.stderr


def test_payloads_cannot_be_logged_at_any_level(programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "taskferry.toml"
    path.write_text('[log.levels]\n"taskferry.websocket" = "debug"\n')
    for options in (("--log-level", "taskferry.websocket=debug"), ("--config", str(path))):
        broker = programs.start("-m", "taskferry.broker", *options)
        assert broker.wait() == 2
        (line,) = broker.stderr.splitlines()
        assert line.endswith(
            '"taskferry.websocket": debug would log payloads and tokens; the lowest level allowed is info'
        )


def test_levels_by_logger_and_by_variable(programs: Programs) -> None:
    broker = programs.start_broker(
        environment={"TASKFERRY_LOG_LEVEL": "error taskferry.broker.run=info", "TASKFERRY_LOG_FORMAT": "json"}
    )
    with socket.create_connection(("127.0.0.1", int(broker.worker_url.rpartition(":")[2]))) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        peer.recv(100)
    broker.terminate()
    assert broker.wait() == 0
    assert [line["event"] for line in lines_of(broker)] == [
        "broker_started",
        "broker_draining",
        "broker_stopped",
    ]


async def test_a_worker_that_reads_nothing_is_dropped_and_logged(programs: Programs) -> None:
    broker = programs.start_broker("--log-format", "json")
    worker = programs.start(
        "-m", "taskferry.worker", "--broker", broker.worker_url, "--name", "deaf", "--concurrency", "200"
    )
    worker.wait_for_stderr("connected to")
    worker.freeze()
    data = {"message": "x" * 1_000_000}  # enough of these that more than 64 MiB wait for it
    async with connected(broker.requester_url) as requester:
        for number in range(100):
            await requester.send({"request_id": str(number), "command": "echo", "data": data, "timeout": 6})
        line = await asyncio.to_thread(wait_for_event, broker, "slow_reader_closed")
    assert (line["port"], line["level"]) == ("worker", "warning")
    assert line["reason"] == "slow reader: over 67108864 bytes wait for it"
    assert wait_for_event(broker, "worker_left")["worker"] == "deaf"
    worker.kill()
