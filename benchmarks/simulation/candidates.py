"""The real strategies by name, and candidates for experiments without a broker."""

from typing import Any

from taskferry.loadbalance.power_of_two import PowerOfTwo
from taskferry.loadbalance.registry import STRATEGIES, STRATEGY_DEFAULT
from taskferry.loadbalance.strategy import Candidate, Chance, Strategy


class SteadyCandidate(Candidate):
    """A worker as a strategy sees it, of constant weight, speed and latency. Only its in-flight count changes."""

    __slots__ = ()

    def __init__(self, worker_id: str, weight: float = 1.0) -> None:
        self.worker_id = worker_id
        self.weight = weight
        self.speed = 1.0
        self.latency = 1.0
        self.in_flight_count = 0


def filled(
    strategy: Strategy[SteadyCandidate], count: int, weights: tuple[float, ...] = (1.0,)
) -> list[SteadyCandidate]:
    """`count` candidates named a, b, c ... or w0, w1, w2 ..., all held by the strategy; `weights` repeat."""
    names = "abcdefghijklmnopqrstuvwxyz" if count <= 26 else [f"w{index}" for index in range(count)]
    candidates = [SteadyCandidate(names[index], weights[index % len(weights)]) for index in range(count)]
    for candidate in candidates:
        strategy.add(candidate)
    return candidates


def strategy_of(name: str, chance: Chance) -> Strategy[Any]:
    """The real strategy of that name, empty. `power_of_three` is power_of_two with three choices."""
    if name == "power_of_three":
        return PowerOfTwo(chance, choices_count=3)
    return STRATEGIES[name](chance)


def strategies_for(scale: float) -> list[str]:
    """The default, and this share of the others: they have no bounds, so a small run need not include them all."""
    others = [name for name in STRATEGIES if name != STRATEGY_DEFAULT]
    return [STRATEGY_DEFAULT, *others[: round(scale * len(others))]]
