"""An urn: candidates to draw at random, all equally likely."""

from typing import Generic

from .strategy import C, Chance


class Urn(Generic[C]):
    """Adding and removing are O(1): a list to draw from, and each candidate's index in it; the last one fills a gap."""

    __slots__ = ("_candidates", "_chance", "_indexes")

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._candidates: list[C] = []
        self._indexes: dict[C, int] = {}

    def add(self, candidate: C) -> None:
        """Add `candidate`, which is not there."""
        self._indexes[candidate] = len(self._candidates)
        self._candidates.append(candidate)

    def remove(self, candidate: C) -> None:
        """Remove `candidate`, which is there."""
        index = self._indexes.pop(candidate)
        last = self._candidates.pop()
        if last is not candidate:
            self._candidates[index] = last
            self._indexes[last] = index

    def draw(self, count: int) -> list[C]:
        """`count` different candidates, or all if there are fewer; at each position of the list all are equally likely.
        O(count²): `count` is small."""
        candidates = self._candidates
        chance = self._chance
        size = len(candidates)
        drawn: list[C] = []
        for _ in range(min(count, size)):
            index = int(chance() * size)
            candidate = candidates[index]
            while candidate in drawn:
                index += 1
                candidate = candidates[index % size]
            drawn.append(candidate)
        return drawn
