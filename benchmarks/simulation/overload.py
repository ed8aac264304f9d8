"""Twice the capacity for five minutes, then back to normal: how much useful work is done, and how soon is it over?

"Useful" is a success before the deadline. The rules under test are in `taskferry.broker.core.queue.overload`.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from .experiment import Bound, Experiment, Parameter, Result
from .world import START_S, SimulatedRequester, SimulatedWorker, World, arrivals

WORKERS_COUNT: Final = 10
SERVICE_S: Final = 0.05
CAPACITY_PER_S: Final = WORKERS_COUNT / SERVICE_S
REQUESTERS_COUNT: Final = 20
NORMAL_LOAD: Final = 0.7
OVERLOAD: Final = 2.0
BEFORE_S: Final = 60.0
OVERLOAD_S: Final = 300.0
AFTER_S: Final = 60.0
TIMEOUTS_S: Final = (0.5, 5.0, 30.0)
GOODPUT_MIN: Final = 0.9
RECOVERY_S_MAX: Final = 10.0
NORMAL_SECONDS_COUNT: Final = 3
"""Seconds in a row that must be normal before it counts as recovered."""


def run(seed: int, scale: float) -> Result:
    """Goodput and recovery for each timeout, and what each second saw."""
    figures: dict[str, float] = {}
    series: dict[str, list[float]] = {}
    for timeout_s in TIMEOUTS_S:
        _overload(seed, OVERLOAD_S * scale, timeout_s, figures, series)
    return Result(figures, series)


def goodput_of(timeout_s: float) -> str:
    """The names of the figures."""
    return f"timeout {timeout_s:g} s: goodput under overload, share of capacity"


def recovery_of(timeout_s: float) -> str:
    """From the end of the overload until new requests wait no longer than before it."""
    return f"timeout {timeout_s:g} s: recovery, s"


def shed_of(timeout_s: float) -> str:
    """Requests that were rejected with a time to come back."""
    return f"timeout {timeout_s:g} s: answered `overloaded`, share of the overload's requests"


def expired_of(timeout_s: float) -> str:
    """Requests whose deadline passed."""
    return f"timeout {timeout_s:g} s: answered `timeout`, share of the overload's requests"


def _overload(
    seed: int,
    overload_s: float,
    timeout_s: float,
    figures: dict[str, float],
    series: dict[str, list[float]],
) -> None:
    chance = random.Random(f"{seed} overload")
    begins_at, ends_at = START_S + BEFORE_S, START_S + BEFORE_S + overload_s
    closes_at = ends_at + AFTER_S
    gaps = _gaps(chance, overload_s)
    demands = [chance.expovariate(1 / SERVICE_S) for _ in gaps]
    world = World("least_loaded", seed)
    for index in range(WORKERS_COUNT):
        SimulatedWorker(world, f"w{index}", serial=True)
    sent_at: dict[str, float] = {}
    started_at: dict[str, float] = {}
    successes_by_second: defaultdict[int, int] = defaultdict(int)
    waits_by_second: defaultdict[int, list[float]] = defaultdict(list)
    outcomes: defaultdict[str, int] = defaultdict(int)
    world.assigned = lambda request, worker: started_at.__setitem__(request.call.request_id, world.now)

    def answered(request_id: str, outcome: str) -> None:
        sent = sent_at.pop(request_id)
        if outcome == "success":
            successes_by_second[int(world.now - START_S)] += 1
        wait_s = started_at.pop(request_id, sent + timeout_s) - sent
        waits_by_second[int(sent - START_S)].append(wait_s if outcome == "success" else timeout_s)
        if begins_at <= sent < ends_at:
            outcomes[outcome] += 1

    requesters = [SimulatedRequester(world, answered, timeout_s=timeout_s) for _ in range(REQUESTERS_COUNT)]

    def send(number: int) -> None:
        sent_at[str(number)] = world.now
        requesters[number % REQUESTERS_COUNT].send(str(number), demands[number])

    arrivals(world, gaps, send)
    world.run(closes_at + timeout_s)
    under_load = range(int(BEFORE_S), int(BEFORE_S + overload_s))
    successes_count = sum(successes_by_second[second] for second in under_load)
    count = sum(outcomes.values())
    mean_waits = [
        sum(waits_by_second[second]) / max(1, len(waits_by_second[second]))
        for second in range(int(BEFORE_S + overload_s + AFTER_S))
    ]
    figures[goodput_of(timeout_s)] = successes_count / (len(under_load) * CAPACITY_PER_S)
    figures[recovery_of(timeout_s)] = _recovery_s(mean_waits, int(BEFORE_S + overload_s))
    figures[shed_of(timeout_s)] = outcomes["overloaded"] / count
    figures[expired_of(timeout_s)] = outcomes["timeout"] / count
    series[f"waits {timeout_s:g}"] = mean_waits
    series[f"successes {timeout_s:g}"] = [
        float(successes_by_second[second]) for second in range(len(mean_waits))
    ]


def _gaps(chance: random.Random, overload_s: float) -> list[float]:
    gaps: list[float] = []
    now = 0.0
    while now < BEFORE_S + overload_s + AFTER_S:
        is_over = BEFORE_S <= now < BEFORE_S + overload_s
        gaps.append(chance.expovariate((OVERLOAD if is_over else NORMAL_LOAD) * CAPACITY_PER_S))
        now += gaps[-1]
    return gaps


def _recovery_s(mean_waits: Sequence[float], ended: int) -> float:
    """Seconds until the first of some seconds in a row whose requests waited, on average, no longer than those of the
    worst second before the overload."""
    normal_s = max(mean_waits[: int(BEFORE_S)])
    for second in range(ended, len(mean_waits) - NORMAL_SECONDS_COUNT):
        if max(mean_waits[second : second + NORMAL_SECONDS_COUNT]) <= normal_s:
            return float(second - ended)
    return float("inf")


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Goodput and waits second by second, for the first seed."""
    for timeout_s in TIMEOUTS_S:
        successes = results[0].series[f"successes {timeout_s:g}"]
        axes[0].plot([count / CAPACITY_PER_S for count in successes], label=f"timeout {timeout_s:g} s")
        axes[1].plot(results[0].series[f"waits {timeout_s:g}"], label=f"timeout {timeout_s:g} s")
    for axis, label in zip(
        axes, ("successes, share of capacity", "mean wait, seconds (refused: the timeout)"), strict=True
    ):
        axis.axvspan(BEFORE_S, BEFORE_S + OVERLOAD_S, alpha=0.1)
        axis.set(xlabel="seconds", ylabel=label)
        axis.legend()


EXPERIMENT: Final = Experiment(
    name="overload",
    title="Twice the capacity for five minutes",
    meaning=(
        "What cannot be done in time is rejected early, and what is served is served fresh, so workers waste next to "
        "nothing on results that are no longer needed. When the overload ends the line is gone within seconds."
    ),
    parameters=[
        Parameter(
            "workers, service",
            f"{WORKERS_COUNT} of concurrency 1; exponential, mean {SERVICE_S:g} s",
            "a capacity of 200/s",
        ),
        Parameter(
            "load",
            f"{NORMAL_LOAD}, then {OVERLOAD:g} for {OVERLOAD_S:g} s, then {NORMAL_LOAD}",
            "twice what the workers can do, for long",
        ),
        Parameter(
            "timeouts",
            "0.5, 5 and 30 s",
            "ten service times, a page that a person is looking at, and the default",
        ),
        Parameter("requesters", f"{REQUESTERS_COUNT}, in turn", "none is over its own bound"),
        Parameter(
            "recovered",
            f"{NORMAL_SECONDS_COUNT} seconds in a row with mean waits no longer than the worst second's before",
            "one quiet second may be random",
        ),
    ],
    run=run,
    bounds=[
        bound
        for timeout_s in TIMEOUTS_S
        for bound in (
            Bound(goodput_of(timeout_s), "near 1", low=GOODPUT_MIN),
            Bound(recovery_of(timeout_s), "a few seconds", high=RECOVERY_S_MAX),
            Bound(shed_of(timeout_s), "the excess half"),
            Bound(expired_of(timeout_s), "few"),
        )
    ],
    plot=plot,
    plots_count=2,
)
