"""Candidates for strategies under test: what the broker's workers look like from there."""


class Worker:
    """A candidate whose load, weight, speed and latency the test sets, and which counts how often a strategy looks.

    `looks_count`: reads of a property, hashes and comparisons, which is all that a strategy can do with a candidate.
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
        self.name = name
        self.load = in_flight_count
        self.share = weight
        self.pace = speed
        self.duration = latency
        self.looks_count = 0

    @property
    def worker_id(self) -> str:
        self.looks_count += 1
        return self.name

    @property
    def in_flight_count(self) -> int:
        self.looks_count += 1
        return self.load

    @property
    def weight(self) -> float:
        self.looks_count += 1
        return self.share

    @property
    def speed(self) -> float:
        self.looks_count += 1
        return self.pace

    @property
    def latency(self) -> float:
        self.looks_count += 1
        return self.duration

    def __hash__(self) -> int:
        self.looks_count += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        self.looks_count += 1
        return self is other

    def __repr__(self) -> str:
        return f"{self.name}({self.load}/{self.share:g}x{self.pace:g})"
