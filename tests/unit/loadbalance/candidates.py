"""Candidates for strategies under test, as the broker's workers look to a strategy."""

from typing import Any

from taskferry.loadbalance.strategy import Candidate

SEEN = frozenset({"in_flight_count", "latency", "speed", "weight", "worker_id"})


class Worker(Candidate):
    """A candidate whose load, weight, speed and latency the test sets, and which counts what a strategy reads of it.

    `looks_count`: reads of what a strategy sees, hashes and comparisons, which is all that it can do with a candidate.
    """

    def __init__(
        self,
        name: str = "worker",
        *,
        in_flight_count: int = 0,
        weight: float = 1.0,
        speed: float = 1.0,
        latency: float = 1.0,
    ) -> None:
        self.worker_id = self.name = name
        self.in_flight_count = in_flight_count
        self.weight = weight
        self.speed = speed
        self.latency = latency
        self.looks_count = 0

    def __getattribute__(self, name: str) -> Any:
        if name in SEEN:
            self.looks_count += 1
        return super().__getattribute__(name)

    def __hash__(self) -> int:
        self.looks_count += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        self.looks_count += 1
        return self is other

    def __repr__(self) -> str:
        return f"{self.name}({self.in_flight_count}/{self.weight:g}x{self.speed:g})"
