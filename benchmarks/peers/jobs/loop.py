"""What the submitter of each peer measures: submissions alone, then jobs to their results, one and then many at once.

Every peer gets the same times. It is given a plan and reports figures as programs of end_to_end do.
"""

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final, TypeVar

from ..end_to_end.closed_loop import DATA, await_first_answer, check
from ..end_to_end.program import PLAN_VARIABLE

SUBMITTERS_COUNT: Final = 8
"""Threads of a blocking client; each has its connection."""

ASYNC_SUBMITTERS_COUNT: Final = 64
"""Coroutines of one that does not block."""

FIRST_PAUSE_S: Final = 0.05
FIRST_TIMEOUT_S: Final = 30.0

Pending = TypeVar("Pending")


@dataclass(frozen=True, slots=True)
class JobPlan:
    """How long each part is measured, in seconds, and how many jobs the last one keeps in flight."""

    submit_s: float
    serial_s: float
    saturated_s: float
    in_flight_count: int


@dataclass(frozen=True, slots=True)
class JobFigures:
    """`result_p50_ms`: from the submission of one job to its result, while there is no other."""

    submissions_per_s: float
    result_p50_ms: float
    jobs_per_s: float


def job_plan() -> JobPlan:
    """What is to be measured."""
    return JobPlan(**json.loads(os.environ[PLAN_VARIABLE]))


def report(figures: JobFigures) -> None:
    """Print the figures, as the last line of a submitter."""
    print(json.dumps(asdict(figures)), flush=True)


def parse_report(printed: str) -> JobFigures:
    """The figures that `report` printed. Raises ValueError if it did not."""
    lines = printed.strip().splitlines()
    if not lines:
        raise ValueError("it printed nothing")
    return JobFigures(**json.loads(lines[-1]))


async def measure(
    submit: Callable[[], Awaitable[object]], complete: Callable[[], Awaitable[object]], plan: JobPlan
) -> JobFigures:
    """`submit` returns once a job that nobody runs is accepted, `complete` with the result of one that is run."""
    await _until_served(complete)
    submissions_count = await _count(submit, plan.submit_s, ASYNC_SUBMITTERS_COUNT)
    latencies_s = []
    stop_at = time.perf_counter() + plan.serial_s
    while (began_at := time.perf_counter()) < stop_at:
        check(await complete())
        latencies_s.append(time.perf_counter() - began_at)
    await _count(complete, plan.serial_s / 2, plan.in_flight_count)  # warm-up
    jobs_count = await _count(complete, plan.saturated_s, plan.in_flight_count)
    return _figures(submissions_count, latencies_s, jobs_count, plan)


def measure_blocking(
    submit: Callable[[], object],
    begin: Callable[[], Pending],
    wait: Callable[[Pending], object],
    plan: JobPlan,
) -> JobFigures:
    """The same for a client that blocks: `begin` submits a job that is run, `wait` returns its result."""
    await_first_answer(lambda: wait(begin()))
    with ThreadPoolExecutor(SUBMITTERS_COUNT) as threads:
        stop_at = time.perf_counter() + plan.submit_s
        counts = [threads.submit(_submit_until, submit, stop_at) for _ in range(SUBMITTERS_COUNT)]
        submissions_count = sum(count.result() for count in counts)
    latencies_s = []
    stop_at = time.perf_counter() + plan.serial_s
    while (began_at := time.perf_counter()) < stop_at:
        check(wait(begin()))
        latencies_s.append(time.perf_counter() - began_at)
    _window(begin, wait, plan.serial_s / 2, plan.in_flight_count)  # warm-up
    jobs_count = _window(begin, wait, plan.saturated_s, plan.in_flight_count)
    return _figures(submissions_count, latencies_s, jobs_count, plan)


async def _until_served(complete: Callable[[], Awaitable[object]]) -> None:
    give_up_at = time.monotonic() + FIRST_TIMEOUT_S
    while True:
        try:
            return check(await complete())
        except Exception:
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(FIRST_PAUSE_S)


async def _count(call: Callable[[], Awaitable[object]], seconds: float, count: int) -> int:
    stop_at = time.perf_counter() + seconds

    async def lane() -> int:
        ended_count = 0
        while True:
            check(await call())
            if time.perf_counter() > stop_at:
                return ended_count
            ended_count += 1

    return sum(await asyncio.gather(*(lane() for _ in range(count))))


def _submit_until(submit: Callable[[], object], stop_at: float) -> int:
    count = 0
    while True:
        submit()
        if time.perf_counter() > stop_at:
            return count
        count += 1


def _window(
    begin: Callable[[], Pending], wait: Callable[[Pending], object], seconds: float, in_flight_count: int
) -> int:
    """Results within the time; of those in flight the oldest is waited for."""
    count = 0
    stop_at = time.perf_counter() + seconds
    window = deque(begin() for _ in range(in_flight_count))
    while time.perf_counter() < stop_at:
        check(wait(window.popleft()))
        count += 1
        window.append(begin())
    for pending in window:
        check(wait(pending))
    return count


def _figures(submissions_count: int, latencies_s: list[float], jobs_count: int, plan: JobPlan) -> JobFigures:
    return JobFigures(
        submissions_per_s=submissions_count / plan.submit_s,
        result_p50_ms=sorted(latencies_s)[len(latencies_s) // 2] * 1e3,
        jobs_per_s=jobs_count / plan.saturated_s,
    )


__all__ = [
    "DATA",
    "JobFigures",
    "JobPlan",
    "job_plan",
    "measure",
    "measure_blocking",
    "parse_report",
    "report",
]
