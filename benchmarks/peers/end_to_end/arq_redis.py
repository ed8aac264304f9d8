"""arq: `arq ...arq_redis.WorkerSettings`, a requester that calls `enqueue_job` and waits for `Job.result`.

Chosen for speed: uvloop under both; 64 concurrent jobs; arq's worker polls Redis for jobs, and its client for results,
at intervals (half a second by default), so both are short: QUEUE_INTERVAL_S and RESULT_INTERVAL_S. Longer ones gained
up to a half in requests/s and cost as much in latency as they last.
"""

import asyncio
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings

from .closed_loop import DATA, measure
from .program import broker_address, plan, report, run

TIMEOUT_S = 30.0
QUEUE_INTERVAL_S = 0.001
RESULT_INTERVAL_S = 0.001

_HOST, _PORT = broker_address().split(":")
_REDIS = RedisSettings(host=_HOST, port=int(_PORT))


async def echo(_context: dict[str, Any], message: str) -> dict[str, str]:
    """The message, unchanged."""
    return {"message": message}


class WorkerSettings:
    """The settings that `arq` reads."""

    functions = (echo,)
    redis_settings = _REDIS
    max_jobs = 64
    poll_delay = QUEUE_INTERVAL_S
    keep_result = 60
    log_results = False


async def main() -> None:
    """The requester: measures and reports."""
    redis = await create_pool(_REDIS)

    async def call() -> object:
        job = await redis.enqueue_job("echo", **DATA)
        return await job.result(TIMEOUT_S, poll_delay=RESULT_INTERVAL_S)

    report(await measure(call, plan()))
    await redis.aclose()


if __name__ == "__main__":
    run(main())
else:
    # `arq`, which has imported this module, runs on the event loop that it finds.
    asyncio.set_event_loop(uvloop.new_event_loop())
