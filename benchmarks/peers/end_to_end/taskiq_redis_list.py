"""taskiq with taskiq-redis: `taskiq worker ...taskiq_redis_list:broker`, a requester that calls `kiq`, `wait_result`.

Chosen for speed: ListQueueBroker, the quickest of its brokers (one LPUSH and one BRPOP per task, no acknowledgement),
one worker process with 100 concurrent tasks, the default, on uvloop, which taskiq uses if it is installed; no check
of types (`--no-parse`). A client polls for its result every RESULT_INTERVAL_S, where the default is 200 ms: longer
intervals up to 50 ms gained a tenth in requests/s and cost as much in latency as they last.
"""

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from .closed_loop import DATA, measure
from .program import broker_address, plan, report, run

TIMEOUT_S = 30.0
RESULT_INTERVAL_S = 0.001

_URL = f"redis://{broker_address()}"
broker = ListQueueBroker(_URL).with_result_backend(
    RedisAsyncResultBackend(_URL, keep_results=False, result_ex_time=60)
)


@broker.task(task_name="echo")
async def echo(message: str) -> dict[str, str]:
    """The message, unchanged."""
    return {"message": message}


async def main() -> None:
    """The requester: measures and reports."""
    await broker.startup()

    async def call() -> object:
        task = await echo.kiq(**DATA)
        result = await task.wait_result(check_interval=RESULT_INTERVAL_S, timeout=TIMEOUT_S)
        return result.return_value

    report(await measure(call, plan()))
    await broker.shutdown()


if __name__ == "__main__":
    run(main())
