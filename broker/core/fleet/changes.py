"""Which workers have changed since when: what lazy pools have to see at their next pick (lazy.py).

One for all pools. Each worker that is in a lazy pool reports here as it does to the strategies of its other pools, so
that an assignment costs the same however many lazy pools its worker is in.
"""

from collections import OrderedDict
from collections.abc import Iterable

from .worker import Worker


class Changes:
    """Takes part in `Worker.strategies`. `count` is the number of changes so far, by which one is meant later."""

    __slots__ = ("_numbers", "count")

    def __init__(self) -> None:
        self.count = 0
        self._numbers: OrderedDict[Worker, int] = OrderedDict()
        """Of each worker its last change; the latest is last."""

    def watch(self, worker: Worker) -> None:
        """Have a worker report its changes here, if it does not."""
        if worker.changes is None:
            worker.changes = self
            worker.strategies.append(self)
            self._numbers[worker] = self.count

    def forget(self, worker: Worker) -> None:
        """A worker has left: it reports nothing more."""
        if worker.changes is not None:
            worker.changes = None
            worker.strategies.remove(self)
            del self._numbers[worker]

    def end(self) -> None:
        """No pool is lazy any more."""
        for worker in tuple(self._numbers):
            self.forget(worker)

    def changed(self, candidate: Worker) -> None:
        """A worker's assignments, state, weight, speed or places have changed, or the pools that it is in."""
        self.count += 1
        self._numbers[candidate] = self.count
        self._numbers.move_to_end(candidate)

    def add(self, candidate: Worker) -> None:
        """It has a free slot again."""
        self.changed(candidate)

    def remove(self, candidate: Worker) -> None:
        """It has no free slot any more."""
        self.changed(candidate)

    def latest(self, number: int, count_max: int) -> list[Worker]:
        """Those that have changed after change `number`, the latest last: all, or the latest `count_max`."""
        found: list[Worker] = []
        for worker, changed_at in reversed(self._numbers.items()):
            if changed_at <= number or len(found) == count_max:
                break
            found.append(worker)
        found.reverse()
        return found

    def among(self, workers: Iterable[Worker], number: int) -> list[Worker]:
        """Those of `workers` that have changed after change `number`."""
        return [worker for worker in workers if self._numbers[worker] > number]
