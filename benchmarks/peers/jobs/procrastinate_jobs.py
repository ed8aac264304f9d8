"""procrastinate on PostgreSQL: four processes of `procrastinate_jobs worker`, `defer_async`, and polling for the end.

It keeps no results: a job counts as soon as its row says `succeeded`. Workers are woken by LISTEN/NOTIFY. All jobs in
flight are polled for together, which is the cheapest way for a client.
"""

import asyncio
import sys

import procrastinate

from ..end_to_end.program import broker_address, run
from .loop import DATA, job_plan, measure, report

POLL_S = 0.002
CONNECTIONS_COUNT = 8

_HOST, _PORT = broker_address().split(":")
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo=f"host={_HOST} port={_PORT} user=postgres dbname=postgres", max_size=CONNECTIONS_COUNT
    )
)


@app.task(name="echo", queue="served")
async def echo(message: str) -> dict[str, str]:
    """Returns the message in the shape in which it arrived."""
    return {"message": message}


class Ends:
    """Jobs that are waited for. One query asks for all of them."""

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[None]] = {}

    def of(self, job_id: int) -> asyncio.Future[None]:
        """Done when the job has succeeded."""
        return self._futures.setdefault(job_id, asyncio.get_running_loop().create_future())

    async def poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if not self._futures:
                continue
            rows = await app.connector.execute_query_all_async(
                "SELECT id FROM procrastinate_jobs WHERE id = ANY(%(ids)s) AND status = 'succeeded'",
                ids=list(self._futures),
            )
            for row in rows:
                self._futures.pop(row["id"]).set_result(None)


async def serve() -> None:
    """One worker process. The submitter makes the tables."""
    async with app.open_async():
        while True:
            if await app.check_connection_async():
                break
            await asyncio.sleep(0.1)
        await app.run_worker_async(queues=["served"], concurrency=16, update_heartbeat_interval=10)


async def main() -> None:
    """The submitter: measures and reports."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        ends = Ends()
        polling = asyncio.create_task(ends.poll())
        unserved = echo.configure(queue="unserved")

        async def submit() -> object:
            await unserved.defer_async(**DATA)
            return DATA

        async def complete() -> object:
            await ends.of(await echo.defer_async(**DATA))
            return DATA

        report(await measure(submit, complete, job_plan()))
        polling.cancel()


if __name__ == "__main__":
    run(serve() if sys.argv[1:] == ["worker"] else main())
