"""The HTTP port with slow clients, odd methods, huge heads and bodies: it answers or drops each of them in bounded time
and memory, and health probes get through at any moment."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults.caller import calling
from tests.faults.raw_peer import address_of, answer_to, handshake
from tests.integration.peers import connected
from tests.processes import Broker, programs_in, wait_until

CONNECTIONS_COUNT_MAX = 256
REQUEST_S_MAX = 10.0
GROWTH_BYTES_MAX = 32 * 1024 * 1024
PROBE_S_MAX = 1.0
"""What a liveness probe of Kubernetes waits."""
GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /api/workers/w/drain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for all of these: none may harm it."""
    with programs_in(tmp_path_factory.mktemp("broker")) as programs:
        broker = programs.start_broker("--grace", "0")
        yield broker
        broker.terminate()
        assert broker.wait() == 0
        assert "Traceback" not in broker.stderr, broker.stderr[-4000:]
        assert " ERROR " not in broker.stderr, broker.stderr[-4000:]
        assert broker.stderr.count("\n") < 60, "these lines fold"


def metric(broker: Broker, name: str) -> float:
    for line in broker.get("/metrics")[1].splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {name}")


def refused_count(broker: Broker, reason: str) -> float:
    return metric(broker, f'taskferry_http_refused_total{{reason="{reason}"}}')


def assert_probes_pass(broker: Broker) -> None:
    began_at = time.monotonic()
    assert broker.get("/healthz") == (200, "ok\n")
    assert time.monotonic() - began_at < PROBE_S_MAX


SLOW = {
    "nothing": b"",
    "half a head": GET,
    "no body": POST + b"Content-Length: 2\r\n\r\n",
    "a body without end": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "a body that nobody wants": GET + b"Content-Length: 1000000000\r\n\r\n",
}


def test_slow_clients_are_dropped_and_keep_no_probe_out(broker: Broker) -> None:
    files_count = broker.open_files_count()
    before = refused_count(broker, "too_slow")
    crowd_count = 2 * CONNECTIONS_COUNT_MAX
    with ExitStack() as stack:
        address = address_of(broker.http_url)
        for _ in range(crowd_count):
            stack.enter_context(socket.create_connection(address)).sendall(GET)
        slow = []
        for sent in SLOW.values():
            slow.append(stack.enter_context(socket.create_connection(address, timeout=2 * REQUEST_S_MAX)))
            slow[-1].sendall(sent)
        began_at = time.monotonic()
        assert_probes_pass(broker)
        wait_until(
            lambda: broker.open_files_count() - files_count <= CONNECTIONS_COUNT_MAX + 5, "those beyond go"
        )
        assert metric(broker, "taskferry_http_connections") <= CONNECTIONS_COUNT_MAX
        assert refused_count(broker, "too_many_connections") >= crowd_count - CONNECTIONS_COUNT_MAX
        for connection in slow:
            while connection.recv(65536):
                pass
        assert time.monotonic() - began_at < REQUEST_S_MAX + 3
        assert_probes_pass(broker)
    assert refused_count(broker, "too_slow") >= before + len(SLOW)
    wait_until(lambda: broker.open_files_count() <= files_count + 2, "all descriptors are back")


ODD = {
    # the answer's status, 0 for none
    "PUT": (b"PUT /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 405),
    "DELETE": (b"DELETE /api/workers/w HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
    "GET where only POST is": (
        b"GET /api/workers/w/drain HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        405,
    ),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
    "CONNECT": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
    "an absolute URL": (
        b"GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        404,
    ),
    "lower case": (b"get /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 405),
    "a method of 10,000 letters": (
        b"X" * 10_000 + b" / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        404,
    ),
    "HEAD": (b"HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 200),
    "a path that climbs": (
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        404,
    ),
    "a zero byte": (b"GET /healthz%00 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "a length and chunks": (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a length below zero": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a line end alone": (b"\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32 + b"\r\n\r\n", 400),
    "a zero in a header": (GET + b"X: \x00\r\n\r\n", 400),
    "a folded header": (GET + b"X: a\r\n b\r\nConnection: close\r\n\r\n", 200),
    "a WebSocket": (handshake("", "Connection: close"), 421),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_requests_are_answered(broker: Broker, name: str) -> None:
    sent, status = ODD[name]
    answer = answer_to(broker.http_url, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert_probes_pass(broker)


HUGE = {
    "a header": GET + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
    "many headers": GET + b"X: y\r\n" * 3_000 + b"\r\n",
    "a path": b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "a header without end": GET + b"X: " + b"y" * 20_000,
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_heads_are_431(broker: Broker, name: str) -> None:
    answer = answer_to(broker.http_url, HUGE[name])
    assert answer.startswith(b"HTTP/1.1 431 "), answer[:200]


def test_a_body_without_end_costs_no_memory(broker: Broker) -> None:
    before = broker.rss_bytes()
    chunk = b"f4240\r\n" + b" " * 1_000_000 + b"\r\n"
    answer_to(broker.http_url, POST + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 100, b"0\r\n\r\n")
    assert broker.rss_bytes() - before < GROWTH_BYTES_MAX
    assert_probes_pass(broker)


def test_a_post_that_is_cut_off_logs_no_traceback(broker: Broker) -> None:
    for _ in range(100):
        with socket.create_connection(address_of(broker.http_url)) as connection:
            connection.sendall(POST + b"Content-Length: 10\r\n\r\n{")
    assert_probes_pass(broker)
    assert "Traceback" not in broker.stderr


async def test_answers_that_nobody_takes_disturb_no_call(broker: Broker) -> None:
    async with connected(broker.worker_url) as worker, calling(broker.requester_url) as caller:
        await worker.join("w", *(f"{'x' * 100}-{number}" for number in range(990)))
        before = broker.rss_bytes()
        with ExitStack() as stack:
            for _ in range(64):
                connection = stack.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(address_of(broker.http_url))
                connection.sendall(GET.replace(b"healthz", b"api/workers") + b"\r\n")
            await asyncio.to_thread(assert_probes_pass, broker)
            assert (await caller.call("nobody-serves-this"))["code"] == "no_available_workers"
            assert broker.rss_bytes() - before < 2 * GROWTH_BYTES_MAX
