"""How fast a worker is, learned from how long its successes take compared with the usual duration of their commands.

One number per worker is learned, `slowness`: the mean of ln(duration / usual duration of the command), so that commands
of different length can share it and a heavy tail does not dominate it (a logarithm grows slowly). Strategies see
`speed`, in steps, and `latency`, unrounded. Only successes count, because a worker that fails at once would look fast.
Source of the time-weighted average: Peak EWMA (Finagle), which also forgets by time and not by count.
"""

from math import exp, log, log2
from typing import Final

from ..fleet.command import Command
from ..fleet.worker import Worker

GAIN: Final = 1 / 64
"""The weight of one success in the mean. The ln of exponential service times has a standard deviation of 1.28; averaged
this way it is 0.11, a third of a step."""

STEP: Final = log(2) / 2
"""Speeds are powers of the square root of 2. A worker's speed changes if its slowness is a whole step away, three times
the standard deviation, so that equal workers stay equal and strategies need few buckets."""

STEPS_MAX: Final = 4
"""Keeps speed in [0.25, 4]: with more than a factor of 16 between two workers the slow one would hardly be tried."""

LEARN_INTERVAL_S: Final = 0.01
"""The time between two samples of a worker: a hundred per second are enough, and cost nothing."""

HALF_LIFE_S: Final = 15.0
"""An idle worker's slowness halves in this time, so that a slow worker is tried again within a minute instead of being
starved forever."""

TRIAL_GAIN_MAX: Final = 0.25
"""The highest weight of a success, after a long idle time: a worker that has become fast again is recognised after a
handful of trials, but one lucky trial does not make a slow worker fast."""

DURATION_S_MIN: Final = 1e-6
"""Shorter durations count as this one, which keeps the logarithm finite."""


class Speeds:
    """Learns speeds. Keeps the workers whose speed is not 1: it fades towards 1 while they are idle."""

    __slots__ = ("_unusual",)

    def __init__(self) -> None:
        self._unusual: dict[Worker, None] = {}

    def learn(self, worker: Worker, command: Command, duration_s: float, now: float) -> bool:
        """A success of `worker` took `duration_s`. True if its speed has changed."""
        logarithm = log(max(duration_s, DURATION_S_MIN))
        usual = command.log_duration_s
        if usual is None:
            usual = logarithm
        command.log_duration_s = usual + GAIN * (logarithm - usual)
        idle_s = now - duration_s - worker.learned_at
        gain = min(max(GAIN, 1 - 0.5 ** (idle_s / HALF_LIFE_S)), TRIAL_GAIN_MAX) if idle_s > 1 else GAIN
        limit = STEPS_MAX * STEP
        slowness = worker.slowness + gain * (logarithm - usual - worker.slowness)
        worker.slowness = min(limit, max(-limit, slowness))
        worker.learned_at = now
        worker.latency = exp(worker.slowness)
        steps = round(-2 * log2(worker.speed))
        if abs(worker.slowness - steps * STEP) < STEP:
            return False
        return self._set(worker, round(worker.slowness / STEP))

    def fade(self, now: float) -> list[Worker]:
        """Move idle workers towards speed 1. Returns the workers whose speed has changed."""
        changed: list[Worker] = []
        for worker in tuple(self._unusual):
            if worker.in_flight_count:
                continue
            faded = worker.slowness * 0.5 ** ((now - worker.learned_at) / HALF_LIFE_S)
            worker.latency = exp(faded)
            if self._set(worker, round(faded / STEP)):
                changed.append(worker)
        return changed

    def forget(self, worker: Worker) -> None:
        """The worker has left."""
        self._unusual.pop(worker, None)

    def _set(self, worker: Worker, steps: int) -> bool:
        speed = 2 ** (-steps / 2)
        if worker.speed == speed:
            return False
        worker.speed = speed
        if steps:
            self._unusual[worker] = None
        else:
            self._unusual.pop(worker, None)
        return True
