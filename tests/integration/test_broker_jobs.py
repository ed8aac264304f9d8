"""Jobs of a broker process: what survives its end, in order or not, and which broker has the journal."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers import Peer, connected
from tests.processes import Broker, Programs


class Desk:
    """Asks for jobs on one connection of a requester."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def ask(self, type_: str, **fields: Any) -> Any:
        await self._peer.send({"type": type_, "request_id": type_, **fields})
        return await self._peer.receive()

    async def submit(self, command: str, **fields: Any) -> str:
        receipt = await self.ask("submit", command=command, **fields)
        assert receipt["type"] == "receipt", receipt
        return str(receipt["job_id"])

    async def states(self) -> dict[str, str]:
        jobs = (await self.ask("list", count=1000))["jobs"]
        return {job["job_id"]: job["state"] for job in jobs}


def same_ports(broker: Broker) -> tuple[str, ...]:
    """The options of a broker that takes the place of this one."""
    worker, requester = broker.worker_url, broker.requester_url
    return ("--worker-port", worker.rpartition(":")[2], "--requester-port", requester.rpartition(":")[2])


@pytest.mark.parametrize("is_killed", [True, False])
async def test_a_restart_loses_no_job_and_repeats_none(
    programs: Programs, tmp_path: Path, *, is_killed: bool
) -> None:
    journal = ("--journal", str(tmp_path / "jobs.db"), "--grace", "0")
    first = programs.start_broker(*journal)
    async with connected(first.worker_url) as worker, connected(first.requester_url) as peer:
        await worker.join("w", "work", concurrency=2, instance="one")
        desk = Desk(peer)
        done, runs, lost = [await desk.submit("work") for _ in range(3)]
        assignments = {}
        for _ in range(2):
            assignment = await worker.receive_assignment()
            assignments[assignment["data"]["request_id"]] = assignment
        await worker.respond(assignments[done], "done once")
        while len(assignments) < 3:
            message = await worker.receive()
            if message["type"] == "request":
                assignments[message["data"]["request_id"]] = message
        waits = await desk.submit("work")
        delayed = await desk.submit("work", delay=3600)
        unserved = await desk.submit("nobody")
        (first.kill if is_killed else first.terminate)()
        await asyncio.to_thread(first.wait)
    second = programs.start_broker(*journal, *same_ports(first))
    async with connected(second.worker_url) as worker, connected(second.requester_url) as peer:
        claim = {"msg_id": assignments[runs]["msg_id"], "job_id": runs, "attempt": 1}
        await worker.join("w", "work", concurrency=2, instance="one", running=[claim])
        await worker.respond(assignments[runs], "done by its first attempt")
        began: dict[str, Any] = {}
        while len(began) < 2:
            message = await worker.receive()
            if message["type"] == "request":
                began[message["data"]["request_id"]] = message
                await worker.respond(message, "done by another attempt")
        assert set(began) == {lost, waits}
        assert began[lost]["msg_id"] != assignments[lost]["msg_id"]
        desk = Desk(peer)
        for job_id, result in ((done, "done once"), (runs, "done by its first attempt")):
            assert (await desk.ask("await", job_id=job_id, timeout=5))["data"] == result
        for job_id in (lost, waits):
            assert (await desk.ask("await", job_id=job_id, timeout=5))["success"]
        states = await desk.states()
        assert (states[delayed], states[unserved]) == ("accepted", "accepted")
        assert len(states) == 6


def test_a_broker_that_was_given_a_journal_does_not_start_without_it(
    programs: Programs, tmp_path: Path
) -> None:
    path = tmp_path / "jobs.db"
    programs.start_broker("--journal", str(path))
    ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")
    other = programs.start("-m", "taskferry.broker", *ports, "--journal", str(path))
    assert other.wait() == 2
    (line,) = other.stderr.splitlines()
    assert str(path) in line
    assert "another" in line


def test_a_second_broker_of_the_same_user_serves_without_jobs(programs: Programs, tmp_path: Path) -> None:
    environment = {"STATE_DIRECTORY": str(tmp_path)}
    ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")
    first = programs.start("-m", "taskferry.broker", *ports, environment=environment)
    first.wait_for_stdout("ready")
    second = programs.start("-m", "taskferry.broker", *ports, environment=environment)
    second.wait_for_stdout("ready")
    assert "without jobs" not in first.stderr
    (line,) = (line for line in second.stderr.splitlines() if "without jobs" in line)
    assert str(tmp_path / "journal.db") in line
