"""Workers that die, hang or fall silent: detected in time, and every request of theirs settled by the rules."""

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.integration.peers import Peer, connected, eventually
from tests.processes import Broker, Program, Programs

PLAIN_WORKER = str(Path(__file__).with_name("plain_worker.py"))
FOUND_S_MAX = 10.0


def start_worker(programs: Programs, broker: Broker, name: str, concurrency: int = 10) -> Program:
    worker = programs.start(PLAIN_WORKER, broker.worker_url, name, str(concurrency))
    worker.wait_for_stdout("joined")
    return worker


async def send_numbered(requester: Peer, count: int, command: str, data: Any, **fields: Any) -> None:
    for number in range(count):
        await requester.send({"request_id": f"r{number}", "command": command, "data": data, **fields})


async def test_a_frozen_worker_is_detected_in_time_and_its_requests_are_settled(
    programs: Programs, broker: Broker
) -> None:
    frozen = start_worker(programs, broker, "frozen")
    async with connected(broker.requester_url) as requester, connected(broker.requester_url) as idempotent:
        await send_numbered(requester, 3, "sleep", {"seconds": 30})
        await send_numbered(idempotent, 3, "sleep", {"seconds": 1.5}, idempotent=True)
        await eventually(lambda: frozen.stdout.count("ran ") == 6, "requests run at the worker")
        frozen.freeze()
        other = await asyncio.to_thread(start_worker, programs, broker, "other")
        frozen_at = time.monotonic()
        responses = [await requester.receive() for _ in range(3)]
        assert time.monotonic() - frozen_at < FOUND_S_MAX
        assert {response["code"] for response in responses} == {"worker_lost"}
        assert {response["processed_by"] for response in responses} == {"frozen"}
        again = [await idempotent.receive() for _ in range(3)]
        assert all(response["success"] for response in again)
        assert {response["request_id"] for response in again} == {"r0", "r1", "r2"}
        assert {response["processed_by"] for response in again} == {"other"}
        assert other.stdout.count("ran ") == 3
        assert list(broker.workers()) == ["other"]
        await eventually(lambda: "worker frozen left: silent for 8 s" in broker.stderr, "its end is logged")
        # It wakes up and finds its link closed; what it sends now is ignored.
        frozen.thaw()
        assert (await idempotent.call("echo", {"message": "still here"}))["data"] == "Echo: still here"
        assert broker.status()["in_flight_count"] == 0


async def test_requests_of_a_killed_worker_fail_at_once_and_idempotent_ones_run_elsewhere(
    programs: Programs, broker: Broker
) -> None:
    killed, other = start_worker(programs, broker, "killed"), start_worker(programs, broker, "other")
    async with connected(broker.requester_url) as requester, connected(broker.requester_url) as idempotent:
        await send_numbered(requester, 6, "sleep", {"seconds": 1})
        await send_numbered(idempotent, 6, "sleep", {"seconds": 1}, idempotent=True)
        await eventually(lambda: (killed.stdout + other.stdout).count("ran ") == 12, "all requests run")
        killed_at = time.monotonic()
        killed.kill()
        responses = [await requester.receive() for _ in range(6)]
        lost = [response for response in responses if not response["success"]]
        assert len(lost) == 3
        assert {response["code"] for response in lost} == {"worker_lost"}
        assert {response["error"] for response in lost} == {"Worker lost: the command may have run"}
        assert responses[: len(lost)] == lost, "at once, long before the others are done"
        again = [await idempotent.receive() for _ in range(6)]
        assert {response["processed_by"] for response in again} == {"other"}
        assert time.monotonic() - killed_at < 5
        assert other.stdout.count("ran ") == 6 + 3
        metrics = broker.get("/metrics")[1]
        assert "taskferry_retries_total 3" in metrics
        assert broker.status()["outcomes"] == {"success": 9, "worker_lost": 3}


async def test_requests_that_wait_for_the_only_worker_fail_at_once_when_it_dies(
    programs: Programs, broker: Broker
) -> None:
    worker = start_worker(programs, broker, "only", concurrency=1)
    async with connected(broker.requester_url) as requester:
        await send_numbered(requester, 3, "hang", {})
        await eventually(lambda: "ran r0" in worker.stdout, "the first request runs")
        worker.kill()
        responses = {
            response["request_id"]: response for response in [await requester.receive() for _ in range(3)]
        }
        assert responses["r0"]["code"] == "worker_lost"
        assert responses["r1"]["code"] == responses["r2"]["code"] == "no_available_workers"


async def test_requests_not_yet_written_to_a_worker_that_reads_nothing_run_elsewhere(
    programs: Programs, broker: Broker
) -> None:
    stuck = start_worker(programs, broker, "stuck", concurrency=100)
    stuck.freeze()
    big = "x" * 1_000_000
    async with connected(broker.requester_url) as requester:
        # More than socket buffers hold: the last ones certainly never leave the broker.
        await send_numbered(requester, 20, "echo", {"message": big}, timeout=30)
        await eventually(lambda: broker.workers()["stuck"]["in_flight"] == 20, "all are assigned")
        other = await asyncio.to_thread(start_worker, programs, broker, "other", 100)
        stuck.kill()
        responses = [await requester.receive() for _ in range(20)]
        served = [response["request_id"] for response in responses if response["success"]]
        lost = [response for response in responses if not response["success"]]
        assert {response["code"] for response in lost} <= {"worker_lost"}
        assert "r19" in served
        assert other.stdout.count("ran ") == len(served) > 0
        assert len(served) + len(lost) == 20


async def test_requests_of_a_requester_that_disconnects_are_cancelled(shared_broker: Broker) -> None:
    async with connected(shared_broker.worker_url) as worker:
        await worker.join("abandoned", "abandoned-command")
        async with connected(shared_broker.requester_url) as requester:
            await send_numbered(requester, 2, "abandoned-command", {})
            assignment = await worker.receive_assignment()
            requester.connection.transport.abort()
        cancel = await worker.receive()
        assert (cancel["type"], cancel["msg_id"]) == ("cancel", assignment["msg_id"])
        assert cancel["data"] == {"reason": "requester_gone"}
        await worker.respond_with(assignment, {"success": False, "error": "cancelled", "code": "cancelled"})
        await eventually(
            lambda: shared_broker.workers()["abandoned"]["in_flight"] == 0,
            "the slot is free and nothing follows",
        )
