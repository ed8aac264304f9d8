"""Celery on Redis: `celery -A ...celery_jobs worker` with four processes, and `delay`.

Acknowledged late, so that a killed worker loses no task, as durable work needs; otherwise as fast as it can be made:
see end_to_end/celery_redis.
"""

from celery import Celery

from ..end_to_end.program import broker_address
from .loop import DATA, job_plan, measure_blocking, report

TIMEOUT_S = 30.0

app = Celery("echo", broker=f"redis://{broker_address()}/0", backend=f"redis://{broker_address()}/1")
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=600,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_serializer="json",
    worker_disable_rate_limits=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=16,
    worker_send_task_events=False,
)


@app.task(name="echo")
def echo(message: str) -> dict[str, str]:
    """Returns the message in the shape in which it arrived."""
    return {"message": message}


def main() -> None:
    """The submitter: measures and reports."""
    report(
        measure_blocking(
            lambda: echo.apply_async(kwargs=DATA, queue="unserved", ignore_result=True),
            lambda: echo.delay(**DATA),
            lambda result: result.get(timeout=TIMEOUT_S),
            job_plan(),
        )
    )


if __name__ == "__main__":
    main()
