"""arq on Redis: four processes of `arq ...arq_jobs.WorkerSettings`, `enqueue_job` and `Job.result`.

Both sides poll, as often as is best for throughput: see end_to_end/arq_redis.
"""

import asyncio
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings

from ..end_to_end.program import broker_address, run
from .loop import DATA, job_plan, measure, report

TIMEOUT_S = 30.0
QUEUE_INTERVAL_S = 0.005
RESULT_INTERVAL_S = 0.002

_HOST, _PORT = broker_address().split(":")
_REDIS = RedisSettings(host=_HOST, port=int(_PORT))


async def echo(_context: dict[str, Any], message: str) -> dict[str, str]:
    """Returns the message in the shape in which it arrived."""
    return {"message": message}


class WorkerSettings:
    """The settings that `arq` reads."""

    functions = (echo,)
    redis_settings = _REDIS
    max_jobs = 16
    poll_delay = QUEUE_INTERVAL_S
    keep_result = 600
    log_results = False


async def main() -> None:
    """The submitter: measures and reports."""
    redis = await create_pool(_REDIS)

    async def submit() -> object:
        await redis.enqueue_job("echo", _queue_name="unserved", **DATA)
        return DATA

    async def complete() -> object:
        job = await redis.enqueue_job("echo", **DATA)
        return await job.result(TIMEOUT_S, poll_delay=RESULT_INTERVAL_S)

    report(await measure(submit, complete, job_plan()))
    await redis.aclose()


if __name__ == "__main__":
    run(main())
else:
    # `arq`, which imports this module, runs on the current event loop.
    asyncio.set_event_loop(uvloop.new_event_loop())
