"""A worker that fails every request at once is always idle, so the least loaded: without health checks it gets all
work.

Another never answers at all. How many requests does each of them get before it gets no more?
"""

import random
from collections.abc import Sequence
from typing import Any, Final

from taskferry.loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT

from .candidates import strategies_for
from .experiment import Bound, Experiment, Parameter, Result, Table, spread
from .world import AFFINITIES, START_S, SimulatedRequester, SimulatedWorker, World, arrivals

WORKERS_COUNT: Final = 10
CONCURRENCY: Final = 4
SERVICE_S: Final = 0.05
LOAD: Final = 0.6
RATE_PER_S: Final = LOAD * (WORKERS_COUNT - 1) * CONCURRENCY / SERVICE_S
DURATION_S: Final = 600.0
OTHERS_DURATION_S: Final = 200.0
TIMEOUT_S: Final = 5.0
SHARE_MAX: Final = 0.001
WINDOW_S: Final = 5.0

FAILING: Final = "disk full"
NEVER: Final = float("inf")

SHARE: Final = "fails at once: share of requests"
SILENT_SHARE: Final = "never answers: share of requests"
LOST: Final = "fails at once: requests that failed, share"


def run(seed: int, scale: float) -> Result:
    """The bad worker's share of all requests."""
    figures: dict[str, float] = {}
    figures[SHARE], figures[LOST], counts = _shares(STRATEGY_DEFAULT, seed, DURATION_S * scale)
    figures[SILENT_SHARE], _, _ = _shares(STRATEGY_DEFAULT, seed, DURATION_S * scale, is_silent=True)
    for strategy in strategies_for(scale):
        figures[share_of(strategy)], _, _ = _shares(strategy, seed, OTHERS_DURATION_S * scale)
    return Result(figures, {"black hole": counts})


def share_of(strategy: str) -> str:
    """The name of the figure of one strategy."""
    return f"{strategy}: share"


def _shares(
    strategy: str, seed: int, duration_s: float, *, is_silent: bool = False
) -> tuple[float, float, list[float]]:
    """The bad worker's share of all assignments, the share of requests that failed, and its assignments per window."""
    chance = random.Random(f"{seed} black hole")
    world = World(strategy, seed)
    workers = [SimulatedWorker(world, f"w{index}", concurrency=CONCURRENCY) for index in range(WORKERS_COUNT)]
    bad = workers[0]
    if is_silent:
        bad.slowness = NEVER
    else:
        bad.instant_failure = FAILING
    counts = [0.0] * (int(duration_s / WINDOW_S) + 1)
    failed_count = 0

    def assigned(request: Any, worker: SimulatedWorker) -> None:
        if worker is bad:
            counts[int((world.now - START_S) / WINDOW_S)] += 1

    def answered(request_id: str, outcome: str) -> None:
        nonlocal failed_count
        failed_count += outcome != "success"

    world.assigned = assigned
    requester = SimulatedRequester(world, answered, timeout_s=TIMEOUT_S)
    gaps = [chance.expovariate(RATE_PER_S) for _ in range(int(RATE_PER_S * duration_s))]

    def send(number: int) -> None:
        requester.send(str(number), chance.expovariate(1 / SERVICE_S), chance.choice(AFFINITIES))

    arrivals(world, gaps, send)
    world.run(START_S + duration_s)
    assigned_count = sum(worker.assigned_count for worker in workers)
    return bad.assigned_count / assigned_count, failed_count / len(gaps), counts


def tables(results: Sequence[Result]) -> list[Table]:
    """Every strategy's share, over a shorter time."""
    return [
        Table(
            f"The black hole's share of requests in the first {OTHERS_DURATION_S:g} s, by strategy",
            ("strategy", "share"),
            [(strategy, spread(results, share_of(strategy))) for strategy in STRATEGIES],
        )
    ]


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Assignments to the black hole over time, for the first seed."""
    counts = results[0].series["black hole"]
    axes[0].bar([index * WINDOW_S for index in range(len(counts))], counts, width=WINDOW_S)
    fair = RATE_PER_S * WINDOW_S / WORKERS_COUNT
    axes[0].set(xlabel="seconds", ylabel=f"its assignments in {WINDOW_S:g} s (a fair share is {fair:g})")


EXPERIMENT: Final = Experiment(
    name="black-hole",
    title="A black hole among ten workers",
    meaning=(
        "A worker that fails at once is ejected after its first few failures, and then gets one probe at growing "
        "intervals. One that never answers costs no more than its slots, because they stay taken."
    ),
    parameters=[
        Parameter(
            "workers", f"{WORKERS_COUNT} of concurrency {CONCURRENCY}, one of them bad", "a small pool"
        ),
        Parameter(
            "service", f"exponential, mean {SERVICE_S:g} s", "so short that a black hole could take thousands"
        ),
        Parameter("load", f"{LOAD} of what the nine can do", "idle slots that a black hole can take"),
        Parameter("time", f"{DURATION_S:g} s, timeout {TIMEOUT_S:g} s", "five ejections of growing length"),
    ],
    run=run,
    bounds=[
        Bound(SHARE, "far below 0.001", high=SHARE_MAX),
        Bound(SILENT_SHARE, "far below 0.001", high=SHARE_MAX),
        Bound(LOST, "its share", high=SHARE_MAX),
    ],
    plot=plot,
    tables=tables,
)
