"""What one requester has waiting on one line, by priority class, and which of it is next.

Of several classes, the one whose oldest request has waited longest once `PRIORITY_STEP_S` is added for each class. Of a
class the oldest goes first, or during overload the newest (see overload.py). Then the age of the oldest says nothing
about what is served, so a class's wait is counted from its last turn: the lowest still gets a turn every 9 s. Attempts
of jobs, which may wait for hours, have priorities that no waiting makes up for: the highest class goes first.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from ....protocol.limits import PRIORITY_MAX
from ..account import Account
from ..request import Request
from ..requester import Requester
from .holdings import Holder
from .overload import Overload
from .turns import PRIORITY_STEP_S, Turn

NONE: Final = -1
"""In place of a priority, if nothing waits."""


class Share:
    """`count` requests of `owner` wait, of `classes_count` classes; the next is of the class `priority`. All are
    attempts, or none is: those of all requesters of an account are one share, which the account owns. `turn` is its
    place among those of its account, `holder` its part of what its requester has waiting. `overload` judges it, once it
    is large enough."""

    __slots__ = (
        "_classes",
        "_served_at",
        "classes_count",
        "count",
        "holder",
        "is_attempts",
        "overload",
        "owner",
        "priority",
        "turn",
    )

    def __init__(self, owner: Requester | Account, *, is_attempts: bool) -> None:
        self._classes: list[OrderedDict[Request, None] | None] = [None] * (PRIORITY_MAX + 1)
        self._served_at: list[float] | None = None
        self.owner = owner
        self.is_attempts = is_attempts
        self.count = 0
        self.classes_count = 0
        self.priority = NONE
        self.turn: Turn[Share] = Turn(self)
        self.holder: Holder[Share] = Holder(self)
        self.overload: Overload | None = None

    @property
    def is_overloaded(self) -> bool:
        """More of it comes than its turns allow."""
        return self.overload is not None and self.overload.is_overloaded

    def add(self, request: Request, *, is_first: bool) -> None:
        """Add `request`; with `is_first`, ahead of the others of its class."""
        priority = request.call.priority
        line = self._classes[priority]
        if line is None:
            line = self._classes[priority] = OrderedDict()
        is_new = not line
        line[request] = None
        if is_first:
            line.move_to_end(request, last=False)
        self.count += 1
        self.classes_count += is_new
        if self.classes_count == 1:
            self.priority = priority
        elif is_new or is_first:
            self._choose()

    def remove(self, request: Request) -> None:
        """Remove `request`, which waits here."""
        line = self._classes[request.call.priority]
        assert line is not None
        del line[request]
        self.count -= 1
        self.classes_count -= not line
        if self.classes_count != 1 or not line:
            self._choose()

    def next(self, *, is_newest: bool) -> Request:
        """The request that is next, if the newest of its class goes first or else the oldest."""
        line = self._classes[self.priority]
        assert line is not None
        return next(reversed(line)) if is_newest else next(iter(line))

    def take(self, now: float, *, is_newest: bool) -> Request:
        """Remove and return the request that is next."""
        request = self.next(is_newest=is_newest)
        if self._served_at is not None:
            self._served_at[self.priority] = now
        self.remove(request)
        return request

    def last(self) -> Request:
        """The request that would be served last if no other came: of the lowest class the newest, or if newer ones go
        first, the oldest."""
        line = next(line for line in self._classes if line)
        return next(iter(line)) if self.is_overloaded else next(reversed(line))

    def lines(self) -> list[OrderedDict[Request, None]]:
        """The requests of each class that has any, lowest class first, each oldest first."""
        return [line for line in self._classes if line]

    def overload_changed(self, now: float) -> None:
        """`is_overloaded` has changed."""
        self._served_at = [now] * (PRIORITY_MAX + 1) if self.is_overloaded else None
        self._choose()

    def _choose(self) -> None:
        heads = [next(iter(line)) if line else None for line in self._classes]
        self.priority = choose(heads, self._served_at, is_attempts=self.is_attempts)


class Preview:
    """A share as it will be if nothing comes or goes and there is no overload: for `WaitingLine.in_order`."""

    __slots__ = ("_heads", "_is_attempts", "_rests", "priority", "turn")

    def __init__(self, share: Share) -> None:
        self._is_attempts = share.is_attempts
        self._rests: list[Iterator[Request]] = []
        self._heads: list[Request | None] = []
        for line in share._classes:
            rest = iter(line or ())
            self._rests.append(rest)
            self._heads.append(next(rest, None))
        self.priority = share.priority
        self.turn: Turn[Preview] = Turn(self)

    def take(self) -> Request:
        """The next request. `priority` is NONE after the last."""
        request = self._heads[self.priority]
        assert request is not None
        self._heads[self.priority] = next(self._rests[self.priority], None)
        self.priority = choose(self._heads, None, is_attempts=self._is_attempts)
        return request


def choose(heads: Sequence[Request | None], served_at: list[float] | None, *, is_attempts: bool) -> int:
    """The class whose turn it is, by the oldest request of each; NONE if there are none. `served_at`: when each class
    had its last turn, if waits count from there."""
    best, best_rank = NONE, 0.0
    for priority, head in enumerate(heads):
        if head is None:
            continue
        since = head.submitted_at if served_at is None else max(head.submitted_at, served_at[priority])
        rank = since - priority * PRIORITY_STEP_S
        if best == NONE or is_attempts or rank < best_rank:
            best, best_rank = priority, rank
    return best
