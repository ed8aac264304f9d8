"""How late the event loop is: counted all the time, and seen when it is blocked."""

import asyncio
import time

from taskferry.broker.core.measures.histogram import DURATION_BOUNDS_S, Histogram
from taskferry.broker.loop_lag import CHECK_INTERVAL_S, LoopLag

from tests.integration.peers import eventually


def slow_count(histogram: Histogram, over_s: float) -> int:
    return sum(histogram.counts[DURATION_BOUNDS_S.index(over_s) + 1 :])


async def test_a_loop_that_is_blocked_is_seen_to_be_late() -> None:
    lag = LoopLag()
    lag.start()
    await eventually(lambda: sum(lag.histogram.counts) >= 3, "three checks")
    before = slow_count(lag.histogram, 0.25)
    time.sleep(0.3 + CHECK_INTERVAL_S)
    await eventually(lambda: slow_count(lag.histogram, 0.25) > before, "a late check")
    lag.stop()
    count = sum(lag.histogram.counts)
    await asyncio.sleep(2.5 * CHECK_INTERVAL_S)
    assert sum(lag.histogram.counts) == count
    assert lag.histogram.sum_s >= 0.3
