"""The ideal that strategies are measured against: one line, first come first served, for all workers.

No request ever waits while a worker is idle; among idle workers the choice is random. A dispatcher that must choose a
worker before one is free cannot reach this.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from taskferry.loadbalance.strategy import Chance


def central_responses(
    gaps: Sequence[float], demands: Sequence[float], slowness: Sequence[float], chance: Chance
) -> tuple[list[float], int]:
    """How long each request took from its arrival to its end, in order of arrival, and the maximum length of the line.

    `gaps` are the times between arrivals, `demands` the time that a worker of slowness 1 needs for each;
    worker `i` needs `slowness[i]` times that.
    """
    idle = list(range(len(slowness)))
    busy: list[tuple[float, int]] = []
    line: deque[tuple[int, float]] = deque()
    responses = [0.0] * len(gaps)
    line_length_max = 0
    now = 0.0

    def start(number: int, arrived_at: float, worker: int, at: float) -> None:
        end = at + demands[number] * slowness[worker]
        responses[number] = end - arrived_at
        heappush(busy, (end, worker))

    def free_until(until: float) -> None:
        while busy and busy[0][0] <= until:
            at, worker = heappop(busy)
            if line:
                start(*line.popleft(), worker, at)
            else:
                idle.append(worker)

    for number, gap in enumerate(gaps):
        now += gap
        free_until(now)
        if idle:
            index = int(chance() * len(idle))
            idle[index], idle[-1] = idle[-1], idle[index]
            start(number, now, idle.pop(), now)
        else:
            line.append((number, now))
            line_length_max = max(line_length_max, len(line))
    free_until(float("inf"))
    return responses, line_length_max
