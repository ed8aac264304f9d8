"""Random: any candidate, each as likely as the other."""

from typing import Generic

from .strategy import C, Chance


class Random(Generic[C]):
    """All calls O(1): a list to draw from, and each candidate's index in it. The last one fills a gap."""

    __slots__ = ("_candidates", "_chance", "_indexes")

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._candidates: list[C] = []
        self._indexes: dict[C, int] = {}

    def add(self, candidate: C) -> None:
        self._indexes[candidate] = len(self._candidates)
        self._candidates.append(candidate)

    def remove(self, candidate: C) -> None:
        index = self._indexes.pop(candidate)
        last = self._candidates.pop()
        if last is not candidate:
            self._candidates[index] = last
            self._indexes[last] = index

    def changed(self, candidate: C) -> None:
        """Load does not matter here."""

    def pick(self, affinity: str | None) -> C | None:
        if not self._candidates:
            return None
        return self._candidates[int(self._chance() * len(self._candidates))]
