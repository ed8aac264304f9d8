"""All workers lose their links within a second, and come back: is there a storm of retries?

All requests are idempotent, so every one of them may be assigned again. It happens again and again, as with a network
that flaps, or a deployment that crashes its workers.
"""

import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from taskferry.broker.core.delivery.budget import RESERVE_COUNT, TURN_S
from taskferry.broker.core.settings import CoreSettings

from .experiment import Bound, Experiment, Parameter, Result
from .world import START_S, SimulatedRequester, SimulatedWorker, World, arrivals

WORKERS_COUNT: Final = 10
CONCURRENCY: Final = 100
SERVICE_S: Final = 20.0
LOAD: Final = 0.6
RATE_PER_S: Final = LOAD * WORKERS_COUNT * CONCURRENCY / SERVICE_S
REQUESTERS_COUNT: Final = 20
LOSSES_COUNT: Final = 20
INTERVAL_S: Final = 30.0
SPREAD_S: Final = 1.0
AWAY_S: Final = 3.0
TIMEOUT_S: Final = 300.0
ASSIGNMENTS_MAX: Final = 1.2
RETRIES_SHARE_MAX: Final = CoreSettings().retries_share_max
LOOK_SLACK_S: Final = 1.0
"""The budget starts a new turn when it is next used, which may be this much later."""

ASSIGNMENTS: Final = "assignments for each request that was assigned"
ASSIGNMENTS_ONE: Final = "assignments of one request, most"
BUDGET: Final = f"{RETRIES_SHARE_MAX:.0%} of the requests of {2 * TURN_S:g} s and {RESERVE_COUNT}"
EXCESS: Final = f"retries in {TURN_S:g} s over {BUDGET}"
SUCCEEDED: Final = "requests that succeeded, share"
LIVE_SHARE: Final = "live retries, share of live requests, most at any time"


def run(seed: int, scale: float) -> Result:
    """Assignments per request, and the most retries within a short time."""
    chance = random.Random(f"{seed} loss")
    losses_count = max(2, round(LOSSES_COUNT * scale))
    end_s = losses_count * INTERVAL_S
    world = World("least_loaded", seed)
    workers = [SimulatedWorker(world, f"w{index}", concurrency=CONCURRENCY) for index in range(WORKERS_COUNT)]
    assignments: Counter[str] = Counter()
    live_retries: dict[str, int] = {}
    outcomes: Counter[str] = Counter()
    sent_at: list[float] = []
    retried_at: list[float] = []
    live_shares: list[float] = []

    def assigned(request: Any, worker: SimulatedWorker) -> None:
        assignments[request.call.request_id] += 1
        if request.retries_count > live_retries.get(request.call.request_id, 0):
            live_retries[request.call.request_id] = request.retries_count
            retried_at.append(world.now)
            live_shares.append(len(live_retries) / world.core.counts.in_flight_count)

    def answered(request_id: str, outcome: str) -> None:
        outcomes[outcome] += 1
        live_retries.pop(request_id, None)

    def send(number: int) -> None:
        sent_at.append(world.now)
        requesters[number % REQUESTERS_COUNT].send(str(number), chance.expovariate(1 / SERVICE_S))

    world.assigned = assigned
    requesters = [
        SimulatedRequester(world, answered, idempotent=True, timeout_s=TIMEOUT_S)
        for _ in range(REQUESTERS_COUNT)
    ]
    gaps = [chance.expovariate(RATE_PER_S) for _ in range(int(RATE_PER_S * end_s))]
    arrivals(world, gaps, send)
    for loss in range(losses_count):
        for worker in workers:
            at = START_S + (loss + 0.5) * INTERVAL_S + chance.uniform(0, SPREAD_S)
            world.at(at, lambda lost: lost.lose(), worker)
            world.at(at + AWAY_S, lambda lost: lost.join(), worker)
    world.run(START_S + end_s)
    answered_count = sum(outcomes.values())
    figures = {
        ASSIGNMENTS: sum(assignments.values()) / len(assignments),
        ASSIGNMENTS_ONE: max(assignments.values()),
        EXCESS: _excess(retried_at, sent_at),
        LIVE_SHARE: max(live_shares, default=0.0),
        SUCCEEDED: outcomes["success"] / answered_count,
    }
    for outcome in ("worker_lost", "no_available_workers", "overloaded", "timeout"):
        figures[share_of(outcome)] = outcomes[outcome] / answered_count
    seconds = range(int(end_s))
    return Result(
        figures,
        {
            "retries": [float(_count(retried_at, START_S + at, START_S + at + 1)) for at in seconds],
            "requests": [float(_count(sent_at, START_S + at, START_S + at + 1)) for at in seconds],
        },
    )


def _count(times: Sequence[float], start: float, end: float) -> int:
    """How many of the ordered times are between the two, inclusive."""
    return bisect_right(times, end) - bisect_left(times, start)


def _excess(retried_at: Sequence[float], sent_at: Sequence[float]) -> float:
    """By how many, at the worst moment, the latest turn's retries exceed what the requests of two turns allow."""
    worst = 0.0
    for at in retried_at:
        requests_count = _count(sent_at, at - 2 * TURN_S - LOOK_SLACK_S, at)
        allowed = RESERVE_COUNT + RETRIES_SHARE_MAX * requests_count
        worst = max(worst, _count(retried_at, at - TURN_S, at) - allowed)
    return worst


def share_of(outcome: str) -> str:
    """The name of the figure of an outcome."""
    return f"requests that ended as {outcome}, share"


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Requests and retries second by second, for the first seed."""
    series = results[0].series
    axes[0].plot(series["requests"], linewidth=0.8, label="requests")
    axes[0].plot(series["retries"], label="retries")
    axes[0].set(xlabel="seconds", ylabel="a second", ylim=(0, None))
    axes[0].legend()


EXPERIMENT: Final = Experiment(
    name="worker-loss",
    title="All workers are lost, and return",
    meaning=(
        "The first workers to go leave their requests to the others, which are soon gone too: without a budget every "
        "request would go round the whole fleet. With it few are assigned twice, and those that may not be retried "
        "fail at once."
    ),
    parameters=[
        Parameter(
            "workers",
            f"{WORKERS_COUNT} of concurrency {CONCURRENCY}",
            "about 450 requests are running when a loss comes",
        ),
        Parameter(
            "service, load",
            f"exponential, mean {SERVICE_S:g} s; {LOAD}",
            "long work: more is lost than the budget allows to retry",
        ),
        Parameter(
            "losses",
            f"{LOSSES_COUNT}, every {INTERVAL_S:g} s: all within {SPREAD_S:g} s, each for {AWAY_S:g} s",
            "close enough for retries to add up, which is when storms begin",
        ),
        Parameter("requests", f"all idempotent, timeout {TIMEOUT_S:g} s", "so that every one may be retried"),
    ],
    run=run,
    bounds=[
        Bound(ASSIGNMENTS, "little above 1", high=ASSIGNMENTS_MAX),
        Bound(ASSIGNMENTS_ONE, "1 and the retries allowed", high=1.0 + CoreSettings().retries_count_max),
        Bound(EXCESS, "none (0)", high=0),
        Bound(LIVE_SHARE, "more than 20 %, once the others have failed"),
        Bound(SUCCEEDED, ""),
        Bound(share_of("worker_lost"), ""),
        Bound(share_of("no_available_workers"), "arrivals while all are away"),
        Bound(share_of("overloaded"), ""),
        Bound(share_of("timeout"), ""),
    ],
    plot=plot,
)
