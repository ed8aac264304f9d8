"""Balls in bins: a million assignments, none of which ends, over a million workers. How high is the highest pile?

The textbook test of a sampling strategy. Source: Azar, Broder, Karlin and Upfal, "Balanced Allocations" (1994), and
Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001): the maximum is near log n / log log n for
one choice and log log n / log d + O(1) for d choices.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from .candidates import filled, strategy_of
from .experiment import Bound, Experiment, Parameter, Result

BINS_COUNT: Final = 1_000_000
STRATEGIES_SHOWN: Final = {
    "d = 1 (random)": "random",
    "d = 2 (power_of_two)": "power_of_two",
    "d = 3 (power_of_two with 3 choices)": "power_of_three",
    "all seen (least_loaded)": "least_loaded",
}


def run(seed: int, scale: float) -> Result:
    """The maximum load, and how many bins have each load."""
    count = int(BINS_COUNT * scale)
    figures: dict[str, float] = {}
    series: dict[str, list[float]] = {}
    for label, name in STRATEGIES_SHOWN.items():
        strategy = strategy_of(name, random.Random(f"{seed} {name}").random)
        candidates = filled(strategy, count)
        pick, changed = strategy.pick, strategy.changed
        for _ in range(count):
            candidate = pick(None)
            assert candidate is not None
            candidate.in_flight_count += 1
            changed(candidate)
        bins_by_load = Counter(candidate.in_flight_count for candidate in candidates)
        figures[label] = max(bins_by_load)
        series[label] = [float(bins_by_load[load]) for load in range(max(bins_by_load) + 1)]
    return Result(figures, series)


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Bins by load for the first seed, on a logarithmic scale."""
    for label, bins in results[0].series.items():
        axes[0].plot(range(len(bins)), bins, marker="o", label=label)
    axes[0].set(yscale="log", xlabel="load of a bin", ylabel="bins")
    axes[0].legend()


EXPERIMENT: Final = Experiment(
    name="balls-in-bins",
    title="Balls in bins",
    meaning=(
        "Sampling a second candidate lowers the highest pile from 9 to 4, a third one only from 4 to 3: two are worth "
        "it, more hardly. A strategy that sees all in-flight counts keeps the pile at 1."
    ),
    parameters=[
        Parameter(
            "bins and balls", f"{BINS_COUNT:,} each", "the size for which the literature gives 9 / 4 / 3"
        )
    ],
    run=run,
    bounds=[
        Bound("d = 1 (random)", "9 +- 1", 8, 10),
        Bound("d = 2 (power_of_two)", "4 +- 1", 3, 5),
        Bound("d = 3 (power_of_two with 3 choices)", "3 +- 1", 2, 4),
        Bound("all seen (least_loaded)", "1", 1, 1),
    ],
    plot=plot,
)
