"""Connections that are not WebSocket, that never finish their handshake, that are too many: each is closed in time, and
leaves nothing behind."""

import asyncio
import contextlib
import http.client
import socket
import time
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.integration.peers import connected, eventually, unique
from tests.processes import PATIENCE_S, Broker, Programs, wait_until

HANDSHAKE_S_MAX = 10.0
SWEEP_S = 0.5


@contextlib.asynccontextmanager
async def raw_connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_handshake_that_is_never_finished_is_dropped(programs: Programs) -> None:
    broker = programs.start_broker()
    half = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    before = broker.open_files_count()

    async def wait_for_the_end(url: str, sent: bytes) -> float:
        started_at = time.monotonic()
        async with raw_connection(url) as (reader, writer):
            writer.write(sent)
            assert await read_to_the_end(reader) == b""
        return time.monotonic() - started_at

    async def never_say_connect() -> float:
        started_at = time.monotonic()
        async with connected(broker.worker_url) as worker:
            error = await worker.receive()
            assert error["data"] == {"code": "bad_message", "error": "connect: not sent within 10 s"}
            assert (await worker.wait_closed())[0] == 1008
        return time.monotonic() - started_at

    ends_s = await asyncio.gather(
        wait_for_the_end(broker.requester_url, b""),
        wait_for_the_end(broker.requester_url, half),
        wait_for_the_end(broker.worker_url, b""),
        wait_for_the_end(broker.worker_url, half),
        wait_for_the_end(broker.api_url, half),
        never_say_connect(),
    )
    for seconds in ends_s:
        assert HANDSHAKE_S_MAX - 0.1 <= seconds <= HANDSHAKE_S_MAX + 2 * SWEEP_S + 1
    assert broker.workers() == {}
    assert broker.status()["requester_count"] == 0
    await eventually(lambda: broker.open_files_count() <= before, "its sockets are closed")


@pytest.mark.parametrize("port", ["worker_url", "requester_url"])
def test_plain_http_on_a_websocket_port_is_answered_with_an_explanation(
    shared_broker: Broker, port: str
) -> None:
    address = urllib.parse.urlsplit(getattr(shared_broker, port))
    client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=PATIENCE_S)
    try:
        client.request("GET", "/")
        response = client.getresponse()
        assert response.status == 426
        assert response.headers["Upgrade"] == "websocket"
    finally:
        client.close()


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"nonsense\r\n\r\n", b"\r\n\r\n", b"\x00" * 20_000],
    ids=["a TLS greeting", "a line of nonsense", "nothing but line ends", "zeros"],
)
async def test_anything_but_a_handshake_ends_the_connection(shared_broker: Broker, sent: bytes) -> None:
    async with raw_connection(shared_broker.requester_url) as (reader, writer):
        writer.write(sent + b"\r\n\r\n")
        assert (await read_to_the_end(reader))[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 431", b""}


async def test_a_handshake_that_is_too_long_is_refused(shared_broker: Broker) -> None:
    padding = {"X-Padding": "x" * 7000, "X-More": "x" * 7000}
    async with connected(shared_broker.requester_url, additional_headers=padding):
        pass
    with pytest.raises(InvalidStatus) as refused:
        async with connected(
            shared_broker.requester_url, additional_headers={**padding, "X-Even-More": "x" * 4000}
        ):
            pass
    assert refused.value.response.status_code == 431


async def test_an_unknown_subprotocol_is_refused_with_the_names_of_the_known(shared_broker: Broker) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await websockets.connect(shared_broker.requester_url, subprotocols=[Subprotocol("taskferry.v9.xml")])
    assert refused.value.response.status_code == 400
    assert b"taskferry.v1.json, taskferry.v1.msgpack" in refused.value.response.body


async def test_the_first_known_subprotocol_is_chosen(shared_broker: Broker) -> None:
    offered = [Subprotocol(name) for name in ("other", "taskferry.v1.msgpack", "taskferry.v1.json")]
    async with websockets.connect(shared_broker.requester_url, subprotocols=offered) as connection:
        assert connection.subprotocol == "taskferry.v1.msgpack"


async def test_a_frame_without_a_mask_closes_the_connection_with_1002(shared_broker: Broker) -> None:
    handshake = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with raw_connection(shared_broker.requester_url) as (reader, writer):
        writer.write(handshake)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\x02{}")
        frame = await read_to_the_end(reader)
        assert frame[0] == 0x88
        assert int.from_bytes(frame[2:4]) == 1002


async def test_connections_are_bounded_on_each_port(programs: Programs) -> None:
    broker = programs.start_broker("--connections-count-max", "2")
    async with connected(broker.requester_url) as first, connected(broker.requester_url):
        with pytest.raises(InvalidStatus) as refused:
            await websockets.connect(broker.requester_url)
        assert refused.value.response.status_code == 503
        assert (
            refused.value.response.body
            == b"over 2 connections on the requester port (connections_count_max)\n"
        )
        async with connected(broker.worker_url), connected(broker.worker_url):
            with pytest.raises(InvalidStatus) as refused:
                await websockets.connect(broker.worker_url)
            assert (
                refused.value.response.body
                == b"over 2 connections on the worker port (connections_count_max)\n"
            )
        await first.connection.close()
        await eventually(lambda: broker.status()["requester_count"] == 1, "there is room again")
        async with connected(broker.requester_url) as third:
            assert (await third.call("c"))["code"] == "no_available_workers"


async def test_connections_before_their_handshake_make_room(programs: Programs) -> None:
    broker = programs.start_broker("--connections-count-max", "1")
    async with raw_connection(broker.requester_url) as (silent, _), connected(broker.requester_url):
        assert await read_to_the_end(silent) == b""
        with pytest.raises(InvalidStatus) as refused:
            await websockets.connect(broker.requester_url)
        assert refused.value.response.status_code == 503

    async def comes_in() -> bool:
        try:
            async with connected(broker.requester_url):
                return True
        except InvalidStatus:
            return False

    give_up_at = time.monotonic() + PATIENCE_S
    while not await comes_in():
        assert time.monotonic() < give_up_at, "the place of a closed connection stays taken"


async def test_nothing_is_left_of_peers_that_have_disconnected(programs: Programs) -> None:
    broker = programs.start_broker()
    before = broker.open_files_count()
    async with contextlib.AsyncExitStack() as stack:
        worker = await stack.enter_async_context(connected(broker.worker_url))
        await worker.join("w", "c", concurrency=20)
        requesters = [await stack.enter_async_context(connected(broker.requester_url)) for _ in range(20)]
        for requester in requesters:
            for number in range(5):
                await requester.send({"request_id": f"r{number}", "command": "c"})
        await eventually(lambda: broker.status()["in_flight_count"] == 100, "all are in flight")
        assert broker.status()["queued_count"] == 80
        assert broker.status()["requester_count"] == 20
        for requester in requesters[::2]:
            requester.connection.transport.abort()
    await eventually(lambda: broker.status()["requester_count"] == 0, "all requesters have disconnected")
    await eventually(lambda: broker.status()["worker_count"] == 0, "the worker has left")
    status = broker.status()
    assert (status["in_flight_count"], status["queued_count"]) == (0, 0)
    assert sum(status["outcomes"].values()) == status["submitted_count"] == 100
    metrics = dict(line.rsplit(" ", 1) for line in broker.get("/metrics")[1].splitlines() if line[0] != "#")
    for name in (
        "taskferry_requests_in_flight",
        "taskferry_queue_size_bytes",
        'taskferry_queue_depth{command="c"}',
        'taskferry_connections{port="worker"}',
        'taskferry_connections{port="requester"}',
        'taskferry_workers{state="healthy"}',
    ):
        assert float(metrics[name]) == 0, name
    assert not any(name.startswith("taskferry_worker_in_flight{") for name in metrics)
    wait_until(lambda: broker.open_files_count() <= before, "its sockets are closed")


async def test_a_client_that_does_not_read_does_not_delay_others(shared_broker: Broker) -> None:
    command = unique("echo")
    big = "x" * 500_000

    async def serve(worker: Any) -> None:
        while (assignment := await worker.receive_or_close()) is not None:
            await worker.respond(assignment, big)

    async with (
        connected(shared_broker.worker_url) as worker,
        connected(shared_broker.requester_url) as deaf,
        connected(shared_broker.requester_url) as requester,
    ):
        await worker.join(unique("worker"), command, concurrency=200)
        serving = asyncio.create_task(serve(worker))
        deaf.connection.transport.pause_reading()
        for number in range(40):
            await deaf.send({"request_id": f"r{number}", "command": command})
        for _ in range(5):
            assert (await requester.call(command))["data"] == big
        deaf.connection.transport.abort()
        serving.cancel()


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_all_addresses_are_the_same_for_all_ports(programs: Programs, address: str) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    broker = programs.start_broker("--host", "::", "--insecure")
    for url in (broker.worker_url, broker.requester_url, broker.http_url, broker.api_url):
        number = int(url.rpartition(":")[2])
        with socket.create_connection((address.strip("[]"), number), timeout=5):
            pass
    host = broker.worker_url.replace("[::]", address)
    programs.start("-m", "taskferry.worker", "--broker", host, "--name", "either")
    wait_until(lambda: "either" in broker.workers(), "it is connected")
    peer = broker.workers()["either"]["peer"]
    assert peer.startswith(f"{address.strip('[]')}:"), peer
