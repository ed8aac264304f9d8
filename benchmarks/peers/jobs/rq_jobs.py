"""rq on Redis: `rq_jobs worker`, a SimpleWorker, which does not fork for each job; `enqueue` and `latest_result`, which
blocks in Redis."""

import logging
import sys

from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job

from ..end_to_end.program import broker_address
from .loop import DATA, job_plan, measure_blocking, report

TIMEOUT_S = 30
ECHO = f"{__package__}.rq_jobs.echo"

_HOST, _PORT = broker_address().split(":")
_redis = Redis(host=_HOST, port=int(_PORT))


def echo(message: str) -> dict[str, str]:
    """Returns the message in the shape in which it arrived."""
    return {"message": message}


def serve() -> None:
    """One worker process."""
    SimpleWorker([Queue("served", connection=_redis)], connection=_redis).work(logging_level=logging.ERROR)


def main() -> None:
    """The submitter: measures and reports."""
    served, unserved = Queue("served", connection=_redis), Queue("unserved", connection=_redis)

    def wait(job: Job) -> object:
        result = job.latest_result(timeout=TIMEOUT_S)
        return None if result is None else result.return_value

    report(
        measure_blocking(
            lambda: unserved.enqueue(ECHO, **DATA),
            lambda: served.enqueue(ECHO, result_ttl=600, **DATA),
            wait,
            job_plan(),
        )
    )


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["worker"] else main()
