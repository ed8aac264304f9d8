"""huey on SQLite with fsync: its consumer with four processes, calls of a task, and polling for results.

Both sides poll. It writes each job in a transaction of its own, as SQLite's users do; the database is one file, which
all processes open.
"""

import logging
import sys

from .huey_tasks import echo, huey, unserved
from .loop import DATA, job_plan, measure_blocking, report

TIMEOUT_S = 30
POLL_S = 0.002
PROCESSES_COUNT = 4


def serve() -> None:
    """The consumer."""
    logging.getLogger("huey").setLevel(logging.ERROR)
    consumer = huey.create_consumer(
        workers=PROCESSES_COUNT,
        worker_type="process",
        initial_delay=POLL_S,
        max_delay=POLL_S,
        periodic=False,
    )
    consumer.run()


def main() -> None:
    """The submitter: measures and reports."""
    report(
        measure_blocking(
            lambda: unserved(**DATA),
            lambda: echo(**DATA),
            lambda result: result.get(
                blocking=True, timeout=TIMEOUT_S, backoff=1.0, max_delay=POLL_S, preserve=False
            ),
            job_plan(),
        )
    )


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["worker"] else main()
