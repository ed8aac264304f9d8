"""Many who do the same at the same moment, over real sockets: submissions of one job, and cancellations."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Final

from tests.faults.caller import ended
from tests.faults.job_client import JobClient, job_client
from tests.faults.ledger import count_runs
from tests.faults.starting import start_worker, wait_for_workers
from tests.processes import Broker, Programs

SUBMITTERS_COUNT: Final = 1000
CONNECTING_COUNT: Final = 100
CANCELS_COUNT: Final = 600


async def connect_all(stack: AsyncExitStack, url: str, count: int) -> list[JobClient]:
    clients: list[JobClient] = []
    while len(clients) < count:
        some = min(CONNECTING_COUNT, count - len(clients))
        clients += await asyncio.gather(*(stack.enter_async_context(job_client(url)) for _ in range(some)))
    return clients


async def answers(clients: list[JobClient], message: dict[str, Any]) -> list[Any]:
    return await ended([await client.send({"type": "submit", **message}) for client in clients])


async def test_of_a_thousand_submitters_of_one_job_one_gets_it_and_all_its_receipt(
    programs: Programs, broker: Broker
) -> None:
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "100")
    await asyncio.to_thread(wait_for_workers, broker, "w")
    async with AsyncExitStack() as stack:
        clients = await connect_all(stack, broker.requester_url, SUBMITTERS_COUNT)
        same_id = {"command": "nap", "data": {"seconds": 0.2}, "job_id": "the-one"}
        same_key = {"command": "nap", "data": {"seconds": 2}, "unique": "the-key"}
        by_id = await answers(clients, same_id)
        by_key = await answers(clients, same_key)
        for receipts in (by_id, by_key):
            assert Counter(receipt["type"] for receipt in receipts) == {"receipt": SUBMITTERS_COUNT}
            assert Counter(receipt["duplicate"] for receipt in receipts) == {
                False: 1,
                True: SUBMITTERS_COUNT - 1,
            }
            assert len({receipt["job_id"] for receipt in receipts}) == 1
        other = await answers(clients[:10], {**same_id, "data": {"seconds": 0.1}})
        assert {answer["code"] for answer in other} == {"job_id_conflict"}
        responses = await ended(
            [await client.send({"type": "await", "job_id": "the-one"}) for client in clients]
        )
        assert {response["data"] for response in responses} == {0.2}
        (unique_id,) = {receipt["job_id"] for receipt in by_key}
        assert (await clients[0].result(unique_id))["success"]
    assert count_runs([worker]) == {"the-one": 1, unique_id: 1}


async def test_a_job_that_is_cancelled_at_any_moment_ends_once_and_all_say_the_same(
    programs: Programs, broker: Broker
) -> None:
    chance = random.Random()
    worker = start_worker(programs, broker.worker_url, "w", "--concurrency", "20")
    await asyncio.to_thread(wait_for_workers, broker, "w")

    async def submit_and_cancel(submitting: JobClient, cancelling: JobClient, number: int) -> None:
        await asyncio.sleep(chance.uniform(0, 1))
        job_id = f"c{number}"
        awaited = None
        receipt = await submitting.ask(
            "submit", command="nap", data={"seconds": 0.01}, job_id=job_id, receipts=True
        )
        assert receipt["type"] == "receipt", receipt
        awaited = await submitting.send({"type": "await", "job_id": job_id})
        await asyncio.sleep(chance.choice((0, chance.uniform(0, 0.1))))
        (changed,) = await ended([await cancelling.send({"type": "cancel", "job_id": job_id})])
        (response,) = await ended([awaited])
        view = await cancelling.view(job_id)
        if changed.get("type") == "changed" and changed["count"] == 1:
            assert view["state"] == "cancelled", (changed, view)
            assert response.get("code") == "cancelled", (changed, view, response)
        else:
            assert view["state"] == "done", (changed, view)
            assert response["success"], response

    async with job_client(broker.requester_url) as one, job_client(broker.requester_url) as other:
        await asyncio.gather(*(submit_and_cancel(one, other, number) for number in range(CANCELS_COUNT)))
        ends = Counter(step["job_id"] for step in one.steps if step["type"] == "ended")
        assert ends == dict.fromkeys((f"c{number}" for number in range(CANCELS_COUNT)), 1)
        views = await one.views()
        outcomes = Counter(view["state"] for view in views.values())
        assert set(outcomes) == {"done", "cancelled"}, outcomes
        for step in one.steps:
            if step["type"] == "ended":
                assert step["state"] == views[step["job_id"]]["state"]
    runs = count_runs([worker])
    assert all(count == 1 for count in runs.values())
    assert all(runs[job_id] == 1 for job_id, view in views.items() if view["state"] == "done")
