"""A hundred workers at 90 % load: what each strategy costs compared with one central queue.

Workers queue by themselves, first in first out, and the strategy sees the exact in-flight counts, so that only the
choice is compared. Theory for many workers: central queue M/M/100 1.02 (Erlang C); power of two 2.61 in the
limit (Mitzenmacher 2001) and a little more for a hundred; round robin near D/M/1's 5.2; random M/M/1's 1 / (1 - rho).
"""

import random
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise
from statistics import median
from typing import Any, Final

from taskferry.loadbalance.registry import STRATEGIES

from .candidates import filled, strategies_for, strategy_of
from .central_queue import central_responses
from .experiment import Bound, Experiment, Parameter, Result, values_of

WORKERS_COUNT: Final = 100
LOAD: Final = 0.9
REQUESTS_COUNT: Final = 700_000
WARM_UP_SHARE: Final = 0.1
KEYS_COUNT: Final = 10_000

CENTRAL: Final = "central queue"
IN_ORDER: Final = (CENTRAL, "least_loaded", "power_of_two", "round_robin", "random")


def run(seed: int, scale: float) -> Result:
    """Mean responses in units of the mean service time."""
    count = int(REQUESTS_COUNT * scale)
    chance = random.Random(f"{seed} work")
    gaps = [chance.expovariate(WORKERS_COUNT * LOAD) for _ in range(count)]
    demands = [chance.expovariate(1.0) for _ in range(count)]
    warm_up_count = int(count * WARM_UP_SHARE)
    central, _ = central_responses(gaps, demands, [1.0] * WORKERS_COUNT, chance.random)
    figures = {CENTRAL: mean(central[warm_up_count:])}
    for name in {*IN_ORDER[1:], *strategies_for(scale)}:
        responses = _responses(name, gaps, demands, seed)
        figures[name] = mean(responses[warm_up_count:])
    steps = [figures[after] / figures[before] for before, after in pairwise(IN_ORDER)]
    figures["least step up in the order"] = min(steps)
    return Result(figures)


def _responses(name: str, gaps: Sequence[float], demands: Sequence[float], seed: int) -> list[float]:
    """How long each request took from its arrival to its end."""
    chance = random.Random(f"{seed} {name}").random
    strategy = strategy_of(name, chance)
    candidates = filled(strategy, WORKERS_COUNT)
    free_at = dict.fromkeys(candidates, 0.0)
    keys = [f"key {number}" for number in range(KEYS_COUNT)]
    pick, changed = strategy.pick, strategy.changed
    ends: list[tuple[float, int, Any]] = []
    responses: list[float] = []
    now = 0.0
    for number, gap in enumerate(gaps):
        now += gap
        while ends and ends[0][0] <= now:
            _, _, ended = heappop(ends)
            ended.in_flight_count -= 1
            changed(ended)
        candidate = pick(keys[int(chance() * KEYS_COUNT)])
        assert candidate is not None
        candidate.in_flight_count += 1
        changed(candidate)
        end = max(now, free_at[candidate]) + demands[number]
        free_at[candidate] = end
        heappush(ends, (end, number, candidate))
        responses.append(end - now)
    return responses


def mean(values: Sequence[float]) -> float:
    """Their arithmetic mean."""
    return sum(values) / len(values)


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Mean response of each strategy, with the range over the seeds."""
    names = sorted((CENTRAL, *STRATEGIES), key=lambda name: median(values_of(results, name)))
    middles = [median(values_of(results, name)) for name in names]
    below = [middle - min(values_of(results, name)) for middle, name in zip(middles, names, strict=True)]
    above = [max(values_of(results, name)) - middle for middle, name in zip(middles, names, strict=True)]
    axes[0].barh(names, middles, xerr=(below, above), capsize=3)
    axes[0].set(xscale="log", xlabel="mean response, in mean service times")
    axes[0].invert_yaxis()


_EXPECTED: Final = {
    # Exact for the central queue; the others allow for four standard deviations of a run of this length.
    CENTRAL: Bound(CENTRAL, "1.02", 1.01, 1.04),
    "least_loaded": Bound("least_loaded", "1.06", 1.03, 1.10),
    "power_of_two": Bound("power_of_two", "2.67", 2.5, 2.85),
    "round_robin": Bound("round_robin", "5.22", 4.7, 5.8),
    "random": Bound("random", "10 to 10.5", 9.0, 11.6),
}

EXPERIMENT: Final = Experiment(
    name="response-time",
    title="Mean response at 90 % load",
    meaning=(
        "least_loaded, which knows every in-flight count, comes within a few hundredths of the ideal central queue, "
        "even if workers queue by themselves. Sampling two costs more than twice as much, round robin five times, "
        "and random ten times."
    ),
    parameters=[
        Parameter("workers", str(WORKERS_COUNT), "a large pool, as in the literature's tables"),
        Parameter(
            "load", str(LOAD), "high enough that choices matter, low enough that random's mean settles"
        ),
        Parameter(
            "service", "exponential, mean 1", "the textbook's, so that the central queue is known exactly"
        ),
        Parameter(
            "requests",
            f"{REQUESTS_COUNT:,} per strategy, the first tenth not counted",
            "random's mean then varies by 2 % from seed to seed",
        ),
        Parameter(
            "affinity keys", f"{KEYS_COUNT:,}, equally frequent", "for consistent_hash; others ignore them"
        ),
    ],
    run=run,
    bounds=[
        *_EXPECTED.values(),
        *(Bound(name, "") for name in STRATEGIES if name not in _EXPECTED),
        Bound(
            "least step up in the order", "central <= least_loaded < power_of_two < round_robin < random", 1.0
        ),
    ],
    plot=plot,
)
