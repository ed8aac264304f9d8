"""Most loaded: the busiest worker that still has a free slot, so that idle machines can be switched off.

A strategy is any object with the four methods of `taskferry.loadbalance.strategy.Strategy`. The broker makes one for
each group of workers that serve the same commands. It adds a worker that has a free slot, removes one that is full,
ejected or draining, and reports a change of load, weight or speed: so `pick` never has to search for a worker that can
take work. All calls come from one thread and must return at once, in O(1) or O(log workers).
"""

from collections.abc import Callable

from taskferry.loadbalance.strategy import Candidate


class MostLoaded:
    """Buckets of workers of equal load, as in `taskferry.loadbalance.least_loaded`; picks from the highest."""

    def __init__(self, chance: Callable[[], float]) -> None:
        # `chance` is random.random in a broker, and seeded in a test. This strategy does not need it.
        self._buckets: dict[int, dict[Candidate, None]] = {}
        self._loads: dict[Candidate, int] = {}

    def add(self, candidate: Candidate) -> None:
        load = candidate.in_flight_count
        self._loads[candidate] = load
        self._buckets.setdefault(load, {})[candidate] = None

    def remove(self, candidate: Candidate) -> None:
        load = self._loads.pop(candidate)
        del self._buckets[load][candidate]
        if not self._buckets[load]:
            del self._buckets[load]  # so there are never more buckets than workers

    def changed(self, candidate: Candidate) -> None:
        self.remove(candidate)
        self.add(candidate)

    def pick(self, affinity: str | None) -> Candidate | None:
        if not self._buckets:
            return None
        # There are few different loads: at most one for each slot of a worker.
        return next(iter(self._buckets[max(self._buckets)]))
