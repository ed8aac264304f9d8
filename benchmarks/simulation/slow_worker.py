"""Ten workers, one of them ten times slower: every strategy's tail, on the real core.

Late binding is what the broker does: a worker of concurrency 1 gets one assignment at a time, and other requests wait
in the broker. Early binding is what a balancer without a queue does: the worker accepts everything, and queues it
itself. Arrivals and demands are the same for all strategies of a seed, so that they differ in the choice alone.
"""

import random
from collections.abc import Sequence
from itertools import product
from statistics import median
from typing import Any, Final, NamedTuple

from taskferry.loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT

from .candidates import strategies_for
from .central_queue import central_responses
from .experiment import Bound, Experiment, Parameter, Result, Table, number, percentile, values_of
from .world import AFFINITIES, KEYS_COUNT, SimulatedRequester, SimulatedWorker, World, arrivals

SLOWNESS: Final = (*[1.0] * 9, 10.0)
CAPACITY: Final = sum(1 / slowness for slowness in SLOWNESS)
LOADS: Final = (0.6, 0.8)
PARETO_SHAPE: Final = 1.5
SERVICE_S: Final = 0.01
REQUESTS_COUNT: Final = 300_000
OTHERS_REQUESTS_COUNT: Final = 100_000
WARM_UP_SHARE: Final = 0.05
EARLY_CONCURRENCY: Final = 10_000
LATE: Final = "late"
EARLY: Final = "early"
CENTRAL: Final = "central queue"
FIGURES: Final = ("p50", "p99", "p99.9", "longest line")
RATIO_MAX: Final = 1.25


class Cell(NamedTuple):
    """One load and one distribution of service times."""

    load: float
    distribution: str

    @property
    def label(self) -> str:
        return f"{self.distribution}, load {self.load}"


CELLS: Final = [Cell(*pair) for pair in product(LOADS, ("exponential", "Pareto 1.5"))]


def run(seed: int, scale: float) -> Result:
    """Per cell and strategy the percentiles of the response in mean service times, and the longest line of requests."""
    figures: dict[str, float] = {}
    series: dict[str, list[float]] = {}
    for cell in CELLS:
        gaps, demands = work_of(cell, seed, int(REQUESTS_COUNT * scale))
        chance = random.Random(f"{seed} {cell.label} central").random
        responses, line = central_responses(gaps, demands, SLOWNESS, chance)
        _note(figures, series, cell, CENTRAL, responses, line)
        for strategy, binding in product(strategies_for(scale), (LATE, EARLY)):
            is_default = (strategy, binding) == (STRATEGY_DEFAULT, LATE)
            count = len(gaps) if is_default else int(OTHERS_REQUESTS_COUNT * scale)
            responses, line, lost_count = broker_responses(
                strategy, binding, gaps[:count], demands[:count], seed=seed
            )
            _note(figures, series, cell, f"{strategy}, {binding}", responses, line)
            if is_default:
                tail = figures[f"{cell.label}: {strategy}, {binding}: p99.9"]
                figures[ratio_of(cell)] = tail / figures[f"{cell.label}: {CENTRAL}: p99.9"]
                figures[failed_of(cell)] = lost_count
    return Result(figures, series)


def ratio_of(cell: Cell) -> str:
    """The name of the figure that is bounded."""
    return f"{cell.label}: p99.9, default / central"


def failed_of(cell: Cell) -> str:
    """The name of the count of requests that did not succeed."""
    return f"{cell.label}: failed requests"


def work_of(cell: Cell, seed: int, count: int) -> tuple[list[float], list[float]]:
    """Times between arrivals, and the demand of each request, in seconds; the same for every strategy."""
    chance = random.Random(f"{seed} {cell.label}")
    rate = cell.load * CAPACITY / SERVICE_S
    gaps = [chance.expovariate(rate) for _ in range(count)]
    if cell.distribution == "exponential":
        return gaps, [chance.expovariate(1 / SERVICE_S) for _ in range(count)]
    # A Pareto variate is at least 1, with a mean of shape / (shape - 1).
    scale_s = SERVICE_S * (PARETO_SHAPE - 1) / PARETO_SHAPE
    return gaps, [scale_s * chance.paretovariate(PARETO_SHAPE) for _ in range(count)]


def broker_responses(
    strategy: str, binding: str, gaps: Sequence[float], demands: Sequence[float], *, seed: int
) -> tuple[list[float], int, int]:
    """The same work through the real core: how long each request took, in order of arrival, the maximum length of the
    line, and how many failed."""
    is_early = binding == EARLY
    world = World(strategy, seed, in_flight_count_max=10**9)
    workers = [
        SimulatedWorker(
            world,
            f"w{index}",
            slowness=slowness,
            concurrency=EARLY_CONCURRENCY if is_early else 1,
            serial=True,
        )
        for index, slowness in enumerate(SLOWNESS)
    ]
    responses = [0.0] * len(gaps)
    line_max = failed_count = 0
    keys = random.Random(f"{seed} keys").choices(AFFINITIES, k=len(gaps))

    def answered(request_id: str, outcome: str) -> None:
        nonlocal failed_count
        index = int(request_id)
        responses[index] = world.now - responses[index]
        failed_count += outcome != "success"

    def send(index: int) -> None:
        nonlocal line_max
        responses[index] = world.now
        requester.send(str(index), demands[index], keys[index])
        if is_early:
            line = max([worker.session.in_flight_count for worker in workers]) - 1
        else:
            line = world.core.queue.count
        line_max = max(line_max, line)

    requester = SimulatedRequester(world, answered)
    arrivals(world, gaps, send)
    world.run()
    return responses, line_max, failed_count


def _note(  # noqa: PLR0917  together they are one row of the table
    figures: dict[str, float],
    series: dict[str, list[float]],
    cell: Cell,
    name: str,
    responses: Sequence[float],
    line: int,
) -> None:
    """Percentiles of the responses after the warm-up; for the plot their tail, at steps of equal ratio."""
    ordered = sorted(responses[int(len(responses) * WARM_UP_SHARE) :])
    for figure, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        figures[f"{cell.label}: {name}: {figure}"] = percentile(ordered, share) / SERVICE_S
    figures[f"{cell.label}: {name}: longest line"] = line
    series[f"{cell.label}: {name}"] = [
        percentile(ordered, 1 - 10 ** (-step / 10)) / SERVICE_S for step in range(TAIL_STEPS_COUNT)
    ]


TAIL_STEPS_COUNT: Final = 36
"""Tenths of a power of ten: the tail is drawn to one request in 4,000."""


def tables(results: Sequence[Result]) -> list[Table]:
    """Medians over the seeds, one table a cell."""
    names = [CENTRAL, *(f"{strategy}, {binding}" for binding in (LATE, EARLY) for strategy in STRATEGIES)]
    return [
        Table(
            f"{cell.label}, in mean service times (medians over the seeds)",
            ("strategy, binding", *FIGURES),
            [
                (
                    name,
                    *(
                        number(median(values_of(results, f"{cell.label}: {name}: {figure}")))
                        for figure in FIGURES
                    ),
                )
                for name in names
            ],
        )
        for cell in CELLS
    ]


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """The tail of each cell for the first seed: the share of requests that take longer."""
    shares = [10 ** (-step / 10) for step in range(TAIL_STEPS_COUNT)]
    names = [
        CENTRAL,
        f"{STRATEGY_DEFAULT}, {LATE}",
        *(f"{strategy}, {EARLY}" for strategy in ("least_loaded", "power_of_two", "round_robin", "random")),
    ]
    for axis, cell in zip(axes, CELLS, strict=True):
        for name in names:
            style = "--" if name == CENTRAL else "-"
            axis.plot(results[0].series[f"{cell.label}: {name}"], shares, style, label=name)
        axis.set(xscale="log", yscale="log", title=cell.label, xlim=(0.1, None))
        axis.set(xlabel="response, in mean service times", ylabel="share that takes longer")
    axes[0].legend(fontsize="small")


EXPERIMENT: Final = Experiment(
    name="slow-worker",
    title="One worker of ten is ten times slower",
    meaning=(
        "With late binding no request waits behind the slow worker, so every strategy is near the ideal central queue, "
        "and the default at or below it. Early binding shows the difference: blind strategies keep sending a tenth of "
        "all work to the slow worker, while least_loaded, by learned speed, sends it almost nothing; if service is "
        "exponential that even beats the central queue, which uses any idle worker."
    ),
    parameters=[
        Parameter(
            "workers", "nine of slowness 1, one of slowness 10", "the most common problem: one bad machine"
        ),
        Parameter("load", "0.6 and 0.8 of the capacity of 9.1", "a healthy and a busy service"),
        Parameter("service", "exponential and Pareto(1.5), mean 10 ms", "a light and a heavy tail"),
        Parameter(
            "requests",
            f"{REQUESTS_COUNT:,} for the bounded pair, {OTHERS_REQUESTS_COUNT:,} for others; the first 5 % not counted",
            "leaves 285 requests beyond p99.9",
        ),
        Parameter(
            "early binding",
            f"concurrency {EARLY_CONCURRENCY:,}, served one at a time",
            "the worker's own line",
        ),
        Parameter(
            "affinity keys", f"{KEYS_COUNT:,}, equally frequent", "for consistent_hash; others ignore them"
        ),
    ],
    run=run,
    bounds=[
        *(Bound(ratio_of(cell), "about 1 or less", high=RATIO_MAX) for cell in CELLS),
        *(Bound(failed_of(cell), "0", 0, 0) for cell in CELLS),
    ],
    plot=plot,
    plots_count=len(CELLS),
    tables=tables,
)
