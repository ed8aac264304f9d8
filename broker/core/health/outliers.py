"""Workers whose success rate for a command is far below that of the others that serve it.

Source: Envoy's success-rate outlier detection, with its constants; the minimum gap is ours. Only compares numbers;
ejection.py decides what happens to an outlier.
"""

from statistics import fmean, pstdev
from typing import Final

from ..fleet.command import Command
from ..fleet.worker import TRUSTED, Worker

DEVIATIONS: Final = 1.9
"""Standard deviations below the mean. Source: Envoy's success_rate_stdev_factor."""

WORKERS_COUNT_MIN: Final = 5
"""Fewer workers give no meaningful mean. Source: Envoy's success_rate_minimum_hosts."""

RESULTS_COUNT_MIN: Final = 100
"""Results of one worker since the last check, without those that its requesters may have caused; with fewer its rate is
chance. Source: Envoy's success_rate_request_volume."""

GAP_MIN: Final = 0.05
"""The minimum distance below the mean: if all others succeed at 99.9 %, a worker at 99.5 % is many deviations away, but
no problem."""

INTERVAL_S: Final = 10.0
"""The time between two checks of a command. Source: Envoy's interval."""


def outliers(command: Command) -> list[tuple[Worker, float, float]]:
    """The workers that fail far more often at `command` than others, each with its success rate and the mean. Starts
    counting recent results again for all workers that had enough of them."""
    pool = command.route.pool
    members = () if pool is None else pool.members
    rates: dict[Worker, float] = {}
    for worker in members:
        tally = worker.commands[command]
        certain_count = tally.certain_count
        if certain_count >= RESULTS_COUNT_MIN:
            rates[worker] = (tally.succeeded_count - tally.succeeded_before) / certain_count
            tally.look()
    if len(rates) < WORKERS_COUNT_MIN:
        return []
    mean = fmean(rates.values())
    bound = min(mean - DEVIATIONS * pstdev(rates.values()), mean - GAP_MIN)
    return [
        (worker, rate, mean) for worker, rate in rates.items() if rate < bound and worker.state in TRUSTED
    ]
