"""A Taskferry user's submitter: `Requester.submit` from coroutines, and `Job.result`. All defaults but the event loop,
which is uvloop."""

from taskferry.requester import Requester

from ..end_to_end.program import broker_address, run
from .loop import DATA, job_plan, measure, report


async def main() -> None:
    """Measures and reports."""
    async with Requester(f"ws://{broker_address()}") as requester:

        async def submit() -> object:
            await requester.submit("unserved", DATA)
            return DATA

        async def complete() -> object:
            job = await requester.submit("echo", DATA)
            return await job.result()

        report(await measure(submit, complete, job_plan()))


if __name__ == "__main__":
    run(main())
