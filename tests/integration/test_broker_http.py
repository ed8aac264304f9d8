"""The HTTP port of a real broker: health and the JSON views."""

import asyncio
import json
from urllib.parse import quote

from tests.integration.peers import connected, serving
from tests.processes import Broker, Programs, wait_until


def test_health_and_readiness(shared_broker: Broker) -> None:
    assert shared_broker.get("/healthz") == (200, "ok\n")
    assert shared_broker.get("/readyz") == (200, "ready\n")
    assert shared_broker.get("/no-such-page")[0] == 404


async def test_readiness_waits_once_for_the_commands_that_the_settings_name(programs: Programs) -> None:
    broker = programs.start_broker("--ready-command", "a", "--ready-command", "b")
    starting = "starting: no worker has served {} of the ready_commands yet\n"
    assert broker.get("/readyz") == (503, starting.format(2))
    assert broker.get("/healthz") == (200, "ok\n")
    async with connected(broker.worker_url) as worker:
        await worker.join("w", "b", "c")
        assert broker.get("/readyz") == (503, starting.format(1))
        assert (broker.status()["state"], broker.status()["unready_commands"]) == ("starting", ["a"])
    async with connected(broker.worker_url) as worker:
        await worker.join("w", "a")
        assert broker.get("/readyz") == (200, "ready\n"), (
            "b was there: what it has lost is not the broker's start"
        )
    await asyncio.to_thread(wait_until, lambda: not broker.workers(), "the worker is gone")
    assert broker.get("/readyz") == (200, "ready\n")
    assert (broker.status()["state"], broker.status()["unready_commands"]) == ("serving", [])


async def test_workers_as_json(broker: Broker) -> None:
    assert json.loads(broker.get("/api/workers")[1]) == {"workers": [], "workers_count": 0, "next": None}
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
            "identity": "anonymous",
            "state": "healthy",
            "reason": None,
            "commands": ["a", "b"],
            "commands_count": 2,
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
    broker = programs.start_broker("--strategy", "round_robin", "--journal", "none")
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
            "unready_commands": [],
            "commands_count": 2,
            "next": None,
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
                "yielded": 0,
                "ejected": 0,
                "readmitted": 0,
                "late_responses": 0,
            },
            "jobs": None,
            "jobs_error": None,
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


async def test_a_request_of_any_id_is_explained(broker: Broker, programs: Programs) -> None:
    ids = ["a\nb", "a/b", "..", " ", "%0a", "\x1b[31m", "\u202eme"]
    async with connected(broker.worker_url) as worker, connected(broker.requester_url) as requester:
        await worker.join("w", "c", concurrency=len(ids))
        for id in ids:
            await requester.send({"request_id": id, "command": "c"})
            await worker.receive_assignment()
        for id in ids:
            status, text = broker.get(f"/api/explain/{quote(id, safe='')}")
            assert status == 200, (id, text)
            assert [request["request_id"] for request in json.loads(text)["requests"]] == [id]
        program = programs.start("-m", "taskferry.cli", "explain", "a\nb", "--http", broker.http_url)
        assert await asyncio.to_thread(program.wait) == 0
        assert program.stdout.startswith("Request a\\nb (c) is running and waits for the answer of w.\n")
