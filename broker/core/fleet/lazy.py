"""A strategy that is brought up to date when it is asked, instead of with each assignment of its workers.

Otherwise an assignment would cost more with each pool of its worker, and workers with crossed lists of commands can
divide a thousand commands into a thousand pools. A pick costs as much as there are workers.
"""

from typing import Any, Final

from ....loadbalance.strategy import Strategy
from .worker import Worker

OUTDATED: Final = -1
"""In place of an in-flight count: the strategy has to be told that a worker has changed."""


class Lazy:
    """Holds `workers` that are eligible, with a free slot or without. `strategy` holds those that had one at the last
    pick."""

    __slots__ = ("_held", "_workers", "strategy")

    def __init__(self, strategy: Strategy[Any]) -> None:
        self.strategy: Strategy[Worker] = strategy
        self._workers: dict[Worker, None] = {}
        self._held: dict[Worker, int] = {}
        """Those that the strategy holds, with the in-flight counts that it knows."""

    def take_over(self, worker: Worker) -> None:
        """Add an eligible worker, which the strategy holds if it has a free slot."""
        self._workers[worker] = None
        if worker.in_flight_count < worker.capacity:
            self._held[worker] = worker.in_flight_count

    def add(self, candidate: Worker) -> None:
        self._workers[candidate] = None

    def remove(self, candidate: Worker) -> None:
        del self._workers[candidate]
        if self._held.pop(candidate, None) is not None:
            self.strategy.remove(candidate)

    def changed(self, candidate: Worker) -> None:
        if candidate in self._held:
            self._held[candidate] = OUTDATED

    def pick(self, affinity: str | None) -> Worker | None:
        self.refresh()
        return self.strategy.pick(affinity)

    def refresh(self) -> None:
        """Bring the strategy up to date."""
        held, strategy = self._held, self.strategy
        for worker in self._workers:
            count = worker.in_flight_count
            before = held.get(worker)
            if count >= worker.capacity:
                if before is not None:
                    del held[worker]
                    strategy.remove(worker)
            elif before != count:
                held[worker] = count
                if before is None:
                    strategy.add(worker)
                else:
                    strategy.changed(worker)
