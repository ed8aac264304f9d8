"""The HTTP views answer from the read model, and draining a worker goes through the operations."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from taskferry.broker.core.fleet.worker import WorkerState
from taskferry.broker.http.server import BODY_SIZE_BYTES_MAX, HttpServer, make_app
from taskferry.broker.operations import Operations
from taskferry.broker.port import PortTaken

from tests.unit.broker.shell import Shell, open_shell

JSON = {"content-type": "application/json"}


@asynccontextmanager
async def client_of(shell: Shell) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(shell.read_model, Operations(shell.core), shell.entrance)
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
        assert (await client.get("/api/requests")).json() == {"requests": [], "queued_count": 0}
        unknown = await client.get("/api/requests/r1/x")
        assert (unknown.status_code, list(unknown.json())) == (404, ["error"])
        assert "'r1/x'" in unknown.json()["error"]


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


async def test_metrics_are_those_of_the_read_model() -> None:
    async with open_shell() as shell, client_of(shell) as client:
        await shell.worker()
        text = (await client.get("/metrics")).text
        assert 'taskferry_connections{port="worker"} 1\n' in text


async def test_a_port_that_is_taken_is_named() -> None:
    async with open_shell() as shell:
        server = HttpServer(shell.read_model, Operations(shell.core), shell.entrance)
        number = shell.workers.number
        with pytest.raises(PortTaken, match=f"^http port 127.0.0.1:{number}: already in use by another"):
            await server.start("127.0.0.1", number)
