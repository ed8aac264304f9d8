"""A broker that is stopped (SIGSTOP) while workers run jobs, for longer than they put up with its silence."""

import asyncio
from typing import Any, Final

import pytest

from tests.faults.job_client import JobClient, job_client
from tests.faults.ledger import count_runs
from tests.faults.proxies import proxied
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Broker, Programs, wait_until

FROZEN_S: Final = 10.0
AWAY_S: Final = 4.0
"""How long a worker has to come back."""


async def results(broker: Broker, job_ids: list[str]) -> list[Any]:
    async with job_client(broker.requester_url) as client:
        return [await client.result(job_id, timeout_s=40) for job_id in job_ids]


async def views(client: JobClient) -> set[tuple[str, int, int]]:
    """State, attempt and losses of all jobs."""
    found = (await client.views()).values()
    return {(view["state"], view["attempt"], view.get("losses", 0)) for view in found}


@pytest.mark.timeout(90)
async def test_jobs_that_run_or_end_while_the_broker_is_frozen_are_not_lost(
    programs: Programs, broker: Broker
) -> None:
    workers = [start_worker(programs, broker.worker_url, name, "--concurrency", "40") for name in ("a", "b")]
    await asyncio.to_thread(wait_for_workers, broker, "a", "b")
    async with job_client(broker.requester_url) as client:
        job_ids = [
            *await client.submit_all("nap", 20, {"seconds": FROZEN_S + 4}),
            *await client.submit_all("nap", 20, {"seconds": FROZEN_S / 3}),
            *await client.submit_all("nap", 5, {"seconds": FROZEN_S / 3}, at_most_once=True),
            *await client.submit_all("nap", 5, {"seconds": FROZEN_S + 4}, key="k", key_limit=5),
        ]
        await asyncio.to_thread(wait_until, lambda: len(count_runs(workers)) == len(job_ids), "all run")
    broker.freeze()
    for worker in workers:
        await asyncio.to_thread(worker.wait_for_stderr, "retrying|lost")
    await asyncio.sleep(2)
    broker.thaw()
    assert all(response["success"] for response in await results(broker, job_ids))
    async with job_client(broker.requester_url) as client:
        assert await views(client) == {("done", 1, 0)}
    assert count_runs(workers) == dict.fromkeys(job_ids, 1)
    assert "the broker itself stood still for" in broker.stderr


@pytest.mark.timeout(90)
async def test_a_worker_whose_connection_was_lost_before_has_its_time_after_the_freeze(
    programs: Programs, broker: Broker
) -> None:
    async with proxied(broker.worker_url) as proxy:
        worker = start_worker(programs, proxy.url, "w", "--concurrency", "20")
        await asyncio.to_thread(wait_for_workers, broker, "w")
        async with job_client(broker.requester_url) as client:
            job_ids = await client.submit_all("nap", 20, {"seconds": AWAY_S + 6})
            await asyncio.to_thread(wait_until, lambda: len(count_runs([worker])) == 20, "all run")
            proxy.partition()
            proxy.cut()
            await asyncio.to_thread(wait_until, lambda: not broker.workers(), "its connection is lost")
        broker.freeze()
        await asyncio.sleep(AWAY_S + 1)
        proxy.heal()  # what it has sent meanwhile lies in the broker's socket
        await asyncio.sleep(0.5)
        broker.thaw()
        assert all(response["success"] for response in await results(broker, job_ids))
        async with job_client(broker.requester_url) as client:
            assert await views(client) == {("done", 1, 0)}
        assert count_runs([worker]) == dict.fromkeys(job_ids, 1)
