"""Which part of a long list is wanted."""

from collections.abc import Iterable
from heapq import nsmallest
from typing import Final, NamedTuple

PAGE_COUNT_DEFAULT: Final = 100
"""Rows of a page: far more than a screenful, and a fraction of a millisecond's work."""


class Page(NamedTuple):
    """A part of a list: `limit` rows, those after the name `after`."""

    after: str = ""
    limit: int = PAGE_COUNT_DEFAULT

    def names(self, known: Iterable[str]) -> tuple[list[str], str | None]:
        """The names of this page of a list in the order of names, and the name after which the next one begins; None if
        this is the last."""
        names = nsmallest(self.limit + 1, (name for name in known if name > self.after))
        return names[: self.limit], names[self.limit - 1] if len(names) > self.limit else None
