"""Latency aware: of a few candidates drawn at random the quickest that is not hot; hot means busier than nearly all.

Source: the hot-cold lexicographic rule of Wydrowski, Kleinberg, Rumble and Archer, "Load is not what you should
balance: Introducing Prequal" (NSDI 2024). A candidate is hot if its in-flight count reaches the quantile Q_RIF of all
counts; of the cold ones drawn, the one with the lowest latency is picked, and if all are hot, the one with the lowest
count. Prequal must probe servers for both signals and reuse old answers; the broker knows both.

Latencies are those of successes only, so that a worker that fails at once does not look quick.
"""

from typing import Final

from .quantile import RunningQuantile
from .strategy import C, Chance
from .urn import Urn

HOT_QUANTILE: Final = 0.84
"""Q_RIF as Prequal runs it, 2 ** -0.25: the busiest sixth of the workers is hot, however quick."""

CHOICES_COUNT: Final = 3
"""Candidates drawn per pick: as many as Prequal probes per query."""


class LatencyAware(Urn[C]):
    """All calls O(1), apart from RunningQuantile's search among the in-flight counts that occur."""

    __slots__ = ("_counts", "_quantile")

    def __init__(self, chance: Chance) -> None:
        super().__init__(chance)
        self._quantile = RunningQuantile(HOT_QUANTILE)
        self._counts: dict[C, int] = {}
        """The in-flight count of each candidate as the quantile has it."""

    def add(self, candidate: C) -> None:
        Urn.add(self, candidate)
        self._counts[candidate] = count = candidate.in_flight_count
        self._quantile.add(count)

    def remove(self, candidate: C) -> None:
        Urn.remove(self, candidate)
        self._quantile.remove(self._counts.pop(candidate))

    def changed(self, candidate: C) -> None:
        count = candidate.in_flight_count
        self._quantile.change(self._counts[candidate], count)
        self._counts[candidate] = count

    def pick(self, affinity: str | None) -> C | None:
        if not self._candidates:
            return None
        hot_from_count = self._quantile.value()
        coldest: C | None = None
        latency_min = 0.0
        least_busy: C | None = None
        busy_min = (0, 0.0)
        for candidate in self.draw(CHOICES_COUNT):
            count = candidate.in_flight_count
            latency = candidate.latency
            if count < hot_from_count:
                if coldest is None or latency < latency_min:
                    coldest = candidate
                    latency_min = latency
            elif coldest is None:
                busy = (count, latency)
                if least_busy is None or busy < busy_min:
                    least_busy = candidate
                    busy_min = busy
        return least_busy if coldest is None else coldest
