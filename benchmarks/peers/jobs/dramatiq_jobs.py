"""dramatiq on Redis: `dramatiq ...dramatiq_jobs` with four processes, `send` and `get_result`, which blocks in Redis.

It acknowledges late by itself. See end_to_end/dramatiq_redis for the rest.
"""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from ..end_to_end.program import broker_address
from .loop import DATA, job_plan, measure_blocking, report

TIMEOUT_MS = 30_000

_URL = f"redis://{broker_address()}"
_backend = RedisBackend(url=_URL)
_broker = RedisBroker(
    url=_URL, middleware=[Results(backend=_backend, store_results=True, result_ttl=600_000)]
)
dramatiq.set_broker(_broker)


@dramatiq.actor(actor_name="echo")
def echo(message: str) -> dict[str, str]:
    """Returns the message in the shape in which it arrived."""
    return {"message": message}


@dramatiq.actor(actor_name="unserved", queue_name="unserved")
def unserved(message: str) -> None:
    """Never runs: the workers do not take its queue."""


def main() -> None:
    """The submitter: measures and reports."""
    report(
        measure_blocking(
            lambda: unserved.send(**DATA),
            lambda: echo.send(**DATA),
            lambda message: message.get_result(backend=_backend, block=True, timeout=TIMEOUT_MS),
            job_plan(),
        )
    )


if __name__ == "__main__":
    main()
