"""Random: any candidate, all equally likely."""

from .strategy import C
from .urn import Urn


class Random(Urn[C]):
    """All calls O(1)."""

    __slots__ = ()

    def changed(self, candidate: C) -> None:
        """Load does not matter here."""

    def pick(self, affinity: str | None) -> C | None:
        if not self._candidates:
            return None
        return self._candidates[int(self._chance() * len(self._candidates))]
