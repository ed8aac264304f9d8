"""The task queues that are compared, one entry each: server, worker processes, submitter and their interpreter.

Nothing else in the measurement names one. What each says it has accepted is on disk: Redis writes each command to its
log with fsync before it answers, PostgreSQL and SQLite each commit.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..end_to_end.contenders import ARQ, CELERY, DRAMATIQ, HUEY, PROCRASTINATE, RQ
from ..environments import Environment
from ..servers import Server, durable_redis_server, durable_taskferry_server, postgres_server

WORKER_PROCESSES_COUNT: Final = 4
_HERE: Final = "benchmarks.peers.jobs"


@dataclass(frozen=True, slots=True)
class JobPeer:
    """`worker` and `submitter` are arguments of the interpreter, with `{address}` for the server's; `worker` is started
    `workers_count` times, fewer if it starts processes itself. Without a server the address is that of a file."""

    name: str
    kind: str
    environment: Environment | None
    make_server: Callable[[], Server] | None
    worker: tuple[str, ...]
    workers_count: int
    submitter: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    def python(self) -> str:
        """The interpreter of workers and submitter. Raises Missing."""
        return sys.executable if self.environment is None else self.environment.python()

    def versions(self) -> dict[str, str]:
        """The versions of its server and of its client's packages. Raises Missing, CalledProcessError."""
        packages = {} if self.environment is None else self.environment.versions()
        return packages if self.make_server is None else {"server": self.make_server().version(), **packages}


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return "-m", f"{_HERE}.{name}", *arguments


JOB_PEERS: Final = (
    JobPeer(
        name="taskferry",
        kind="embedded SQLite",
        environment=None,
        make_server=durable_taskferry_server,
        worker=(
            *("-m", "taskferry.worker", "benchmarks.peers.end_to_end.taskferry_tasks:worker"),
            *("--broker", "ws://{address}", "--processes", str(WORKER_PROCESSES_COUNT)),
        ),
        workers_count=1,
        submitter=_module("taskferry_jobs"),
    ),
    JobPeer(
        name="procrastinate",
        kind="PostgreSQL",
        environment=PROCRASTINATE,
        make_server=postgres_server,
        worker=_module("procrastinate_jobs", "worker"),
        workers_count=WORKER_PROCESSES_COUNT,
        submitter=_module("procrastinate_jobs"),
    ),
    JobPeer(
        name="huey",
        kind="SQLite",
        environment=HUEY,
        make_server=None,
        worker=_module("huey_jobs", "worker"),
        workers_count=1,
        submitter=_module("huey_jobs"),
    ),
    JobPeer(
        name="celery",
        kind="Redis",
        environment=CELERY,
        make_server=durable_redis_server,
        worker=(
            *("-m", "celery", "-A", f"{_HERE}.celery_jobs", "worker"),
            *("--pool", "prefork", "--concurrency", str(WORKER_PROCESSES_COUNT)),
            *("--loglevel", "error", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        workers_count=1,
        submitter=_module("celery_jobs"),
    ),
    JobPeer(
        name="dramatiq",
        kind="Redis",
        environment=DRAMATIQ,
        make_server=durable_redis_server,
        worker=(
            *("-m", "dramatiq", f"{_HERE}.dramatiq_jobs", "--queues", "default"),
            *("--processes", str(WORKER_PROCESSES_COUNT), "--threads", "4"),
        ),
        workers_count=1,
        submitter=_module("dramatiq_jobs"),
        variables={"dramatiq_worker_timeout": "1"},
    ),
    JobPeer(
        name="rq",
        kind="Redis",
        environment=RQ,
        make_server=durable_redis_server,
        worker=_module("rq_jobs", "worker"),
        workers_count=WORKER_PROCESSES_COUNT,
        submitter=_module("rq_jobs"),
    ),
    JobPeer(
        name="arq",
        kind="Redis",
        environment=ARQ,
        make_server=durable_redis_server,
        worker=("-m", "arq", f"{_HERE}.arq_jobs.WorkerSettings"),
        workers_count=WORKER_PROCESSES_COUNT,
        submitter=_module("arq_jobs"),
    ),
)
