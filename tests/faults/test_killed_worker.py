"""A worker that is killed with a thousand assignments in flight."""

import asyncio

from tests.faults.caller import calling, ended
from tests.faults.ledger import assert_broker_balances
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Programs

IN_FLIGHT_COUNT = 1000


async def test_kill_of_a_worker_with_a_thousand_in_flight_ends_each_once_and_runs_none_twice_that_must_not(
    programs: Programs,
) -> None:
    broker = programs.start_broker("--retries-share-max", "1")
    slots = ("--concurrency", str(IN_FLIGHT_COUNT))
    first = start_worker(programs, broker.worker_url, "first", *slots)
    await asyncio.to_thread(wait_for_workers, broker, "first")
    async with calling(broker.requester_url) as caller:
        futures = [
            await caller.send("nap", {"seconds": 60 if number % 2 else 3}, idempotent=number % 2 == 0)
            for number in range(IN_FLIGHT_COUNT)
        ]
        second = start_worker(programs, broker.worker_url, "second", *slots)
        await asyncio.to_thread(wait_for_workers, broker, "first", "second")
        assert first.stdout.count("ran ") == IN_FLIGHT_COUNT
        assert broker.workers()["first"]["in_flight"] == IN_FLIGHT_COUNT
        first.kill()
        responses = await ended(futures)
        assert (await caller.call("echo", {"message": "still"}))["data"] == "still"
    for number, response in enumerate(responses):
        if number % 2:
            assert (response["code"], response["delivery"]) == ("worker_lost", "may_have_run")
            assert response["processed_by"] == "first"
        else:
            assert (response["success"], response["processed_by"]) == (True, "second")
    caller.ledger.assert_balances([first, second])
    assert_broker_balances(broker)
    assert broker.status()["counts"]["retried"] == IN_FLIGHT_COUNT // 2
