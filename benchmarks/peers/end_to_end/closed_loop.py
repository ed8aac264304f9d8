"""The closed loop of a requester: first one request in flight, then many, each for a fixed time.

Every peer gets the same time, not the same number of requests: the fastest is nearly a hundred times as fast as the
slowest.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

DATA = {"message": "Hello World"}
"""What every request carries, and what every worker returns."""

FIRST_ANSWER_TIMEOUT_S = 30.0
"""How long a worker may take to start: Celery imports for seconds on a busy machine."""
FIRST_ANSWER_PAUSE_S = 0.05

Pending = TypeVar("Pending")


class WrongAnswer(Exception):
    """A request was not answered with its data, so the echo was not what was measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part is measured, in seconds, and how many requests the last part keeps in flight."""

    warm_up_s: float
    serial_s: float
    saturated_s: float
    in_flight_count: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one requester saw: round trips with one request in flight, answers per second with many."""

    round_trip_p50_ms: float
    round_trip_p99_ms: float
    round_trip_count: int
    requests_per_s: float
    request_count: int
    in_flight_count: int


async def measure(call: Callable[[], Awaitable[object]], plan: Plan) -> Figures:
    """`call` sends one request and returns its answer; one coroutine calls it for each request in flight."""
    await _await_first_answer(call)
    await _saturate(call, plan.warm_up_s, plan.in_flight_count)
    latencies_s: list[float] = []
    now = time.perf_counter()
    stop_at = now + plan.serial_s
    while now < stop_at:
        check(await call())
        answered_at = time.perf_counter()
        latencies_s.append(answered_at - now)
        now = answered_at
    request_count = await _saturate(call, plan.saturated_s, plan.in_flight_count)
    return _figures(latencies_s, request_count, plan, plan.in_flight_count)


def measure_from_threads(call: Callable[[], object], plan: Plan, thread_count: int) -> Figures:
    """`call` blocks until it has its answer; `thread_count` threads call it, each with one request in flight."""
    await_first_answer(call)
    with ThreadPoolExecutor(thread_count) as threads:
        saturate = _Threads(call, threads, thread_count).saturate
        saturate(plan.warm_up_s)
        latencies_s = _measure_serial(call, plan.serial_s)
        request_count = saturate(plan.saturated_s)
    return _figures(latencies_s, request_count, plan, thread_count)


def measure_pending(submit: Callable[[], Pending], wait: Callable[[Pending], object], plan: Plan) -> Figures:
    """For clients whose `submit` returns at once with something to `wait` for: a window of those, the oldest first."""

    def call() -> object:
        return wait(submit())

    def saturate(duration_s: float) -> int:
        request_count = 0
        stop_at = time.perf_counter() + duration_s
        window = deque(submit() for _ in range(plan.in_flight_count))
        while time.perf_counter() < stop_at:
            check(wait(window.popleft()))
            request_count += 1
            window.append(submit())
        for pending in window:
            check(wait(pending))
        return request_count

    await_first_answer(call)
    saturate(plan.warm_up_s)
    latencies_s = _measure_serial(call, plan.serial_s)
    return _figures(latencies_s, saturate(plan.saturated_s), plan, plan.in_flight_count)


def check(answer: object) -> None:
    """Raises WrongAnswer unless `answer` is DATA."""
    if answer != DATA:
        raise WrongAnswer(f"asked to echo {DATA!r}, answered {answer!r}")


def await_first_answer(call: Callable[[], object]) -> None:
    """Returns once the worker is up: calls until it gets an answer, ignoring every error until the time is up."""
    give_up_at = time.monotonic() + FIRST_ANSWER_TIMEOUT_S
    while True:
        try:
            return check(call())
        except Exception:
            if time.monotonic() > give_up_at:
                raise
        time.sleep(FIRST_ANSWER_PAUSE_S)


async def _await_first_answer(call: Callable[[], Awaitable[object]]) -> None:
    give_up_at = time.monotonic() + FIRST_ANSWER_TIMEOUT_S
    while True:
        try:
            return check(await call())
        except Exception:
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(FIRST_ANSWER_PAUSE_S)


async def _saturate(call: Callable[[], Awaitable[object]], duration_s: float, in_flight_count: int) -> int:
    """The number of answers within `duration_s`; later ones are awaited but not counted."""
    stop_at = time.perf_counter() + duration_s

    async def lane() -> int:
        request_count = 0
        while True:
            answer = await call()
            check(answer)
            if time.perf_counter() > stop_at:
                return request_count
            request_count += 1

    return sum(await asyncio.gather(*(lane() for _ in range(in_flight_count))))


@dataclass(frozen=True, slots=True)
class _Threads:
    call: Callable[[], object]
    threads: ThreadPoolExecutor
    thread_count: int

    def saturate(self, duration_s: float) -> int:
        stop_at = time.perf_counter() + duration_s
        lanes = [self.threads.submit(self._lane, stop_at) for _ in range(self.thread_count)]
        return sum(lane.result() for lane in lanes)

    def _lane(self, stop_at: float) -> int:
        request_count = 0
        while True:
            check(self.call())
            if time.perf_counter() > stop_at:
                return request_count
            request_count += 1


def _measure_serial(call: Callable[[], object], duration_s: float) -> list[float]:
    latencies_s: list[float] = []
    now = time.perf_counter()
    stop_at = now + duration_s
    while now < stop_at:
        check(call())
        answered_at = time.perf_counter()
        latencies_s.append(answered_at - now)
        now = answered_at
    return latencies_s


def _figures(latencies_s: list[float], request_count: int, plan: Plan, in_flight_count: int) -> Figures:
    ordered = sorted(latencies_s)
    return Figures(
        round_trip_p50_ms=_percentile(ordered, 0.50) * 1e3,
        round_trip_p99_ms=_percentile(ordered, 0.99) * 1e3,
        round_trip_count=len(ordered),
        requests_per_s=request_count / plan.saturated_s,
        request_count=request_count,
        in_flight_count=in_flight_count,
    )


def _percentile(ordered: list[float], share: float) -> float:
    # Nearest rank: the smallest value that at least `share` of all values do not exceed.
    return ordered[ceil(share * len(ordered)) - 1]
