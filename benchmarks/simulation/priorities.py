"""A flood of the highest class, and occasional requests of the lowest: are they served, and when?

Ageing turns a priority class into seconds of waiting (`PRIORITY_STEP_S`), so a class-0 request is ahead of every
class-9 request that arrives more than nine steps later. Therefore it waits at most nine steps plus the wait of such a
later one, which is the bound here, request by request.
"""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from taskferry.broker.core.delivery.ending import SUCCESS
from taskferry.broker.core.queue.turns import PRIORITY_STEP_S
from taskferry.broker.core.request import Request
from taskferry.broker.core.settings import CoreSettings
from taskferry.protocol.errors import Overloaded
from taskferry.protocol.limits import PRIORITY_MAX

from .experiment import Bound, Experiment, Parameter, Result
from .world import START_S, SimulatedRequester, SimulatedWorker, World, arrivals

WORKERS_COUNT: Final = 10
SERVICE_S: Final = 0.1
CAPACITY_PER_S: Final = WORKERS_COUNT / SERVICE_S
FLOOD_LOAD: Final = 0.9
BURST_LOAD: Final = 2.0
BURST_S: Final = 10.0
CYCLE_S: Final = 120.0
CYCLES_COUNT: Final = 10
LOW_RATE_PER_S: Final = 0.5
AGEING_S: Final = PRIORITY_MAX * PRIORITY_STEP_S
TIMEOUT_DEFAULT_S: Final = CoreSettings().timeout_s


class Scene(NamedTuple):
    """One flood: the timeout of its requests, and its load outside and inside the bursts."""

    name: str
    timeout_s: float
    load: float
    burst_load: float


PATIENT: Final = Scene("bursts, timeout 10 min", 600.0, FLOOD_LOAD, BURST_LOAD)
STEADY: Final = Scene(f"steady 0.98, timeout {TIMEOUT_DEFAULT_S:g} s", TIMEOUT_DEFAULT_S, 0.98, 0.98)
IMPATIENT: Final = Scene(
    f"bursts, timeout {TIMEOUT_DEFAULT_S:g} s", TIMEOUT_DEFAULT_S, FLOOD_LOAD, BURST_LOAD
)
GAP_MIN: Final = -0.05
"""The lowest class may be rejected a little more often, because it waits longer, but not as a rule."""
SCENES: Final = (PATIENT, STEADY, IMPATIENT)


class Waits:
    """The requests of one class in order: when each was sent, when it was started (infinite: never), how it ended."""

    def __init__(self, world: World, scene: Scene, priority: int, chance: random.Random) -> None:
        self.sent_at: list[float] = []
        self.started_at: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self._priority = priority
        self._chance = chance
        self._requester = SimulatedRequester(
            world, self._answered, priority=priority, timeout_s=scene.timeout_s
        )
        self._world = world

    def send(self, number: int) -> None:
        self.sent_at.append(self._world.now)
        self.started_at.append(float("inf"))
        self._requester.send(f"{self._priority} {number}", self._chance.expovariate(1 / SERVICE_S))

    def _answered(self, request_id: str, outcome: str) -> None:
        self.outcomes[outcome] += 1

    def share(self, *outcomes: str) -> float:
        """The share of the class's requests that ended with one of these outcomes."""
        return sum(self.outcomes[outcome] for outcome in outcomes) / len(self.sent_at)

    def waits(self) -> list[float]:
        """Seconds; infinite for those that were never started."""
        return [started - sent for started, sent in zip(self.started_at, self.sent_at, strict=True)]


def run(seed: int, scale: float) -> Result:
    """How long the lowest class waits in each scene, and whether ever longer than promised."""
    figures: dict[str, float] = {}
    series: dict[str, list[float]] = {}
    for scene in SCENES:
        low, high = _flood(scene, seed, max(1, round(CYCLES_COUNT * scale)))
        for waits, priority in ((low, 0), (high, PRIORITY_MAX)):
            figures[share_of(scene, priority)] = waits.share(SUCCESS)
        figures[gap_of(scene)] = low.share(SUCCESS) - high.share(SUCCESS)
        figures[untold_of(scene)] = 1 - low.share(SUCCESS, Overloaded.code)
        figures[wait_of(scene)] = max(low.waits())
        figures[late_of(scene)] = max(_latenesses(low, high), default=0.0)
        if scene is PATIENT:
            step = max(1, len(high.sent_at) // 2000)
            series = {
                "low at": [at - START_S for at in low.sent_at],
                "low waits": low.waits(),
                "high at": [at - START_S for at in high.sent_at[::step]],
                "high waits": high.waits()[::step],
            }
    return Result(figures, series)


def share_of(scene: Scene, priority: int) -> str:
    """The names of the figures."""
    return f"{scene.name}: class {priority}: share served"


def gap_of(scene: Scene) -> str:
    """Below 0 if the lowest class is rejected more often."""
    return f"{scene.name}: class 0's share served less class 9's"


def untold_of(scene: Scene) -> str:
    """Neither served nor rejected at once."""
    return f"{scene.name}: class 0: share neither served nor told `overloaded`"


def wait_of(scene: Scene) -> str:
    """Infinite if one was never started."""
    return f"{scene.name}: class 0: longest wait, s"


def late_of(scene: Scene) -> str:
    """Compared with the first class-9 request that arrived nine steps later."""
    return f"{scene.name}: class 0: wait beyond nine steps and that of the class 9 that came then, s, most"


def _flood(scene: Scene, seed: int, cycles_count: int) -> tuple[Waits, Waits]:
    chance = random.Random(f"{seed} {scene.name}")
    world = World("least_loaded", seed, in_flight_count_max=10**9)
    for index in range(WORKERS_COUNT):
        SimulatedWorker(world, f"w{index}")
    low, high = (Waits(world, scene, priority, chance) for priority in (0, PRIORITY_MAX))

    def assigned(request: Request, worker: SimulatedWorker) -> None:
        number = int(request.call.request_id.partition(" ")[2])
        (high if request.call.priority else low).started_at[number] = world.now

    world.assigned = assigned
    end = cycles_count * CYCLE_S
    low_gaps = [chance.expovariate(LOW_RATE_PER_S) for _ in range(int(end * LOW_RATE_PER_S))]
    high_gaps: list[float] = []
    now = 0.0
    while now < end:
        is_burst = now % CYCLE_S >= CYCLE_S - BURST_S
        high_gaps.append(chance.expovariate((scene.burst_load if is_burst else scene.load) * CAPACITY_PER_S))
        now += high_gaps[-1]
    arrivals(world, high_gaps, high.send)
    arrivals(world, low_gaps, low.send)
    world.run()
    return low, high


def _latenesses(low: Waits, high: Waits) -> list[float]:
    """How long after the class-9 request that arrived nine steps later each class-0 request was started. A pair with
    one that was never started does not count."""
    latenesses: list[float] = []
    for sent_at, started_at in zip(low.sent_at, low.started_at, strict=True):
        later = bisect_left(high.sent_at, sent_at + AGEING_S)
        if later < len(high.sent_at) and max(started_at, high.started_at[later]) < float("inf"):
            latenesses.append(max(0.0, started_at - high.started_at[later]))
    return latenesses


def plot(axes: Sequence[Any], results: Sequence[Result]) -> None:
    """Both classes' waits over time, for the first seed."""
    series = results[0].series
    axes[0].plot(series["high at"], series["high waits"], ".", markersize=2, label="class 9")
    axes[0].plot(series["low at"], series["low waits"], ".", markersize=4, label="class 0")
    axes[0].set(xlabel="seconds", ylabel="wait, seconds", title=PATIENT.name)
    axes[0].legend()


EXPERIMENT: Final = Experiment(
    name="priorities",
    title="The lowest class under a flood of the highest",
    meaning=(
        f"The lowest class is behind the highest for {AGEING_S:g} s at most, and then waits no longer than the flood "
        "itself does. If the flood is an overload for their timeouts, both classes are rejected about equally."
    ),
    parameters=[
        Parameter(
            "workers, service",
            f"{WORKERS_COUNT} of concurrency 1; exponential, mean {SERVICE_S:g} s",
            "100/s",
        ),
        Parameter(
            "bursts",
            f"class 9 at load {FLOOD_LOAD}, for {BURST_S:g} s of every {CYCLE_S:g} s at {BURST_LOAD:g}",
            "0.99 in all: the worst load whose line still drains",
        ),
        Parameter("class 0", f"{LOW_RATE_PER_S:g} a second", "too few to help each other"),
        Parameter("timeouts", f"10 min and {TIMEOUT_DEFAULT_S:g} s", "beyond every wait, and the default"),
    ],
    run=run,
    bounds=[
        Bound(share_of(PATIENT, 0), "all (1)", 1, 1),
        Bound(late_of(PATIENT), "0", high=1e-6),
        Bound(wait_of(PATIENT), "nine steps and a burst's line"),
        *(
            bound
            for scene in (STEADY, IMPATIENT)
            for bound in (
                Bound(share_of(scene, 0), ""),
                Bound(share_of(scene, PRIORITY_MAX), ""),
                Bound(gap_of(scene), "near 0", low=GAP_MIN),
                Bound(untold_of(scene), "0", high=0),
            )
        ),
    ],
    plot=plot,
)
