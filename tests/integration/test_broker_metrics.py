"""The metrics of a real broker: what happened, in both formats, quickly, and without delaying requests."""

import asyncio
import gzip
import shutil
import subprocess
import time
import urllib.request
from typing import Any, Final

import pytest
import websockets
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from taskferry.broker.core.measures.histogram import DURATION_BOUNDS_S
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.integration.lean_workers import lean_workers
from tests.integration.peers import connected, eventually, serving
from tests.processes import Broker, Programs

OPENMETRICS: Final = {"Accept": "application/openmetrics-text; version=1.0.0"}
PROCESS_PREFIXES: Final = ("process_", "python_")


class Metrics:
    """A text as values by name and labels; each may be there once."""

    def __init__(self, text: str) -> None:
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self._values
                self._values[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        return self._values[name, tuple(sorted(labels.items()))]


def metrics_of(broker: Broker) -> Metrics:
    return Metrics(broker.get("/metrics")[1])


async def test_metrics_show_what_happened(broker: Broker) -> None:
    def fail(_: Any) -> None:
        raise ValueError("no")

    async def hang(_: Any) -> None:
        await asyncio.sleep(60)

    async with (
        serving(broker.worker_url, {"good": lambda _: 1, "bad": fail, "slow": hang}, name="w", concurrency=4),
        connected(broker.requester_url) as requester,
    ):
        for _ in range(5):
            await requester.call("good")
        await requester.call("bad")
        await requester.call("slow", timeout=0.05)
        await requester.call("made-up-by-a-requester")
        await requester.send_raw("nonsense")
        await requester.receive()
        await eventually(lambda: broker.workers()["w"]["in_flight"] == 0, "the cancelled handler has ended")
        text = broker.get("/metrics")[1]
    value = Metrics(text)
    assert value("taskferry_requests_submitted_total") == 8
    assert value("taskferry_requests_in_flight") == 0
    assert value("taskferry_requests_total", command="good", outcome="success") == 5
    assert value("taskferry_requests_total", command="bad", outcome="handler_error") == 1
    assert value("taskferry_requests_total", command="slow", outcome="timeout") == 1
    assert value("taskferry_requests_unserved_total") == 1
    assert value("taskferry_requests_refused_total", code="bad_request") == 1
    assert value("taskferry_late_responses_total") == 1
    assert (
        value("taskferry_connections", port="worker") == value("taskferry_connections", port="requester") == 1
    )
    assert value("taskferry_workers", state="healthy") == 1
    assert value("taskferry_worker_slots", worker="w") == 4
    assert value("taskferry_assignments_total", worker="w", outcome="success") == 5
    assert value("taskferry_assignments_total", worker="w", outcome="failure") == 2
    assert value("taskferry_worker_speed", worker="w") == 1
    assert value("taskferry_hedges_total") == value("taskferry_ejections_total", cause="failures") == 0
    assert value("taskferry_queue_depth", command="slow") == 0
    assert "made-up-by-a-requester" not in text, "an unknown command never becomes a label"
    buckets = [
        value("taskferry_request_duration_seconds_bucket", command="good", le=bound)
        for bound in (*map(str, DURATION_BOUNDS_S), "+Inf")
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == value("taskferry_request_duration_seconds_count", command="good") == 5
    assert value("taskferry_request_duration_seconds_sum", command="slow") >= 0.05


async def test_the_parts_of_a_requests_time_are_measured(broker: Broker) -> None:
    async def nap(_: Any) -> None:
        await asyncio.sleep(0.2)

    async with (
        serving(broker.worker_url, {"nap": nap}, concurrency=1),
        connected(broker.requester_url) as requester,
    ):
        for number in range(2):
            await requester.send({"request_id": str(number), "command": "nap"})
        for _ in range(2):
            await requester.receive()
        value = metrics_of(broker)
    for name in ("request", "worker", "broker"):
        assert value(f"taskferry_{name}_duration_seconds_count", command="nap") == 2
    total_s, worker_s, broker_s, waited_s = (
        value(f"taskferry_{name}_seconds_sum", command="nap")
        for name in ("request_duration", "worker_duration", "broker_duration", "queue_wait")
    )
    assert worker_s >= 0.39
    assert waited_s >= 0.19
    assert 0 < broker_s < 0.2
    assert total_s <= waited_s + worker_s + broker_s <= total_s + broker_s + 0.001


async def test_messages_and_bytes_of_the_ports_are_counted(programs: Programs) -> None:
    broker = programs.start_broker("--connections-count-max", "2")
    async with (
        serving(broker.worker_url, {"echo": lambda data: data}),
        connected(broker.requester_url) as requester,
        connected(broker.requester_url),
    ):
        for _ in range(10):
            await requester.call("echo", "x" * 1000)
        with pytest.raises(InvalidStatus):
            await websockets.connect(broker.requester_url)
        with pytest.raises(InvalidStatus):
            await websockets.connect(broker.worker_url, subprotocols=[Subprotocol("chat")])
        await eventually(
            lambda: metrics_of(broker)(
                "taskferry_handshakes_refused_total", port="worker", reason="unknown_subprotocol"
            ),
            "the refusal is counted",
        )
        value = metrics_of(broker)
        assert value("taskferry_command_workers", command="echo") == 1
        assert value("taskferry_command_slots", command="echo") == 100
    assert value("taskferry_handshakes_refused_total", port="requester", reason="too_many_connections") == 1
    assert value("taskferry_handshakes_refused_total", port="requester", reason="bad_request") == 0
    assert value("taskferry_received_messages_total", port="requester") == 10
    assert value("taskferry_sent_messages_total", port="requester") == 10
    assert value("taskferry_received_messages_total", port="worker") == 11
    assert value("taskferry_sent_messages_total", port="worker") == 11
    for port in ("requester", "worker"):
        for direction in ("received", "sent"):
            assert 10_000 < value(f"taskferry_{direction}_bytes_total", port=port) < 20_000
    gone = metrics_of(broker)
    assert gone("taskferry_received_bytes_total", port="requester") > 10_000, (
        "closed connections stay counted"
    )


async def test_a_worker_that_answers_no_ping_is_counted(broker: Broker) -> None:
    async with connected(broker.worker_url, ping_interval=None) as worker:
        await worker.join("mute", "c")
        worker.connection.transport.pause_reading()
        give_up_at = time.monotonic() + 15.0
        while metrics_of(broker)("taskferry_heartbeats_missed_total") != 1:
            assert time.monotonic() < give_up_at, "not within 15 s: a missed ping"
            await asyncio.sleep(0.25)  # that takes seconds, and each look at the metrics milliseconds


async def test_metrics_come_in_both_formats_with_help_and_type(broker: Broker) -> None:
    async with (
        serving(broker.worker_url, {"c": lambda _: None}),
        connected(broker.requester_url) as requester,
    ):
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        await requester.call("c", request_id="the-slow-one", trace=trace)
        plain, text = broker.get("/metrics")[1], broker.get("/metrics", OPENMETRICS)[1]
    families = {family.name: family for family in text_string_to_metric_families(plain)}
    assert all(name.startswith(("taskferry_", *PROCESS_PREFIXES)) for name in families)
    assert all(family.documentation for family in families.values())
    assert families["taskferry_request_duration_seconds"].type == "histogram"
    assert families["taskferry_requests"].type == "counter"
    open_families = {family.name: family for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]  # the library's parser is not annotated
    assert {"taskferry_requests", "taskferry_request_duration_seconds", "taskferry_broker"} <= set(
        open_families
    )
    (exemplar,) = [
        sample.exemplar
        for sample in open_families["taskferry_request_duration_seconds"].samples
        if sample.exemplar
    ]
    assert exemplar.labels == {"request_id": "the-slow-one", "trace_id": trace.split("-")[1]}
    assert float(exemplar.timestamp) == pytest.approx(time.time(), abs=10)
    assert "the-slow-one" not in plain


PROMTOOL: Final = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: apt install prometheus)")
async def test_promtool_reports_nothing(broker: Broker) -> None:
    def fail(_: Any) -> None:
        raise ValueError("no")

    handlers = {"images/resize": lambda data: data, "mail.send:v2@eu-1": fail, "x" * 128: lambda _: None}
    async with (
        serving(broker.worker_url, handlers),
        serving(broker.worker_url, handlers, encoding="msgpack"),
        connected(broker.requester_url) as requester,
    ):
        for command in handlers:
            for number in range(5):
                await requester.call(command, number)
        await requester.call("unknown")
        await requester.send_raw("nonsense")
        await requester.receive()
        text = broker.get("/metrics")[1]
    checked = await asyncio.to_thread(
        subprocess.run,
        [str(PROMTOOL), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


SCRAPE_S_MAX: Final = 0.1
BLOCKED_S_MAX: Final = 0.02
"""The guarantee on an otherwise idle machine."""
NOISE: Final = 5
"""How much longer it may take on a busy one."""


async def test_a_scrape_of_many_workers_and_commands_is_fast_and_delays_no_request(broker: Broker) -> None:
    commands = [f"command-{number}" for number in range(100)]
    async with (
        lean_workers(broker.worker_url, 1000, commands),
        connected(broker.requester_url) as requester,
    ):
        for command in commands:
            for number in range(20):
                await requester.send({"command": command, "data": number})
        for _ in range(20 * len(commands)):
            assert (await requester.receive())["success"]
        took_s, waits_s = await scrape_under_pings(broker, requester, accept_encoding="gzip")
        value = metrics_of(broker)
    assert value("taskferry_workers", state="healthy") == 1000
    assert value("taskferry_command_workers", command="command-99") == 1000
    assert value("taskferry_command_slots", command="command-0") == 4000
    assert value("taskferry_worker_duration_seconds_count", command="command-50") == 20
    assert took_s < SCRAPE_S_MAX * NOISE
    assert max(waits_s) < BLOCKED_S_MAX * NOISE


async def scrape_under_pings(
    broker: Broker, requester: Any, accept_encoding: str
) -> tuple[float, list[float]]:
    """How long a scrape took, and how long each ping waited that a requester sent meanwhile, one after the other: at
    least as long as the loop was blocked."""
    scrape = asyncio.create_task(asyncio.to_thread(timed_scrape, broker, accept_encoding))
    waits_s = []
    while not scrape.done():
        sent_at = time.monotonic()
        await requester.send({"type": "ping"})
        assert (await requester.receive())["type"] == "pong"
        waits_s.append(time.monotonic() - sent_at)
    return await scrape, waits_s


def timed_scrape(broker: Broker, accept_encoding: str) -> float:
    headers = {"Accept-Encoding": accept_encoding}
    started_at = time.monotonic()
    request = urllib.request.Request(broker.http_url + "/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        body = response.read()
    took_s = time.monotonic() - started_at
    text = gzip.decompress(body) if accept_encoding == "gzip" else body
    assert text.count(b"\n") > 10_000
    return took_s
