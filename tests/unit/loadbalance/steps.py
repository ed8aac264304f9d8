"""Sequences of everything that a broker may do with a strategy, for property tests that compare with a plain model.

Independent of any strategy: a test says which pick is right.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from taskferry.loadbalance.strategy import Strategy

from tests.unit.loadbalance.candidates import Worker

WEIGHTS = st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 100.0])
SPEEDS = st.sampled_from([2.0 ** (step / 2) for step in range(-4, 5)])
"""The steps of sqrt(2) in [0.25, 4] in which the broker learns them."""
KINDS = ("add", "add", "remove", "return", "occupy", "release", "weigh", "speed", "pick", "pick", "pick")


@dataclass(frozen=True)
class Step:
    """One thing that happens: `kind`, one of KINDS, to the worker selected by `which`."""

    kind: str
    which: int
    count: int
    weight: float
    speed: float


STEPS = st.lists(
    st.builds(Step, st.sampled_from(KINDS), st.integers(0, 30), st.integers(0, 5), WEIGHTS, SPEEDS),
    max_size=60,
)


class Fleet:
    """Workers held by a strategy and workers away from it, as `perform` moves them.

    `held` has the number of the step since which each is unchanged, in that order: the order of a bucket.
    """

    def __init__(self, strategy: Strategy[Worker]) -> None:
        self.strategy = strategy
        self.held: dict[Worker, int] = {}
        self.away: list[Worker] = []
        self.steps_count = 0

    def perform(self, step: Step, pick: Callable[[], Worker | None]) -> None:
        """Do `step`, and `pick` if that is the step; the one picked takes one more, as it does in a broker."""
        self.steps_count += 1
        held = list(self.held)
        match step.kind:
            case "add":
                name = f"w{self.steps_count}"
                self._add(Worker(name, in_flight_count=step.count, weight=step.weight, speed=step.speed))
            case "return" if self.away:
                worker = self.away.pop(step.which % len(self.away))
                worker.in_flight_count = step.count
                self._add(worker)
            case "pick":
                picked = pick()
                assert (picked in self.held) if held else picked is None
                if picked is not None:
                    picked.in_flight_count += 1
                    self._change(picked)
            case "remove" if held:
                worker = held[step.which % len(held)]
                self.strategy.remove(worker)
                del self.held[worker]
                self.away.append(worker)
            case "occupy" | "release" | "weigh" | "speed" if held:
                worker = held[step.which % len(held)]
                match step.kind:
                    case "occupy":
                        worker.in_flight_count += 1
                    case "release":
                        worker.in_flight_count = max(0, worker.in_flight_count - 1)
                    case "weigh":
                        worker.weight = step.weight
                    case _:
                        worker.speed = step.speed
                self._change(worker)

    def _add(self, worker: Worker) -> None:
        self.strategy.add(worker)
        self.held[worker] = self.steps_count

    def _change(self, worker: Worker) -> None:
        self.strategy.changed(worker)
        del self.held[worker]
        self.held[worker] = self.steps_count
