"""A broker that is killed under load, and started again on the same ports."""

import asyncio
import time
from collections import Counter

import pytest

from tests.faults.caller import calling, ended
from tests.faults.ledger import assert_broker_balances
from tests.faults.requesting import assert_calls_balance, is_idempotent, read_calls
from tests.faults.starting import lasting_ports, start_requester, start_worker
from tests.processes import Program, Programs, wait_until

IN_FLIGHT_COUNT = 100
TIMEOUT_S = 10.0
RETURN_S_MAX = 5.0
LATE_S_MAX = 1.0
"""How late after its timeout a call may end: the SDK says half a second, and the machine may be busy."""


def successes_count(requester: Program) -> int:
    return sum(call.code == "success" for call in read_calls(requester).values())


def test_kill_of_the_broker_under_load_ends_each_call_and_it_routes_again_within_5_s(
    programs: Programs,
) -> None:
    ports = lasting_ports()
    broker = programs.start_broker(*ports)
    workers = [start_worker(programs, broker.worker_url, name, "--concurrency", "100") for name in "ab"]
    wait_until(lambda: len(broker.workers()) == len(workers), "both workers are connected")
    requester = start_requester(
        programs,
        broker.requester_url,
        "nap",
        {"seconds": 0.2},
        in_flight_count=IN_FLIGHT_COUNT,
        timeout_s=TIMEOUT_S,
    )
    wait_until(lambda: successes_count(requester) > 2 * IN_FLIGHT_COUNT, "the requester is under way")
    broker.kill()
    broker.wait()
    again = programs.start_broker(*ports, "--start-wait", "5")
    ready_at = time.monotonic()
    count = successes_count(requester)
    wait_until(lambda: successes_count(requester) > count, "it routes again")
    assert time.monotonic() - ready_at < RETURN_S_MAX
    wait_until(lambda: len(again.workers()) == len(workers), "all workers are back")
    count = successes_count(requester)
    wait_until(lambda: successes_count(requester) > count + 2 * IN_FLIGHT_COUNT, "all goes on")
    requester.terminate()
    requester.wait()
    calls = assert_calls_balance(requester, workers)
    assert max(call.duration_s for call in calls.values()) < TIMEOUT_S + LATE_S_MAX
    outcomes = Counter((call.code, call.delivery) for call in calls.values())
    # What was in flight may have run. What came while there was no broker, or no worker at the new one, has waited.
    assert set(outcomes) <= {("success", "-"), ("connection_lost", "may_have_run")}
    # The SDK has sent those again that are idempotent, and no others.
    lost = [request_id for request_id, call in calls.items() if call.code == "connection_lost"]
    assert 0 < len(lost) <= IN_FLIGHT_COUNT
    assert not any(map(is_idempotent, lost))
    assert_broker_balances(again)
    assert "Traceback" not in requester.stderr
    assert not any("Traceback" in worker.stderr for worker in workers)


async def test_after_a_start_a_request_waits_for_the_workers_to_come_back(programs: Programs) -> None:
    broker = programs.start_broker("--start-wait", "30")
    async with calling(broker.requester_url) as caller:
        future = await caller.send("echo", {"message": "x"}, timeout=10)
        worker = start_worker(programs, broker.worker_url, "late")
        (response,) = await ended([future])
        assert response["success"], response
    caller.ledger.assert_balances([worker])


async def test_it_waits_no_longer_than_the_setting_says(programs: Programs) -> None:
    broker = programs.start_broker("--start-wait", "0.5")
    async with calling(broker.requester_url) as caller:
        (response,) = await ended([await caller.send("echo", timeout=10)])
        assert (response["code"], response["delivery"]) == ("no_available_workers", "not_delivered")
    caller.ledger.assert_balances([])


def _wait_for_successes(requester: Program) -> None:
    count = successes_count(requester)
    wait_until(lambda: successes_count(requester) > count + IN_FLIGHT_COUNT, "a hundred more calls succeed")


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_restarts_of_the_broker_under_load_cost_no_idempotent_call(programs: Programs, end: str) -> None:
    ports = (*lasting_ports(), "--start-wait", "10", "--grace", "0.1")
    broker = programs.start_broker(*ports)
    workers = [start_worker(programs, broker.worker_url, name, "--concurrency", "50") for name in "ab"]
    requester = start_requester(
        programs,
        broker.requester_url,
        "nap",
        {"seconds": 0.2},
        in_flight_count=IN_FLIGHT_COUNT,
        timeout_s=15.0,
    )
    _wait_for_successes(requester)
    for _ in range(2):
        broker.terminate() if end == "terminate" else broker.kill()
        broker.wait()
        broker = programs.start_broker(*ports)
        _wait_for_successes(requester)
    requester.terminate()
    requester.wait()
    calls = assert_calls_balance(requester, workers)
    failed = {request_id: call for request_id, call in calls.items() if call.code != "success"}
    assert not [request_id for request_id in failed if is_idempotent(request_id)], failed
    # Of the others, what had begun to run may have run: nothing else is known of it.
    assert {call.delivery for call in failed.values()} <= {"may_have_run"}
    assert {call.code for call in failed.values()} <= {"broker_stopped", "connection_lost"}
    assert len(failed) <= 2 * IN_FLIGHT_COUNT
    assert_broker_balances(broker)


async def test_a_termination_of_the_broker_under_load_ends_each_request_within_its_grace(
    programs: Programs,
) -> None:
    broker = programs.start_broker("--grace", "1")
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "50")
    await asyncio.to_thread(wait_until, lambda: len(broker.workers()) == 1, "the worker is connected")
    async with calling(broker.requester_url) as caller:
        naps = [await caller.send("nap", {"seconds": 0.3}) for _ in range(25)]
        hangs = [await caller.send("hang") for _ in range(25)]
        waiting = [await caller.send("echo") for _ in range(25)]
        await asyncio.to_thread(wait_until, lambda: broker.status()["queued_count"] == 25, "all are there")
        broker.terminate()
        assert {response["success"] for response in await ended(naps)} == {True}
        # Slots become free within the grace: what waits for one still runs.
        assert {response["success"] for response in await ended(waiting)} == {True}
        responses = await ended(hangs)
        assert {(r["code"], r["delivery"]) for r in responses} == {("broker_stopped", "may_have_run")}
    assert await asyncio.to_thread(broker.wait) == 0
    caller.ledger.assert_balances([worker])
