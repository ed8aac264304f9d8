"""A worker becomes ten times slower, and later recovers: how soon is it found, unloaded, and trusted again?

It answers everything without failures: only its durations reveal it (`taskferry.broker.core.health.speed`).
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from taskferry.broker.core.request import Request
from taskferry.loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT

from .candidates import strategies_for
from .experiment import Bound, Experiment, Parameter, Result, Table, percentile, spread
from .world import AFFINITIES, START_S, SimulatedRequester, SimulatedWorker, World, arrivals

WORKERS_COUNT: Final = 10
CONCURRENCY: Final = 4
SERVICE_S: Final = 0.05
LOAD: Final = 0.6
RATE_PER_S: Final = LOAD * WORKERS_COUNT * CONCURRENCY / SERVICE_S
SLOWNESS: Final = 10.0
SLOW_AT_S: Final = 60
WELL_AT_S: Final = 140
END_S: Final = 220
FAIR_SHARE: Final = 1 / WORKERS_COUNT
SETTLED_S: Final = 10
RUN_S: Final = 5
"""The mean share over this many seconds counts: a single second is too random."""

SPEED_FOUND: Final = 0.5
TRUSTED_SHARE: Final = 0.8

UNLOADED: Final = "unloaded: s until its share is under half of a fair one"
FOUND: Final = "found: s until its learned speed is 0.5 or less"
SLOW_SHARE: Final = "its share of requests while slow"
TRUSTED: Final = "trusted again: s until its share is over 80 % of a fair one"
BEFORE_SHARE: Final = "its share before"
AFTER_SHARE: Final = "its share in the last minute"
TAIL_RATIO: Final = "p99 of all requests while slow, against before"


def run(seed: int, scale: float) -> Result:
    """Shares and times by strategy. A `scale` below 1 leaves out strategies, but shortens nothing."""
    shares, default_figures = _slowdown(STRATEGY_DEFAULT, seed)
    figures = dict(default_figures)
    for strategy in strategies_for(scale):
        is_default = strategy == STRATEGY_DEFAULT
        own = default_figures if is_default else _slowdown(strategy, seed)[1]
        figures |= {figure_of(strategy, name): value for name, value in own.items()}
    return Result(figures, {"shares": shares})


def figure_of(strategy: str, figure: str) -> str:
    """The name of a figure of one strategy."""
    return f"{strategy}: {figure}"


def _slowdown(strategy: str, seed: int) -> tuple[list[float], dict[str, float]]:
    """The share of the worker, second by second, and the figures from it."""
    chance = random.Random(f"{seed} slowdown")
    world = World(strategy, seed)
    workers = [SimulatedWorker(world, f"w{index}", concurrency=CONCURRENCY) for index in range(WORKERS_COUNT)]
    slow = workers[0]
    counts, all_counts = [0] * (END_S + 1), [0] * (END_S + 1)
    sent_at: dict[str, float] = {}
    responses: tuple[list[float], list[float], list[float]] = ([], [], [])

    def assigned(request: Request, worker: SimulatedWorker) -> None:
        second = int(world.now - START_S)
        all_counts[second] += 1
        counts[second] += worker is slow

    def answered(request_id: str, outcome: str) -> None:
        at = sent_at.pop(request_id)
        phase = (at >= START_S + SLOW_AT_S) + (at >= START_S + WELL_AT_S)
        responses[phase].append(world.now - at)

    def send(number: int) -> None:
        sent_at[str(number)] = world.now
        requester.send(str(number), chance.expovariate(1 / SERVICE_S), chance.choice(AFFINITIES))

    world.assigned = assigned
    requester = SimulatedRequester(world, answered)
    gaps = [chance.expovariate(RATE_PER_S) for _ in range(int(RATE_PER_S * END_S))]
    arrivals(world, gaps, send)
    speeds: list[float] = []
    for second in range(END_S):
        world.at(START_S + second, lambda _: speeds.append(slow.session.speed))
    world.at(START_S + SLOW_AT_S, lambda _: setattr(slow, "slowness", SLOWNESS))
    world.at(START_S + WELL_AT_S, lambda _: setattr(slow, "slowness", 1.0))
    world.run(START_S + END_S)
    shares = [count / max(1, total) for count, total in zip(counts, all_counts, strict=True)]
    means = [_mean(shares[at : at + RUN_S]) for at in range(END_S - RUN_S)]
    before, during = sorted(responses[0]), sorted(responses[1])
    return shares, {
        BEFORE_SHARE: _mean(shares[SETTLED_S:SLOW_AT_S]),
        UNLOADED: _seconds_until(means, SLOW_AT_S, lambda share: share < FAIR_SHARE / 2),
        FOUND: _seconds_until(speeds, SLOW_AT_S, lambda speed: speed <= SPEED_FOUND),
        SLOW_SHARE: _mean(shares[SLOW_AT_S + SETTLED_S : WELL_AT_S]),
        TRUSTED: _seconds_until(means, WELL_AT_S, lambda share: share > TRUSTED_SHARE * FAIR_SHARE),
        AFTER_SHARE: _mean(shares[END_S - 60 : END_S]),
        TAIL_RATIO: percentile(during, 0.99) / percentile(before, 0.99),
    }


def _seconds_until(values: Sequence[float], start: int, is_there: Callable[[float], bool]) -> float:
    """Seconds from `start` to the first value that satisfies `is_there`; infinite if there is none."""
    return next((float(at - start) for at in range(start, len(values)) if is_there(values[at])), float("inf"))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def tables(results: Sequence[Result]) -> list[Table]:
    """Every strategy's figures."""
    figures = (UNLOADED, FOUND, SLOW_SHARE, TRUSTED, AFTER_SHARE, TAIL_RATIO)
    return [
        Table(
            "The slow worker by strategy",
            ("strategy", *figures),
            [
                (strategy, *(spread(results, figure_of(strategy, figure)) for figure in figures))
                for strategy in STRATEGIES
            ],
        )
    ]


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Its share over time, for every seed."""
    for result in results:
        shares = result.series["shares"]
        axes[0].plot([_mean(shares[at : at + RUN_S]) for at in range(END_S - RUN_S)], linewidth=1)
    axes[0].axhline(FAIR_SHARE, linestyle="--", label="fair share")
    axes[0].axvspan(SLOW_AT_S, WELL_AT_S, alpha=0.1, label="ten times slower")
    axes[0].set(xlabel="seconds", ylabel="its share of requests", ylim=(0, None))
    axes[0].legend()


EXPERIMENT: Final = Experiment(
    name="slowdown",
    title="A worker becomes ten times slower, and well again",
    meaning=(
        "Its durations reveal a slow worker within seconds. It keeps a small share, within what it can handle, which "
        "is enough to detect when it has recovered. Then it gets its full share back, without any intervention."
    ),
    parameters=[
        Parameter(
            "workers",
            f"{WORKERS_COUNT} of concurrency {CONCURRENCY}",
            "a few slots each, as I/O-bound workers have",
        ),
        Parameter(
            "service",
            f"exponential, mean {SERVICE_S:g} s",
            "its deviation is as large as its mean: hard to learn from",
        ),
        Parameter("load", str(LOAD), "there is room to leave out a worker"),
        Parameter(
            "time",
            f"slow from {SLOW_AT_S} s to {WELL_AT_S} s of {END_S} s",
            "after a minute; then longer than the broker remembers speed",
        ),
    ],
    run=run,
    bounds=[
        Bound(BEFORE_SHARE, "0.1", 0.08, 0.12),
        Bound(UNLOADED, "at once, by its in-flight count", high=2.0),
        Bound(FOUND, "a few seconds", high=10.0),
        Bound(SLOW_SHARE, "at most what it can handle: 0.011", high=0.02),
        Bound(TRUSTED, "within a minute", high=60.0),
        Bound(AFTER_SHARE, "0.1", 0.08, 0.12),
        Bound(TAIL_RATIO, "about 1"),
    ],
    plot=plot,
    tables=tables,
)
