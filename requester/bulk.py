"""One request many times, with bounded concurrency, over one connection, and a tally of the outcomes."""

import asyncio
import math
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable

from .response import Response


class Tally:
    """The outcomes so far: counts by error code (None: succeeded), requests that became jobs, and the durations in
    seconds."""

    __slots__ = ("_ended_s", "_started_s", "counts", "durations_s", "first_failure", "kept_count")

    def __init__(self) -> None:
        self.counts: Counter[str | None] = Counter()
        self.kept_count = 0
        self.durations_s = array("d")
        self.first_failure: Response | None = None
        """One example is worth more than a number."""
        self._started_s = 0.0
        self._ended_s: float | None = None

    def start(self) -> None:
        """Start the clock."""
        self._started_s = time.perf_counter()

    def add(self, response: Response, duration_s: float) -> None:
        """Count one more response."""
        self.durations_s.append(duration_s)
        if response.job_id is not None:
            self.kept_count += 1
            return
        self.counts[response.code] += 1
        if not response.success and self.first_failure is None:
            self.first_failure = response

    def finish(self) -> None:
        """Stop the clock."""
        self._ended_s = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """From start to finish, or to now; 0 if it never started."""
        return (self._ended_s or time.perf_counter()) - self._started_s if self._started_s else 0.0

    def percentiles_s(self, *percents: float) -> list[float]:
        """Durations that this many percent (over 0) of all did not exceed: nearest rank. Empty if none has ended."""
        ordered = sorted(self.durations_s)
        if not ordered:
            return []
        return [ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in percents]


async def run_many(
    send: Callable[[], Awaitable[Response]], count: int, concurrency: int, tally: Tally
) -> None:
    """Await `send()` `count` times, at most `concurrency` at once, and add each response to `tally`, also when
    cancelled."""
    left = count

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            started_s = time.perf_counter()
            response = await send()
            tally.add(response, time.perf_counter() - started_s)

    tally.start()
    try:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(concurrency, count)):
                lanes.create_task(lane())
    finally:
        tally.finish()
