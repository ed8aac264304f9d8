"""One requester sends a hundred times what the others send, more than all workers can handle. How do these fare?

The others' requests arrive at the same times and need the same work with the flood and without it.
"""

import random
from collections.abc import Sequence
from typing import Any, Final

from .experiment import Bound, Experiment, Parameter, Result, percentile
from .world import START_S, SimulatedRequester, SimulatedWorker, World, arrivals

WORKERS_COUNT: Final = 10
SERVICE_S: Final = 0.1
OTHERS_COUNT: Final = 20
OTHERS_LOAD: Final = 0.6
FLOOD_FACTOR: Final = 100
DURATION_S: Final = 400.0
TIMEOUT_S: Final = 30.0
RATIO_MAX: Final = 1.2

ALONE: Final = "others' p99 without the flood, s"
FLOODED: Final = "others' p99 with the flood, s"
RATIO: Final = "others' p99, with / without"
FAILED: Final = "others' requests that failed, share"
FLOOD_SERVED: Final = "flood's requests that succeeded, share"


def run(seed: int, scale: float) -> Result:
    """The others' 99th percentile with and without the flood; a failed request counts as infinitely long."""
    duration_s = DURATION_S * scale
    alone, _ = _responses(seed, duration_s, is_flooded=False)
    flooded, flood_share = _responses(seed, duration_s, is_flooded=True)
    before, after = sorted(alone), sorted(flooded)
    figures = {
        ALONE: percentile(before, 0.99),
        FLOODED: percentile(after, 0.99),
        RATIO: percentile(after, 0.99) / percentile(before, 0.99),
        FAILED: sum(response == float("inf") for response in flooded) / len(flooded),
        FLOOD_SERVED: flood_share,
    }
    steps = [step / 200 for step in range(200)]
    return Result(
        figures,
        {
            "alone": [percentile(before, share) for share in steps],
            "flooded": [percentile(after, share) for share in steps],
            "share": steps,
        },
    )


def _responses(seed: int, duration_s: float, *, is_flooded: bool) -> tuple[list[float], float]:
    """How long each of the others' requests took, and which share of the flood succeeded."""
    world = World("least_loaded", seed)
    for index in range(WORKERS_COUNT):
        SimulatedWorker(world, f"w{index}")
    rate_per_s = OTHERS_LOAD * WORKERS_COUNT / SERVICE_S / OTHERS_COUNT
    sent_at: dict[str, float] = {}
    responses: list[float] = []
    flood_outcomes: list[str] = []

    def answered(request_id: str, outcome: str) -> None:
        took_s = world.now - sent_at.pop(request_id)
        responses.append(took_s if outcome == "success" else float("inf"))

    def join(name: str, factor: int, requester: SimulatedRequester) -> None:
        chance = random.Random(f"{seed} {name}")
        count = int(rate_per_s * factor * duration_s)
        gaps = [chance.expovariate(rate_per_s * factor) for _ in range(count)]
        demands = [chance.expovariate(1 / SERVICE_S) for _ in range(count)]

        def send(number: int) -> None:
            request_id = f"{name} {number}"
            sent_at[request_id] = world.now
            requester.send(request_id, demands[number])

        arrivals(world, gaps, send)

    for index in range(OTHERS_COUNT):
        join(f"r{index}", 1, SimulatedRequester(world, answered, timeout_s=TIMEOUT_S))
    if is_flooded:
        flood = SimulatedRequester(
            world, lambda request_id, outcome: flood_outcomes.append(outcome), timeout_s=TIMEOUT_S
        )
        join("flood", FLOOD_FACTOR, flood)
    world.run(START_S + duration_s)
    served_share = flood_outcomes.count("success") / max(1, len(flood_outcomes))
    return responses, served_share


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """The distribution of the others' responses, with the flood and without it, for the first seed."""
    series = results[0].series
    axes[0].plot(series["alone"], series["share"], "--", label="without the flood")
    axes[0].plot(series["flooded"], series["share"], label="with the flood")
    axes[0].set(xlabel="the others' response, seconds", ylabel="share of requests", xlim=(0, 8 * SERVICE_S))
    axes[0].legend()


EXPERIMENT: Final = Experiment(
    name="fairness",
    title="One requester floods",
    meaning=(
        "Requesters take turns within a class, so a flood of a hundred times the others' load waits behind itself. The "
        "others find every worker busy, wait for the next free one, and are hardly affected beyond that."
    ),
    parameters=[
        Parameter(
            "workers, service",
            f"{WORKERS_COUNT} of concurrency 1; exponential, mean {SERVICE_S:g} s",
            "a capacity of 100/s",
        ),
        Parameter(
            "others", f"{OTHERS_COUNT} requesters, {OTHERS_LOAD} of the capacity in all", "a healthy service"
        ),
        Parameter("flood", f"{FLOOD_FACTOR} times one of the others", "three times the capacity by itself"),
        Parameter(
            "time",
            f"{DURATION_S:g} s, each request with the usual timeout of {TIMEOUT_S:g} s",
            "24,000 requests of the others",
        ),
    ],
    run=run,
    bounds=[
        Bound(RATIO, "little above 1", high=RATIO_MAX),
        Bound(FAILED, "0", 0, 0),
        Bound(ALONE, "0.46 and a little waiting"),
        Bound(FLOODED, ""),
        Bound(FLOOD_SERVED, "the capacity left over, 0.13"),
    ],
    plot=plot,
)
