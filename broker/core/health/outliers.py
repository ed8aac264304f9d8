"""Workers whose success rate for a command is far below that of the others who serve it.

Source: Envoy's success-rate outlier detection, with its constants; the least gap is ours. Compares numbers; what is
done with an outlier is ejection.py's business.
"""

from statistics import fmean, pstdev
from typing import Final

from ..fleet.command import Command
from ..fleet.worker import TRUSTED, Worker

DEVIATIONS: Final = 1.9
"""Standard deviations below the mean. Source: Envoy's success_rate_stdev_factor."""

WORKERS_COUNT_MIN: Final = 5
"""With fewer there is no mean to speak of. Source: Envoy's success_rate_minimum_hosts."""

RESULTS_COUNT_MIN: Final = 100
"""Of one worker since the last look; with fewer its rate is chance. Source: Envoy's success_rate_request_volume."""

GAP_MIN: Final = 0.05
"""Below the mean at least: where all succeed at 99.9 %, one with 99.5 % is many deviations away and no trouble."""

INTERVAL_S: Final = 10.0
"""Between two looks at a command. Source: Envoy's interval."""


def outliers(command: Command) -> list[tuple[Worker, float, float]]:
    """The workers that fail at `command` as others do not, each with its success rate and the mean. What is recent
    begins anew for those that were looked at."""
    pool = command.route.pool
    members = () if pool is None else pool.members
    rates: dict[Worker, float] = {}
    for worker in members:
        tally = worker.commands[command]
        recent_count = tally.recent_count
        if recent_count >= RESULTS_COUNT_MIN:
            rates[worker] = (tally.succeeded_count - tally.succeeded_before) / recent_count
            tally.look()
    if len(rates) < WORKERS_COUNT_MIN:
        return []
    mean = fmean(rates.values())
    bound = min(mean - DEVIATIONS * pstdev(rates.values()), mean - GAP_MIN)
    return [
        (worker, rate, mean) for worker, rate in rates.items() if rate < bound and worker.state in TRUSTED
    ]
