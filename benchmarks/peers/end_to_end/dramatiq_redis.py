"""dramatiq with Redis as broker and result backend: `dramatiq ...dramatiq_redis`, a requester that calls `send`.

Chosen for speed: one process and four threads, which measured ahead of 1, 2, 8 and 64; a worker that found nothing
polls again within a millisecond instead of a second (the variable `dramatiq_worker_timeout`); none of the middleware
that an echo does not need; hiredis. Results need no polling: the backend blocks in Redis. The requester keeps a window
of messages and waits for the oldest.
"""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from .closed_loop import DATA, measure_pending
from .program import broker_address, plan, report

TIMEOUT_MS = 30_000

_URL = f"redis://{broker_address()}"
_backend = RedisBackend(url=_URL)
_broker = RedisBroker(url=_URL, middleware=[Results(backend=_backend, store_results=True, result_ttl=60_000)])
dramatiq.set_broker(_broker)


@dramatiq.actor(actor_name="echo")
def echo(message: str) -> dict[str, str]:
    """The message, unchanged."""
    return {"message": message}


def main() -> None:
    """The requester: measures and reports."""
    report(
        measure_pending(
            lambda: echo.send(**DATA),
            lambda message: message.get_result(backend=_backend, block=True, timeout=TIMEOUT_MS),
            plan(),
        )
    )


if __name__ == "__main__":
    main()
