"""Workers that are killed, or stopped in order, while they run jobs."""

import asyncio
import time
from typing import Final

from tests.faults.job_client import job_client
from tests.faults.ledger import count_runs
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Broker, Programs, wait_until

AGAIN_S_MAX: Final = 5.0
"""From the loss of a worker to the next attempt: the time that it has to come back, and one more second."""
SLACK_S: Final = 2.0
"""For what else runs on the machine."""
LOSSES_COUNT_MAX: Final = 3


async def test_jobs_of_a_killed_worker_run_elsewhere_within_5_s_and_those_that_may_run_once_are_dead(
    programs: Programs, broker: Broker
) -> None:
    first = start_worker(programs, broker.worker_url, "first", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "first")
    async with job_client(broker.requester_url) as client:
        again = await client.submit_all("stuck_once", 40)
        once = await client.submit_all("stuck_once", 10, at_most_once=True)
        jobs = {*again, *once}
        await asyncio.to_thread(wait_until, lambda: set(count_runs([first])) == jobs, "all run")
        second = start_worker(programs, broker.worker_url, "second", "--concurrency", "100")
        await asyncio.to_thread(wait_for_workers, broker, "first", "second")
        first.kill()
        killed_at = time.monotonic()
        await asyncio.to_thread(wait_until, lambda: set(count_runs([second])) >= set(again), "all run again")
        assert time.monotonic() - killed_at < AGAIN_S_MAX + SLACK_S
        for job_id in again:
            assert (await client.result(job_id))["processed_by"] == "second"
            view = await client.view(job_id)
            assert (view["state"], view.get("losses", 0)) == ("done", 1)
        for job_id in once:
            view = await client.view(job_id)
            assert (view["state"], view["code"]) == ("dead", "worker_lost")
    assert count_runs([second]) == dict.fromkeys(again, 1)


async def test_a_job_that_kills_its_worker_is_dead_after_three_and_others_are_not_harmed(
    programs: Programs, broker: Broker
) -> None:
    workers = [start_worker(programs, broker.worker_url, "w0")]
    await asyncio.to_thread(wait_for_workers, broker, "w0")
    async with job_client(broker.requester_url) as client:
        poison = await client.submit("die")
        for number in range(1, LOSSES_COUNT_MAX + 1):
            await asyncio.to_thread(workers[-1].wait)
            workers.append(start_worker(programs, broker.worker_url, f"w{number}"))
        response = await client.result(poison)
        assert (response["success"], response["code"]) == (False, "worker_lost")
        view = await client.view(poison)
        assert (view["state"], view.get("losses", 0)) == ("dead", LOSSES_COUNT_MAX)
        assert count_runs(workers) == {poison: LOSSES_COUNT_MAX}
        assert (await client.result(await client.submit("echo", {"message": "alive"})))["data"] == "alive"
    assert workers[-1].exit_code is None


async def test_a_worker_that_is_terminated_gives_its_jobs_back_and_that_costs_no_attempt(
    programs: Programs, broker: Broker
) -> None:
    first = start_worker(programs, broker.worker_url, "first", "--concurrency", "20", "--grace", "3")
    await asyncio.to_thread(wait_for_workers, broker, "first")
    async with job_client(broker.requester_url) as client:
        short = await client.submit_all("nap", 10, {"seconds": 3})
        long = await client.submit_all("stuck_once", 10)
        await asyncio.to_thread(wait_until, lambda: len(count_runs([first])) == 20, "all run")
        second = start_worker(programs, broker.worker_url, "second", "--concurrency", "20")
        await asyncio.to_thread(wait_for_workers, broker, "first", "second")
        first.terminate()
        for job_id in (*short, *long):
            assert (await client.result(job_id))["success"]
        for job_id in (*short, *long):
            view = await client.view(job_id)
            assert (view.get("losses", 0), view.get("failed", [])) == (0, [])
    assert await asyncio.to_thread(first.wait) == 0
    assert count_runs([first, second]) == {**dict.fromkeys(short, 1), **dict.fromkeys(long, 2)}
