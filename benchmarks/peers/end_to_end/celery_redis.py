"""Celery with Redis as broker and result backend: `celery -A ...celery_redis worker`, a requester that calls `delay`.

Chosen for speed: the pool `solo`, which measured ahead of threads, prefork and gevent, as an echo does not wait for
anything; acknowledgement on receipt, the default; no events, gossip, mingle, heartbeat or rate limits; messages
fetched 64 at a time; results expire. The result backend needs no polling: it publishes results, and the client
subscribes. The requester keeps a window of results and waits for the oldest, in one thread: Celery's result consumer
is one connection.
"""

from celery import Celery

from .closed_loop import DATA, measure_pending
from .program import broker_address, plan, report

TIMEOUT_S = 30.0

app = Celery("echo", broker=f"redis://{broker_address()}/0", backend=f"redis://{broker_address()}/1")
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=60,
    task_serializer="json",
    worker_disable_rate_limits=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
)


@app.task(name="echo")
def echo(message: str) -> dict[str, str]:
    """The message, unchanged."""
    return {"message": message}


def main() -> None:
    """The requester: measures and reports."""
    report(measure_pending(lambda: echo.delay(**DATA), lambda result: result.get(timeout=TIMEOUT_S), plan()))


if __name__ == "__main__":
    main()
