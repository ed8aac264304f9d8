"""Round robin: every candidate in turn, whatever its load or weight. One that comes back goes to the end of the
line."""

from collections import OrderedDict
from typing import Generic

from .strategy import C


class RoundRobin(Generic[C]):
    """All calls O(1): the first of the line is next.

    An OrderedDict, because a plain dict finds its first key by stepping over all deleted ones.
    """

    __slots__ = ("_line",)

    def __init__(self) -> None:
        self._line: OrderedDict[C, None] = OrderedDict()

    def add(self, candidate: C) -> None:
        self._line[candidate] = None

    def remove(self, candidate: C) -> None:
        del self._line[candidate]

    def changed(self, candidate: C) -> None:
        """Load does not matter here."""

    def pick(self, affinity: str | None) -> C | None:
        for candidate in self._line:
            self._line.move_to_end(candidate)
            return candidate
        return None
