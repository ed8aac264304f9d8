"""Jobs with a key, and handlers that go on after their attempt is over."""

import asyncio

import pytest

from tests.faults.job_client import job_client
from tests.faults.ledger import count_runs
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Broker, Programs, wait_until


@pytest.mark.parametrize("ending", ["cancelled", "out of time"])
async def test_a_handler_that_cannot_be_stopped_keeps_its_place(
    programs: Programs, broker: Broker, ending: str
) -> None:
    first = start_worker(programs, broker.worker_url, "first")
    second = start_worker(programs, broker.worker_url, "second")
    await asyncio.to_thread(wait_for_workers, broker, "first", "second")
    async with job_client(broker.requester_url) as client:
        timeout = 0.5 if ending == "out of time" else 60
        job_id = await client.submit(
            "stubborn", {"seconds": 2}, key="k", target="first", timeout=timeout, attempts=1
        )
        await asyncio.to_thread(wait_until, lambda: bool(count_runs([first])), "it runs")
        next_id = await client.submit("echo", key="k", target="second")
        if ending == "cancelled":
            assert (await client.ask("cancel", job_id=job_id))["count"] == 1
        assert not (await client.result(job_id))["success"], "for whoever waits it is over"
        assert f"ended {job_id}" not in first.stdout
        assert (await client.view(next_id))["state"] == "held"
        _, explanation = await asyncio.to_thread(broker.get, f"/api/explain/{next_id}")
        await asyncio.to_thread(wait_until, lambda: bool(count_runs([second])), "the next one runs")
        assert f"ended {job_id}" in first.stdout
        assert (await client.result(next_id))["success"]
    assert f"{job_id} (stopping) has it" in explanation
