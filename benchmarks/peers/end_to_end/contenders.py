"""What is compared end to end, one entry per peer: its server, the programs of its user and their interpreter.

Nothing else in the measurement names a peer.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ...broker_process import Addresses
from ..environments import Environment
from ..servers import Server, free_port, nats_server, redis_server, says, taskferry_server

Kind = Literal["taskferry", "message broker", "redis task queue"]

_HERE = "benchmarks.peers.end_to_end"


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """One peer: `worker` and `requester` are arguments of its interpreter, with `{address}` for the broker's.

    `environment` is None for programs that run under this interpreter.
    """

    name: str
    kind: Kind
    environment: Environment | None
    make_server: Callable[[], Server]
    worker: tuple[str, ...]
    requester: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    def python(self) -> str:
        """The interpreter of worker and requester. Raises Missing."""
        return sys.executable if self.environment is None else self.environment.python()

    def versions(self) -> dict[str, str]:
        """The versions of its server and of its client's packages. Raises Missing, CalledProcessError."""
        packages = {} if self.environment is None else self.environment.versions()
        return {"server": self.make_server().version(), **packages}


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return "-m", f"{_HERE}.{name}", *arguments


_TASKFERRY_WORKER = (
    *("-m", "taskferry.worker", f"{_HERE}.taskferry_tasks:worker"),
    *("--broker", "ws://{address}"),
)

NATS_PY = Environment("nats-py", ("nats-py", "msgspec", "uvloop"))
PYZMQ = Environment("pyzmq", ("pyzmq", "msgspec", "uvloop"))
CELERY = Environment("celery", ("celery[redis]", "hiredis"))
TASKIQ = Environment("taskiq", ("taskiq", "taskiq-redis", "hiredis", "uvloop"))
ARQ = Environment("arq", ("arq", "uvloop"))
CROSSBAR = Environment("crossbar", ("crossbar", "autobahn", "uvloop"))
DRAMATIQ = Environment("dramatiq", ("dramatiq[redis]", "hiredis"))
RQ = Environment("rq", ("rq", "hiredis"))
HUEY = Environment("huey", ("huey",))
PROCRASTINATE = Environment("procrastinate", ("procrastinate", "psycopg[binary]", "uvloop"))
ENVIRONMENTS = (NATS_PY, PYZMQ, CROSSBAR, CELERY, TASKIQ, ARQ, DRAMATIQ, RQ, HUEY, PROCRASTINATE)


def _proxy() -> Server:
    command = (PYZMQ.python(), *_module("pyzmq_proxy", "proxy"))
    return Server(command, _find_proxy_addresses, lambda: PYZMQ.versions()["pyzmq"])


def _crossbar() -> Server:
    port = free_port()
    return Server(
        (CROSSBAR.python(), *_module("autobahn_wamp", "router", str(port), "{folder}")),
        says("NODE_BOOT_COMPLETE", port),
        lambda: CROSSBAR.versions()["crossbar"],
    )


def _find_proxy_addresses(printed: str) -> Addresses | None:
    found = re.search(r"requesters (\S+):(\d+) workers (\S+):(\d+)", printed)
    if found is None:
        return None
    return Addresses(requesters=(found[1], int(found[2])), workers=(found[3], int(found[4])))


END_TO_END = (
    EndToEnd(
        name="taskferry",
        kind="taskferry",
        environment=None,
        make_server=taskferry_server,
        worker=_TASKFERRY_WORKER,
        requester=_module("taskferry_requester", "json"),
    ),
    EndToEnd(
        name="taskferry-msgpack",
        kind="taskferry",
        environment=None,
        make_server=taskferry_server,
        worker=(*_TASKFERRY_WORKER, "--encoding", "msgpack"),
        requester=_module("taskferry_requester", "msgpack"),
    ),
    EndToEnd(
        name="taskferry-blocking",
        kind="taskferry",
        environment=None,
        make_server=taskferry_server,
        worker=_TASKFERRY_WORKER,
        requester=_module("taskferry_blocking"),
    ),
    EndToEnd(
        name="nats-py",
        kind="message broker",
        environment=NATS_PY,
        make_server=nats_server,
        worker=_module("nats_py", "worker"),
        requester=_module("nats_py", "requester"),
    ),
    EndToEnd(
        name="pyzmq",
        kind="message broker",
        environment=PYZMQ,
        make_server=_proxy,
        worker=_module("pyzmq_proxy", "worker"),
        requester=_module("pyzmq_proxy", "requester"),
    ),
    EndToEnd(
        name="crossbar",
        kind="message broker",
        environment=CROSSBAR,
        make_server=_crossbar,
        worker=_module("autobahn_wamp", "worker"),
        requester=_module("autobahn_wamp", "requester"),
    ),
    EndToEnd(
        name="celery",
        kind="redis task queue",
        environment=CELERY,
        make_server=redis_server,
        worker=(
            *("-m", "celery", "-A", f"{_HERE}.celery_redis", "worker", "--pool", "solo"),
            *("--loglevel", "error", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        requester=_module("celery_redis"),
    ),
    EndToEnd(
        name="taskiq",
        kind="redis task queue",
        environment=TASKIQ,
        make_server=redis_server,
        worker=(
            *("-m", "taskiq", "worker", "--workers", "1", "--no-parse", "--log-level", "ERROR"),
            f"{_HERE}.taskiq_redis_list:broker",
        ),
        requester=_module("taskiq_redis_list"),
    ),
    EndToEnd(
        name="arq",
        kind="redis task queue",
        environment=ARQ,
        make_server=redis_server,
        worker=("-m", "arq", f"{_HERE}.arq_redis.WorkerSettings"),
        requester=_module("arq_redis"),
    ),
    EndToEnd(
        name="dramatiq",
        kind="redis task queue",
        environment=DRAMATIQ,
        make_server=redis_server,
        worker=("-m", "dramatiq", f"{_HERE}.dramatiq_redis", "--processes", "1", "--threads", "4"),
        requester=_module("dramatiq_redis"),
        variables={"dramatiq_worker_timeout": "1"},
    ),
)
