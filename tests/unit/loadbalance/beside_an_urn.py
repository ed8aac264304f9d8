"""A strategy that draws at random, next to an urn that draws the same: so a test knows which candidates it could
choose."""

import random
from collections.abc import Callable

from taskferry.loadbalance.strategy import Chance, Strategy
from taskferry.loadbalance.urn import Urn

from tests.unit.loadbalance.candidates import Worker


class BesideAnUrn:
    """What `make` returns, and an `urn` that holds the same candidates and draws by the same random numbers."""

    def __init__(self, make: Callable[[Chance], Strategy[Worker]], seed: int) -> None:
        self.strategy = make(random.Random(seed).random)
        self.urn: Urn[Worker] = Urn(random.Random(seed).random)

    def add(self, candidate: Worker) -> None:
        self.strategy.add(candidate)
        self.urn.add(candidate)

    def remove(self, candidate: Worker) -> None:
        self.strategy.remove(candidate)
        self.urn.remove(candidate)

    def changed(self, candidate: Worker) -> None:
        self.strategy.changed(candidate)

    def pick(self, affinity: str | None) -> Worker | None:
        return self.strategy.pick(affinity)
