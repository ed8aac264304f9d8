"""Starting the programs of these tests: workers that serve tasks.py, requesters, brokers on ports that last."""

import contextlib
import json
import random
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.faults import requesting
from tests.processes import Broker, Program, Programs, wait_until

ROOT: Final = Path(__file__).parents[2]


def start_worker(
    programs: Programs,
    url: str,
    name: str,
    *options: str,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
) -> Program:
    """A `taskferry worker` that serves tasks.py at `url`."""
    return programs.start(
        *("-m", "taskferry.worker", "tests.faults.tasks:worker"),
        *("--broker", url, "--name", name, *options),
        environment={"PYTHONPATH": str(ROOT), **(environment or {})},
        wrapper=wrapper,
    )


def start_requester(
    programs: Programs,
    url: str,
    command: str,
    data: Any = None,
    *,
    in_flight_count: int = 1,
    timeout_s: float = 5.0,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
) -> Program:
    """A requester (requesting.py) that calls `command` until SIGTERM."""
    return programs.start(
        *(requesting.PATH, url, command, json.dumps(data or {}), str(in_flight_count), str(timeout_s)),
        environment={"PYTHONPATH": str(ROOT), **(environment or {})},
        wrapper=wrapper,
    )


def wait_for_workers(broker: Broker, *names: str, state: str = "healthy") -> None:
    """Wait until exactly the workers `names` are connected, in `state`."""
    expected = dict.fromkeys(names, state)
    wait_until(
        lambda: {name: row["state"] for name, row in broker.workers().items()} == expected,
        f"exactly {', '.join(names) or 'no workers'} are {state}",
    )


def lasting_ports() -> tuple[str, ...]:
    """Options of a broker with ports that no other program gets while the broker is down: they are not among the
    ephemeral ones."""
    return (
        *("--worker-port", _lasting_port()),
        *("--requester-port", _lasting_port()),
        *("--http-port", _lasting_port()),
        *("--api-port", _lasting_port()),
    )


def _lasting_port() -> str:
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)
