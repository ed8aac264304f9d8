"""The HTTP views answer from the read model, and draining a worker goes through the operations."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from taskferry.broker.core.fleet.worker import WorkerState
from taskferry.broker.http.operation_views import BODY_SIZE_BYTES_MAX, WHY_LENGTH_MAX
from taskferry.broker.http.pages import PAGE_COUNT_MAX
from taskferry.broker.http.server import HttpServer, make_app
from taskferry.broker.operations import Operations
from taskferry.broker.port import PortTaken

from tests.unit.broker.shell import Shell, open_shell

JSON = {"content-type": "application/json"}


@asynccontextmanager
async def client_of(shell: Shell) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(shell.read_model, Operations(shell.core, shell.entrance), shell.entrance)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


async def test_readiness_ends_with_the_drain_and_health_does_not() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        assert (await client.get("/readyz")).text == "ready\n"
        shell.core.drain()
        not_ready = await client.get("/readyz")
        assert (not_ready.status_code, not_ready.text) == (503, "draining\n")
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/api/status")).json()["state"] == "draining"


async def test_views_are_json() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        await shell.worker(name="w1", labels={"zone": "ü"})
        response = await client.get("/api/workers")
        assert response.headers["content-type"] == "application/json"
        (row,) = response.json()["workers"]
        assert (row["worker_id"], row["labels"]) == ("w1", {"zone": "ü"})
        assert (await client.get("/api/requests")).json() == {
            "requests": [],
            "queued_count": 0,
            "running": [],
            "running_count": 0,
            "failures": [],
        }
        unknown = await client.get("/api/requests/r1/x")
        assert (unknown.status_code, list(unknown.json())) == (404, ["error"])
        assert "'r1/x'" in unknown.json()["error"]


async def test_lists_come_in_pages_in_the_order_of_names() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        for name, commands in (
            ("w2", ["b", "c"]),
            ("w1", [f"a{number:03}" for number in range(150)]),
            ("w3", ["d"]),
        ):
            await shell.worker(name=name, commands=commands)
        first = (await client.get("/api/workers", params={"limit": 2})).json()
        assert [row["worker_id"] for row in first["workers"]] == ["w1", "w2"]
        assert (first["workers_count"], first["next"]) == (3, "w2")
        assert (len(first["workers"][0]["commands"]), first["workers"][0]["commands_count"]) == (100, 150)
        last = (await client.get("/api/workers", params={"limit": 2, "after": "w2"})).json()
        assert ([row["worker_id"] for row in last["workers"]], last["next"]) == (["w3"], None)
        (one,) = (await client.get("/api/workers", params={"worker_id": "w1"})).json()["workers"]
        assert len(one["commands"]) == 150
        assert (await client.get("/api/workers", params={"worker_id": "w9"})).json() == {"workers": []}
        status = (await client.get("/api/status")).json()
        assert (len(status["commands"]), status["commands_count"], status["next"]) == (100, 153, "a099")
        rest = (await client.get("/api/commands", params={"after": status["next"], "limit": 1000})).json()
        assert [row["command"] for row in rest["commands"]][-4:] == ["a149", "b", "c", "d"]
        assert (len(rest["commands"]), rest["next"]) == (53, None)


@pytest.mark.parametrize("path", ["/api/workers", "/api/commands", "/api/connections", "/api/status"])
async def test_the_size_of_a_page_is_bounded(path: str) -> None:
    async with open_shell() as shell, client_of(shell) as client:
        for limit in (1, PAGE_COUNT_MAX):
            assert (await client.get(path, params={"limit": limit})).status_code == 200
        for wrong in ("0", f"{PAGE_COUNT_MAX + 1}", "-1", "1e3", "", "²", "9" * 5000):
            refused = await client.get(path, params={"limit": wrong})
            assert refused.status_code == 400
            assert refused.json()["error"].startswith("limit: expected a whole number from 1 to 1000, got '")
            assert len(refused.content) < 200


async def test_a_worker_is_drained_and_that_is_undone() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        await shell.worker(name="rack/7")
        worker = shell.core.roster.workers["rack/7"]
        drained = await client.post("/api/workers/rack/7/drain", content=b"{}", headers=JSON)
        assert (drained.status_code, drained.json()["state"]) == (200, "draining")
        assert worker.state is WorkerState.DRAINING
        undone = await client.post("/api/workers/rack/7/drain", content=b'{"undo": true}', headers=JSON)
        assert (undone.status_code, undone.json()["state"]) == (200, worker.state.value)
        assert undone.json()["state"] != "draining"


BAD = {
    "no such worker": ("w2", b"{}", JSON, 404, "no worker 'w2' is connected"),
    "another type": ("w1", b"{}", {"content-type": "text/plain"}, 415, "content-type: application/json is"),
    "no JSON": ("w1", b"{", JSON, 400, "body: "),
    "another value": ("w1", b'{"undo": 1}', JSON, 400, "body: Expected `bool`, got `int`"),
    "too long": ("w1", b'{"undo": true' + b" " * BODY_SIZE_BYTES_MAX + b"}", JSON, 400, "body: "),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_drain_request_changes_nothing(name: str) -> None:
    worker_id, body, headers, status, text = BAD[name]
    async with open_shell() as shell, client_of(shell) as client:
        await shell.worker(name="w1")
        refused = await client.post(f"/api/workers/{worker_id}/drain", content=body, headers=headers)
        assert refused.status_code == status
        assert refused.json()["error"].startswith(text)
        assert shell.core.roster.workers["w1"].state is WorkerState.HEALTHY


async def test_connections_are_listed_and_kicked() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        for client_id in ("a", "b", "a"):
            requester = await shell.requester()
            requester.send({"type": "hello", "client_id": client_id, "device": {"host": client_id}})
            await requester.receive()
        page = (await client.get("/api/connections", params={"limit": 2})).json()
        assert [(row["client_id"], row["device"]) for row in page["connections"]] == [
            ("a", {"host": "a"}),
            ("b", {"host": "b"}),
        ]
        ids = [row["connection_id"] for row in page["connections"]]
        assert (page["connections_count"], page["next"]) == (3, ids[1])
        of_one = (await client.get("/api/connections", params={"client_id": "a", "port": "requester"})).json()
        assert [row["client_id"] for row in of_one["connections"]] == ["a", "a"]
        kicked = await client.post(
            f"/api/connections/{ids[1]}/kick", content=b'{"reason": "too old"}', headers=JSON
        )
        assert (kicked.status_code, kicked.json()["client_id"]) == (200, "b")
        again = await client.post(f"/api/connections/{ids[1]}/kick", content=b"{}", headers=JSON)
        assert (again.status_code, again.json()) == (404, {"error": f"no connection {ids[1]!r} is open"})
        assert (
            'taskferry_connections_kicked_total{port="requester"} 1\n' in (await client.get("/metrics")).text
        )


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b"{}", {}, 415, "content-type: application/json is"),
        (b"[]", JSON, 400, "body: "),
        (b'{"reason": "%s"}' % (b"x" * (WHY_LENGTH_MAX + 1)), JSON, 400, "body: reason: "),
        (b'{"reason": "a\\nb"}', JSON, 400, "body: reason: "),
    ],
)
async def test_a_bad_kick_changes_nothing(
    body: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    async with open_shell() as shell, client_of(shell) as client:
        await shell.requester()
        (entrant,) = shell.entrance.connections
        path = f"/api/connections/{entrant.connection_id}/kick"
        refused = await client.post(path, content=body, headers=headers)
        assert refused.status_code == status
        assert refused.json()["error"].startswith(text)
        assert not entrant.is_over
        longest = b'{"reason": "%s"}' % (b"x" * WHY_LENGTH_MAX)
        assert (await client.post(path, content=longest, headers=JSON)).status_code == 200


async def test_metrics_are_those_of_the_read_model() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        await shell.worker()
        text = (await client.get("/metrics")).text
        assert 'taskferry_connections{port="worker"} 1\n' in text


async def test_a_port_that_is_taken_is_named() -> None:
    async with open_shell() as shell:
        server = HttpServer(shell.read_model, Operations(shell.core, shell.entrance), shell.entrance)
        number = shell.workers.number
        with pytest.raises(PortTaken, match=f"^http port 127.0.0.1:{number}: already in use by another"):
            await server.start("127.0.0.1", number)
