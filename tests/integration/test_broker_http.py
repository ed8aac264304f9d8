"""The HTTP port of a real broker: health, the JSON views, and metrics that Prometheus can read."""

import asyncio
import json
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from taskferry.broker.core.histogram import DURATION_BOUNDS_S

from tests.integration.peers import connected, eventually, serving
from tests.processes import Broker, Programs


def samples_of(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Values by name and labels; each may be there once."""
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples
            samples[key] = sample.value
    return samples


def test_health_and_readiness(shared_broker: Broker) -> None:
    assert shared_broker.get("/healthz") == (200, "ok\n")
    assert shared_broker.get("/readyz") == (200, "ready\n")
    assert shared_broker.get("/no-such-page")[0] == 404


async def test_workers_as_json(broker: Broker) -> None:
    assert json.loads(broker.get("/api/workers")[1]) == {"workers": []}
    async with (
        connected(broker.worker_url, "msgpack") as worker,
        serving(broker.worker_url, {"b": lambda _: None}, name="plain"),
        connected(broker.requester_url) as requester,
    ):
        labels = {"gpu": "yes", "zone": "1"}
        await worker.join("rich", "a", "b", concurrency=3, weight=2.5, labels=labels, sdk="python/0.1.0")
        await requester.send({"command": "a", "data": 1})
        await worker.receive_assignment()
        rows = broker.workers()
        assert set(rows) == {"rich", "plain"}
        row = rows["rich"]
        assert row.pop("peer").startswith("127.0.0.1:")
        assert 0 <= row.pop("connected_s") < 60
        assert row == {
            "worker_id": "rich",
            "state": "healthy",
            "reason": None,
            "commands": ["a", "b"],
            "concurrency": 3,
            "in_flight": 1,
            "weight": 2.5,
            "speed": 1.0,
            "labels": labels,
            "encoding": "msgpack",
            "sdk": "python/0.1.0",
            "succeeded_count": 0,
            "failed_count": 0,
            "ejections_count": 0,
        }
        assert (rows["plain"]["sdk"], rows["plain"]["labels"], rows["plain"]["encoding"]) == (
            None,
            {},
            "json",
        )
        await worker.send({"type": "disconnect"})
        await worker.receive()
        assert broker.workers()["rich"]["state"] == "draining"


async def test_status_as_json(programs: Programs) -> None:
    broker = programs.start_broker("--strategy", "round_robin")
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "a", "b")
        await requester.call("nobody-serves-this")
        for number in range(3):
            await requester.send({"request_id": f"r{number}", "command": "a"})
        await worker.respond(await worker.receive_assignment(), None)
        await requester.receive()
        await worker.receive_assignment()
        status = broker.status()
        assert 0 <= status.pop("uptime_s") < 60
        assert status.pop("version").count(".") == 2
        assert status == {
            "state": "serving",
            "strategy": "round_robin",
            "worker_count": 1,
            "requester_count": 1,
            "submitted_count": 4,
            "in_flight_count": 2,
            "queued_count": 1,
            "refused": {},
            "counts": {
                "retried": 0,
                "reassigned": 0,
                "hedged": 0,
                "hedges_won": 0,
                "shed": 0,
                "ejected": 0,
                "readmitted": 0,
                "late_responses": 0,
            },
            "outcomes": {"success": 1, "no_available_workers": 1},
            "commands": [
                {
                    "command": "a",
                    "worker_count": 1,
                    "queued_count": 1,
                    "strategy": "round_robin",
                    "outcomes": {"success": 1},
                },
                {
                    "command": "b",
                    "worker_count": 1,
                    "queued_count": 0,
                    "strategy": "round_robin",
                    "outcomes": {},
                },
            ],
        }


async def test_metrics_say_what_happened(broker: Broker) -> None:
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
    samples = samples_of(text)

    def value(name: str, **labels: str) -> float:
        return samples[name, tuple(sorted(labels.items()))]

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


async def test_metrics_come_in_both_formats_with_help_and_type(broker: Broker) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with serving(broker.worker_url, {"c": lambda _: None}):
        plain, text = broker.get("/metrics")[1], broker.get("/metrics", accept)[1]
    families = {family.name: family for family in text_string_to_metric_families(plain)}
    assert all(name.startswith("taskferry_") for name in families)
    assert all(family.documentation for family in families.values())
    assert families["taskferry_request_duration_seconds"].type == "histogram"
    assert families["taskferry_requests"].type == "counter"
    open_families = {family.name for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]  # the library's own parser is not annotated
    assert {"taskferry_requests", "taskferry_request_duration_seconds", "taskferry_broker"} <= open_families
