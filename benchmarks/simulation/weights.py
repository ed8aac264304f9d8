"""Weights: does every worker get exactly the share that was promised?

Source: smooth weighted round robin is nginx's (ngx_http_upstream_round_robin.c, 2012), whose comment gives the sequence
for {5, 1, 1}.
"""

import random
from collections.abc import Sequence
from typing import Any, Final

from .candidates import filled, strategy_of
from .experiment import Bound, Experiment, Parameter, Result

SMOOTH_WEIGHTS: Final = (5.0, 1.0, 1.0)
SMOOTH_SEQUENCE: Final = "aabacaa"
WEIGHTS: Final = (5.0, 3.0, 1.0, 1.0, 0.5)
PICKS_COUNT: Final = 500_000
SIGMAS_MAX: Final = 3.0
WEIGHTED: Final = ("weighted_random", "weighted_round_robin")

SEQUENCE: Final = "{5,1,1} gives a a b a c a a"


def run(seed: int, scale: float) -> Result:
    """Whether the smooth sequence is exact, and by how many standard deviations shares miss their weights."""
    figures = {SEQUENCE: float(_smooth_sequence(3) == 3 * SMOOTH_SEQUENCE)}
    series: dict[str, list[float]] = {}
    for name in WEIGHTED:
        series[name] = _deviations(name, seed, int(PICKS_COUNT * scale))
        figures[sigmas_of(name)] = max(abs(deviation) for deviation in series[name])
    return Result(figures, series)


def sigmas_of(name: str) -> str:
    """The name of the figure of a strategy's shares."""
    return f"{name}: worst share, in sigmas off"


def _smooth_sequence(rounds_count: int) -> str:
    strategy = strategy_of("weighted_round_robin", random.Random(1).random)
    filled(strategy, len(SMOOTH_WEIGHTS), SMOOTH_WEIGHTS)
    picked = [strategy.pick(None) for _ in range(rounds_count * len(SMOOTH_SEQUENCE))]
    return "".join(candidate.worker_id for candidate in picked if candidate is not None)


def _deviations(name: str, seed: int, count: int) -> list[float]:
    """How far each share is from its weight's, in standard deviations of independent picks."""
    strategy = strategy_of(name, random.Random(f"{seed} {name}").random)
    candidates = filled(strategy, len(WEIGHTS), WEIGHTS)
    picks_counts = dict.fromkeys(candidates, 0)
    for _ in range(count):
        picked = strategy.pick(None)
        assert picked is not None
        picks_counts[picked] += 1
    total = sum(WEIGHTS)
    deviations: list[float] = []
    for candidate in candidates:
        share = candidate.weight / total
        deviations.append((picks_counts[candidate] - count * share) / (count * share * (1 - share)) ** 0.5)
    return deviations


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Each candidate's deviation, for every seed."""
    for name, marker in zip(WEIGHTED, "ox", strict=True):
        for number, result in enumerate(results):
            deviations = result.series[name]
            axes[0].plot(
                deviations,
                range(len(deviations)),
                f"C{WEIGHTED.index(name)}{marker}",
                label="" if number else name,
            )
    axes[0].set_yticks(range(len(WEIGHTS)), [f"weight {weight:g}" for weight in WEIGHTS])
    axes[0].set(xlabel="share less its weight's, in sigmas", xlim=(-SIGMAS_MAX, SIGMAS_MAX))
    axes[0].legend()


EXPERIMENT: Final = Experiment(
    name="weights",
    title="Weights",
    meaning=(
        "Smooth turns repeat nginx's sequence exactly, so a heavy worker never gets five requests in a row. "
        "Weighted random picks stay within statistical scatter; weighted turns do not deviate at all."
    ),
    parameters=[
        Parameter("smooth weights", "5, 1, 1", "nginx's own example, three rounds of it"),
        Parameter(
            "weights",
            ", ".join(f"{weight:g}" for weight in WEIGHTS),
            f"uneven, two equal, one below 1; {PICKS_COUNT:,} picks",
        ),
        Parameter("sigma", "that of independent picks", "the square root of n p (1 - p)"),
    ],
    run=run,
    bounds=[
        Bound(SEQUENCE, "yes (1)", 1, 1),
        Bound(sigmas_of("weighted_random"), "below 3", high=SIGMAS_MAX),
        Bound(sigmas_of("weighted_round_robin"), "near 0", high=SIGMAS_MAX),
    ],
    plot=plot,
)
