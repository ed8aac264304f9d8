"""A worker's life with a real broker: it reconnects, leaves gracefully, is lost, is replaced, is refused."""

import asyncio
import contextlib
import json
import random
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from taskferry.worker import Context, Worker
from websockets.sync.client import ClientConnection, connect

from tests.processes import Broker, Program, Programs, wait_until

TASKS = """
import asyncio, os, time
from taskferry.worker import Context, Worker

worker = Worker(concurrency=2)

@worker.command()
async def pid() -> int:
    return os.getpid()

@worker.command()
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds

@worker.command()
def spin(context: Context) -> None:
    while True:
        context.raise_if_cancelled()
        time.sleep(0.005)
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def start_worker(programs: Programs, folder: Path, broker: Broker, *options: str) -> Program:
    """A worker of the module above, in `folder`."""
    source = "import os, sys; os.chdir(sys.argv.pop(1)); from taskferry.worker.cli import worker; worker()"
    return programs.start("-c", source, str(folder), "tasks:worker", "--broker", broker.worker_url, *options)


def lasting_port() -> str:
    """A free port that no other test gets while the broker is down: not one of the ephemeral ports."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)


def wait_for_workers(broker: Broker, *names: str) -> None:
    wait_until(lambda: set(broker.workers()) == set(names), f"exactly {names} are connected")


def send(
    link: ClientConnection, request_id: str, command: str, data: object = None, **fields: object
) -> None:
    request = {"request_id": request_id, "command": command, "data": {} if data is None else data, **fields}
    link.send(json.dumps(request))


def receive(link: ClientConnection) -> dict[str, Any]:
    response: dict[str, Any] = json.loads(link.recv(timeout=20))
    return response


def test_after_a_restart_of_the_broker_it_serves_again_within_5_s(programs: Programs, tasks: Path) -> None:
    ports = ("--worker-port", lasting_port(), "--requester-port", lasting_port())
    broker = programs.start_broker("--grace", "0", *ports)
    worker = start_worker(programs, tasks, broker, "--name", "w")
    wait_for_workers(broker, "w")
    broker.kill()
    broker.wait()
    worker.wait_for_stderr("retrying")
    again = programs.start_broker(*ports)
    began_at = time.monotonic()
    wait_for_workers(again, "w")
    with connect(again.requester_url) as link:
        send(link, "r", "pid")
        assert receive(link)["success"]
    assert time.monotonic() - began_at < 5
    worker.interrupt()
    assert worker.wait() == 0
    assert worker.stderr.count("connected to") == 2


def test_sigterm_finishes_running_assignments_and_accepts_no_new_ones(
    programs: Programs, tasks: Path, broker: Broker
) -> None:
    worker = start_worker(programs, tasks, broker, "--name", "w")
    wait_for_workers(broker, "w")
    with connect(broker.requester_url) as link:
        send(link, "running", "nap", {"seconds": 0.5})
        wait_until(lambda: broker.workers()["w"]["in_flight"] == 1, "the nap has started")
        worker.terminate()
        worker.wait_for_stderr("SIGTERM: finishing what runs")
        response = receive(link)
        assert (response["request_id"], response["success"]) == ("running", True)
    assert worker.wait() == 0
    wait_for_workers(broker)
    assert "Traceback" not in worker.stderr


def test_a_killed_workers_request_is_lost_and_another_worker_continues(
    programs: Programs, tasks: Path, broker: Broker
) -> None:
    first = start_worker(programs, tasks, broker, "--name", "first")
    wait_for_workers(broker, "first")
    with connect(broker.requester_url) as link:
        send(link, "lost", "nap", {"seconds": 30})
        wait_until(lambda: broker.workers()["first"]["in_flight"] == 1, "the nap has started")
        start_worker(programs, tasks, broker, "--name", "second")
        wait_for_workers(broker, "first", "second")
        first.kill()
        lost = receive(link)
        assert (lost["code"], lost["processed_by"]) == ("worker_lost", "first")
        send(link, "next", "pid")
        assert receive(link)["processed_by"] == "second"


def test_past_the_deadline_a_thread_is_cancelled_and_its_slot_is_free_again(
    programs: Programs, tasks: Path, broker: Broker
) -> None:
    start_worker(programs, tasks, broker, "--name", "w")
    wait_for_workers(broker, "w")
    with connect(broker.requester_url) as link:
        for round_number in range(2):  # as many as there are slots
            send(link, f"late-{round_number}", "spin", timeout=0.2)
        for _ in range(2):
            late = receive(link)
            assert (late["code"], late["error"]) == ("timeout", "Worker response timeout")
        wait_until(lambda: broker.workers()["w"]["in_flight"] == 0, "the slots are free")
        send(link, "next", "pid")
        assert receive(link)["success"]


def test_a_name_in_use_is_reported_and_used_once_it_is_free(
    programs: Programs, tasks: Path, broker: Broker
) -> None:
    first = start_worker(programs, tasks, broker, "--name", "same")
    wait_for_workers(broker, "same")
    second = start_worker(programs, tasks, broker, "--name", "same")
    second.wait_for_stderr("another worker is connected to .* under the name same; retrying")
    with connect(broker.requester_url) as link:
        send(link, "r1", "pid")
        assert receive(link)["data"] == first.pid
        first.terminate()
        assert first.wait() == 0
        second.wait_for_stderr("connected to .* as same")
        send(link, "r2", "pid")
        assert receive(link)["data"] == second.pid
    assert second.stderr.count("another worker is connected") == 1


def test_processes_are_separate_workers(programs: Programs, tasks: Path, broker: Broker) -> None:
    supervisor = start_worker(programs, tasks, broker, "--name", "ferry", "--processes", "2")
    wait_for_workers(broker, "ferry-1", "ferry-2")
    with connect(broker.requester_url) as link:
        pids = set()
        for number in range(20):
            send(link, f"r{number}", "pid")
            pids.add(receive(link)["data"])
        assert len(pids) == 2
        psutil.Process(min(pids)).kill()
        supervisor.wait_for_stderr(r"was killed \(SIGKILL; out of memory\?\); starting another")
        wait_for_workers(broker, "ferry-1", "ferry-2")
    supervisor.terminate()
    assert supervisor.wait() == 0
    wait_for_workers(broker)


def test_the_requester_port_is_recognised(programs: Programs, broker: Broker) -> None:
    worker = programs.start("-m", "taskferry.worker", "--broker", broker.requester_url, is_warm=False)
    worker.wait_for_stderr("that is the port of requesters; workers connect to another one, by default 8765")
    worker.interrupt()
    assert worker.wait() == 0
    assert "Traceback" not in worker.stderr


async def test_serve_in_the_callers_own_loop(broker: Broker) -> None:
    worker = Worker(name="embedded")
    contexts: list[Context] = []

    @worker.command()
    async def mine(context: Context) -> str:
        contexts.append(context)
        return context.worker_id

    serving = asyncio.create_task(worker.serve(broker.worker_url))
    await asyncio.to_thread(wait_for_workers, broker, "embedded")

    def ask() -> dict[str, Any]:
        with connect(broker.requester_url) as link:
            send(link, "its-id", "mine")
            return receive(link)

    response = await asyncio.to_thread(ask)
    assert response["data"] == "embedded"
    assert contexts[0].request_id == "its-id"
    worker.drain()
    await serving
    await asyncio.to_thread(wait_for_workers, broker)
