"""Jobs with the SDK: work that the broker keeps until it has ended, results that wait, and an inbox.

Needs a broker and a worker with the built-in commands: `taskferry broker`, `taskferry worker`. Kill either of them
while this runs, and start it again: the results come.
"""

import asyncio
import sys
from datetime import timedelta

from taskferry.requester import BlockingRequester, JobNotEnded, Requester, TaskferryError


async def submit(url: str) -> None:
    async with Requester(url, client_id="example-jobs") as requester:
        # On the broker's disk once this returns, and run by whichever worker serves it, now or later.
        job = await requester.submit("echo", {"message": "Hello World"})
        print(f"accepted: {job.job_id}")
        async for receipt in job.receipts():
            print(receipt.state, receipt.worker_id or "")
        print(await job.result(timeout=30))

        # A name of your own makes it the same job, however often it is submitted.
        first = await requester.submit("echo", {"message": "once"}, job_id="example-1", keep=60)
        again = await requester.submit("echo", {"message": "once"}, job_id="example-1", keep=60)
        print(first.job_id == again.job_id, again.is_duplicate)

        # Not before its time; waiting for it does not hold it up.
        later = await requester.submit("get_time", delay=timedelta(hours=1))
        try:
            await later.result(timeout=0.1)
        except JobNotEnded as error:
            print(error.text)
        await later.cancel()

        # Many at once, and what has become of them, in the order in which they ended.
        jobs = [await requester.submit("calculate", {"a": n, "b": n, "op": "*"}) for n in range(5)]
        print(await asyncio.gather(*(job.result(timeout=30) for job in jobs)))
        numbers = {job.job_id: number for number, job in enumerate(jobs)}
        async for ended in requester.inbox():
            ended.acknowledge()
            if ended.job_id in numbers:
                print(f"number {numbers.pop(ended.job_id)} is {ended.state}")
            if not numbers:
                break


def submit_without_asyncio(url: str) -> None:
    with BlockingRequester(url) as requester:
        job = requester.submit("echo", {"message": "Hello from a thread"}, attempts=3, backoff=[1, 10])
        print(job.result(timeout=30))
        for found in requester.jobs(command="echo", states=["done"], page_count=10):
            print(found.job_id, found.state)
            break


if __name__ == "__main__":
    broker_url = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8766"
    try:
        asyncio.run(submit(broker_url))
        submit_without_asyncio(broker_url)
    except TaskferryError as error:
        sys.exit(f"error: {error} [{error.code}]")
