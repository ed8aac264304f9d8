"""How a program of a comparison gets its task and reports its figures.

The task is in environment variables, because the modules that task queues load get nothing else; the report goes to
standard output.
"""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any

from .closed_loop import Figures, Plan

ADDRESS_VARIABLE = "TASKFERRY_BENCHMARK_BROKER"
PLAN_VARIABLE = "TASKFERRY_BENCHMARK_PLAN"


def broker_address() -> str:
    """HOST:PORT of the broker for this program's role."""
    return os.environ[ADDRESS_VARIABLE]


def plan() -> Plan:
    """What a requester is to measure."""
    return Plan(**json.loads(os.environ[PLAN_VARIABLE]))


def report(figures: Figures) -> None:
    """Prints the figures, as the last line of a requester."""
    print(json.dumps(asdict(figures)), flush=True)


def parse_report(printed: str) -> Figures:
    """The figures that `report` printed. Raises ValueError if it did not."""
    lines = printed.strip().splitlines()
    if not lines:
        raise ValueError("it printed nothing")
    return Figures(**json.loads(lines[-1]))


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` on uvloop, which every asyncio peer here recommends for speed; on asyncio's loop on Windows."""
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop  # noqa: PLC0415  # only if a peer runs on it

        uvloop.run(main)
