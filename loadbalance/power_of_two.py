"""Power of two choices: the less loaded of two candidates drawn at random.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001): with n balls in n bins the fullest
bin has about ln n / ln ln n balls with one choice, and only about ln ln n / ln d with d of them. Envoy's least request
and HAProxy's `random(2)` do the same. Loads are compared as in `least_loaded`.
"""

from typing import Final

from .strategy import C, Chance
from .urn import Urn

CHOICES_COUNT_DEFAULT: Final = 2
"""Mitzenmacher: the second choice is worth exponentially more than none, a third only a constant factor more."""


class PowerOfTwo(Urn[C]):
    """All calls O(1). `choices_count`, at least 1, is Mitzenmacher's d; the candidates drawn are distinct, and of
    equally loaded ones the first drawn is picked."""

    __slots__ = ("_choices_count",)

    def __init__(self, chance: Chance, choices_count: int = CHOICES_COUNT_DEFAULT) -> None:
        super().__init__(chance)
        self._choices_count = choices_count

    def changed(self, candidate: C) -> None:
        """Loads are computed when two candidates are compared; none is kept."""

    def pick(self, affinity: str | None) -> C | None:
        picked: C | None = None
        load_min = 0.0
        for candidate in self.draw(self._choices_count):
            load = (candidate.in_flight_count + 1) / (candidate.weight * candidate.speed)
            if picked is None or load < load_min:
                picked = candidate
                load_min = load
        return picked
