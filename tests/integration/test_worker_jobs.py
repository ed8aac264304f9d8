"""A worker's jobs with a real broker: they outlive the broker that assigned them, and a worker that stops gives them
back."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers import Peer, connected, eventually
from tests.integration.test_worker_lifecycle import lasting_port
from tests.processes import PATIENCE_S, Broker, Program, Programs

TASKS = """
import asyncio
from pathlib import Path
from taskferry.worker import Context, Worker

worker = Worker(concurrency=4)

@worker.command()
async def hold(name: str, context: Context) -> str:
    note(f"{name} began, attempt {context.attempt}")
    context.progress(0.5, f"holding {name}")
    while not Path(f"{name}.go").exists():
        await asyncio.sleep(0.005)
    note(f"{name} ended")
    return f"held {name}"

def note(line: str) -> None:
    with open("notes", "a") as notes:
        notes.write(line + "\\n")
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "tasks.py").write_text(TASKS)
    (folder / "notes").touch()
    return folder


def start_worker(programs: Programs, folder: Path, url: str, *options: str) -> Program:
    source = "import os, sys; os.chdir(sys.argv.pop(1)); from taskferry.worker.cli import worker; worker()"
    return programs.start("-c", source, str(folder), "tasks:worker", "--broker", url, *options)


async def ask(peer: Peer, kind: str, **fields: Any) -> Any:
    await peer.send({"type": kind, "request_id": "asked", **fields})
    return await peer.receive()


async def submit(peer: Peer, name: str) -> None:
    receipt = await ask(peer, "submit", command="hold", job_id=name, data={"name": name})
    assert receipt["type"] == "receipt", receipt


def notes_of(folder: Path) -> list[str]:
    return (folder / "notes").read_text().splitlines()


async def test_jobs_outlive_the_broker_that_assigned_them(
    programs: Programs, tasks: Path, tmp_path: Path
) -> None:
    """One ends while there is no broker, one after the next broker has adopted it; each runs once."""
    ports = ("--worker-port", lasting_port(), "--requester-port", lasting_port())
    options = (*ports, "--journal", str(tmp_path / "kept.db"))
    broker = programs.start_broker(*options)
    start_worker(programs, tasks, broker.worker_url)
    async with connected(broker.requester_url) as peer:
        for name in ("early", "late"):
            await submit(peer, name)
    await eventually(lambda: len(notes_of(tasks)) == 2, "both run")
    broker.kill()
    broker.wait()
    (tasks / "early.go").touch()
    await eventually(lambda: "early ended" in notes_of(tasks), "a handler goes on without a broker")
    broker = await asyncio.to_thread(programs.start_broker, *options)
    async with connected(broker.requester_url) as peer:
        response = await ask(peer, "await", job_id="early")
        assert (response["success"], response["data"]) == (True, "held early")
        await eventually(broker.workers, "the worker is back")
        (tasks / "late.go").touch()
        response = await ask(peer, "await", job_id="late")
        assert (response["success"], response["data"]) == (True, "held late")
        for name in ("early", "late"):
            job = (await ask(peer, "job", job_id=name))["job"]
            assert (job["state"], job["attempt"], job.get("losses", 0)) == ("done", 1, 0)
    assert sorted(notes_of(tasks)) == [
        "early began, attempt 1",
        "early ended",
        "late began, attempt 1",
        "late ended",
    ]


async def test_a_worker_that_stops_gives_its_jobs_back(
    programs: Programs, broker: Broker, tasks: Path
) -> None:
    worker = start_worker(programs, tasks, broker.worker_url, "--grace", "0.1", "--name", "first")
    async with connected(broker.requester_url) as peer:
        await submit(peer, "one")
        await eventually(lambda: notes_of(tasks), "it runs")
        async with asyncio.timeout(PATIENCE_S):
            while "progress" not in (job := (await ask(peer, "job", job_id="one"))["job"]):
                await asyncio.sleep(0.01)
        assert job["progress"] == {"progress": 0.5, "text": "holding one"}
        worker.terminate()
        assert await asyncio.to_thread(worker.wait) == 0
        assert "1 attempts of jobs did not finish within 0.1 s; giving them back" in worker.stderr
        assert "stopped with" not in worker.stderr
        job = (await ask(peer, "job", job_id="one"))["job"]
        assert (job["state"], job.get("losses", 0), job.get("failed", [])) == ("accepted", 0, [])
        start_worker(programs, tasks, broker.worker_url, "--name", "second")
        (tasks / "one.go").touch()
        response = await ask(peer, "await", job_id="one")
        assert (response["success"], response["data"]) == (True, "held one")
        job = (await ask(peer, "job", job_id="one"))["job"]
        assert (job["state"], job["worker_id"]) == ("done", "second")


async def test_a_worker_that_stops_while_the_broker_is_away_waits_for_it_within_its_grace(
    programs: Programs, tasks: Path, tmp_path: Path
) -> None:
    """One has ended, one ends meanwhile; both are settled by the next broker, which gives the worker nothing new."""
    ports = ("--worker-port", lasting_port(), "--requester-port", lasting_port())
    options = (*ports, "--journal", str(tmp_path / "kept.db"))
    broker = programs.start_broker(*options)
    worker = start_worker(programs, tasks, broker.worker_url, "--grace", "30")
    names = ("ended", "runs")
    async with connected(broker.requester_url) as peer:
        for name in names:
            await submit(peer, name)
        await eventually(lambda: len(notes_of(tasks)) == 2, "both run")
    broker.kill()
    broker.wait()
    (tasks / "ended.go").touch()
    await eventually(lambda: "ended ended" in notes_of(tasks), "a handler goes on without a broker")
    worker.terminate()
    await eventually(lambda: "finishing what runs" in worker.stderr, "it drains")
    (tasks / "runs.go").touch()
    await eventually(lambda: "runs ended" in notes_of(tasks), "a handler goes on while its worker drains")
    broker = await asyncio.to_thread(programs.start_broker, *options)
    async with connected(broker.requester_url) as peer:
        await submit(peer, "next")
        assert await asyncio.to_thread(worker.wait) == 0
        for name in names:
            response = await ask(peer, "await", job_id=name)
            assert (response["success"], response["data"]) == (True, f"held {name}")
            job = (await ask(peer, "job", job_id=name))["job"]
            assert (job["state"], job["attempt"], job.get("losses", 0)) == ("done", 1, 0)
        assert (await ask(peer, "job", job_id="next"))["job"]["state"] == "accepted"
    assert "stopped with" not in worker.stderr
    assert "next began, attempt 1" not in notes_of(tasks)


async def test_a_worker_says_what_no_broker_has_taken_within_its_grace(
    programs: Programs, tasks: Path, broker: Broker
) -> None:
    worker = start_worker(programs, tasks, broker.worker_url, "--grace", "1")
    async with connected(broker.requester_url) as peer:
        for name in ("ended", "runs"):
            await submit(peer, name)
        await eventually(lambda: len(notes_of(tasks)) == 2, "both run")
    broker.kill()
    broker.wait()
    (tasks / "ended.go").touch()
    await eventually(lambda: "ended ended" in notes_of(tasks), "a handler goes on without a broker")
    stopped_at = time.monotonic()
    worker.terminate()
    assert await asyncio.to_thread(worker.wait) == 0
    assert 1 <= time.monotonic() - stopped_at < 10
    text = "stopped with 1 attempts of jobs unfinished, and 1 results of jobs that no broker has settled"
    assert worker.stderr.count(text) == 1
