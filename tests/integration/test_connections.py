"""Who is connected to a real broker, with both SDKs and the command line, and what a kick does to them."""

import asyncio
import json
import urllib.request
from typing import Any

from taskferry.requester import BlockingRequester, Requester

from tests.integration.peers import connected, eventually
from tests.processes import Broker, Programs, wait_until

WORKER = """
from taskferry.worker import Worker

worker = Worker(name="vm-1", device={"rack": "7"})

@worker.command("where")
def where() -> str:
    return "here"
"""


def start_worker(programs: Programs, broker: Broker) -> None:
    (programs.folder / "where_tasks.py").write_text(WORKER)
    programs.start(
        "-m", "taskferry.worker", "where_tasks:worker", "--broker", broker.worker_url,
        environment={"PYTHONPATH": str(programs.folder)},
    )  # fmt: skip
    wait_until(broker.workers, "the worker")


def listed(broker: Broker, **wanted: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    rows: list[dict[str, Any]] = json.loads(broker.get(f"/api/connections?{query}")[1])["connections"]
    return rows


def taskferry(programs: Programs, broker: Broker, *arguments: str) -> str:
    program = programs.start("-m", "taskferry", *arguments, "--http", broker.http_url)
    assert program.wait() == 0, program.stderr
    return program.stdout


async def test_one_client_on_many_devices_is_listed_together(programs: Programs, broker: Broker) -> None:
    start_worker(programs, broker)
    phone, desk = {"host": "phone"}, {"host": "desk", "app": "2.1"}
    url = broker.requester_url
    with BlockingRequester(url, client_id="billing", device=phone) as requester:
        assert requester.call("where") == "here"
        async with (
            Requester(url),
            Requester(url, client_id="billing", device=desk, encoding="msgpack") as other,
        ):
            await other.connect()
            await eventually(lambda: len(listed(broker, client_id="billing")) == 2, "both say hello")
            first, second = listed(broker, client_id="billing")
            assert [row["device"]["host"] for row in (first, second)] == ["phone", "desk"]
            assert second["device"]["app"] == "2.1"
            assert set(first["device"]) == {"host", "system", "python", "pid", "sdk"}
            assert (first["received_count"], second["encoding"]) == (2, "msgpack")
            (worker,) = listed(broker, port="worker")
            assert (worker["worker_id"], worker["device"]["rack"]) == ("vm-1", "7")
            await eventually(
                lambda: len(listed(broker, port="requester")) == 3, "one that says nothing of itself"
            )
            assert len(json.loads(taskferry(programs, broker, "connections", "--json"))["connections"]) == 4
            lines = taskferry(programs, broker, "connections").splitlines()
            names = [next((name for name in ("billing", "vm-1") if name in line), "") for line in lines[1:]]
            assert names == ["", "billing", "billing", "vm-1"]


async def test_a_kicked_sdk_is_told_and_connects_again(programs: Programs, broker: Broker) -> None:
    start_worker(programs, broker)
    async with Requester(broker.requester_url, client_id="billing") as requester:
        assert await requester.call("where") == "here"
        ids = [row["connection_id"] for row in listed(broker)]
        assert len(ids) == 2
        printed = taskferry(programs, broker, "kick", *ids, "--reason", "maintenance")
        assert printed.count("is closed") == 2
        await eventually(lambda: len(listed(broker)) == 2, "both are back")
        assert not {row["connection_id"] for row in listed(broker)} & set(ids)
        assert await requester.call("where", idempotent=True, timeout=20) == "here"
    assert broker.stderr.count("closed: kicked by an operator: maintenance") == 2
    metrics = broker.get("/metrics")[1]
    for port in ("worker", "requester"):
        assert f'taskferry_connections_kicked_total{{port="{port}"}} 1' in metrics


async def test_any_peer_sees_the_code_and_the_reason(broker: Broker) -> None:
    async with connected(broker.requester_url) as peer:
        await peer.send({"type": "hello", "device": {"browser": "Lynx/2.9"}})
        assert (await peer.receive())["type"] == "hello"
        (row,) = listed(broker)
        assert row["device"] == {"browser": "Lynx/2.9"}
        path = f"/api/connections/{row['connection_id']}/kick"
        await asyncio.to_thread(post, broker, path, {"reason": "no browsers here"})
        assert await peer.wait_closed() == (4410, "kicked by an operator: no browsers here")


def post(broker: Broker, path: str, body: object) -> None:
    request = urllib.request.Request(broker.http_url + path, json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200
