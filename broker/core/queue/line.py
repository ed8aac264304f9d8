"""The requests that wait on one route, and which is next.

Priority classes with ageing: a class is worth `PRIORITY_STEP_S` seconds of waiting, so the next request is the one that
has waited longest once its class's seconds are added. The lowest class is therefore held back by the highest for at
most 9 steps. Attempts of jobs, which may wait for hours, have priorities among themselves that no waiting makes up for:
when it is the turn of one, the one of the highest class goes. Within a class the requesters take turns, so that one
that sends a thousand requests does not block one that sends a single request (round robin as in Nagle, RFC 970). Of
each requester's requests the oldest goes first, or the newest during overload (see overload.py).
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Final

from ....protocol.limits import PRIORITY_MAX
from ..request import Request
from ..requester import Requester

PRIORITY_STEP_S: Final = 1.0
"""What one priority class is worth in waiting time. Far more than a normal wait, so that priorities have an effect; far
less than a normal timeout, so that the lowest class is served before it expires."""

_Turns = OrderedDict[Requester, OrderedDict[Request, None]]


class WaitingLine:
    """All methods except the iterators are O(classes), of which there are ten."""

    __slots__ = ("_classes", "count")

    def __init__(self) -> None:
        self._classes: list[_Turns | None] = [None] * (PRIORITY_MAX + 1)
        self.count = 0

    def add(self, request: Request, *, is_first: bool) -> None:
        """Add `request`; with `is_first`, ahead of its requester's other requests of its class."""
        turns = self._classes[request.call.priority]
        if turns is None:
            turns = self._classes[request.call.priority] = OrderedDict()
        line = turns.get(request.requester)
        if line is None:
            line = turns[request.requester] = OrderedDict()
        line[request] = None
        if is_first:
            line.move_to_end(request, last=False)
        self.count += 1

    def remove(self, request: Request) -> None:
        """Remove `request`, which waits here."""
        turns = self._classes[request.call.priority]
        assert turns is not None
        line = turns[request.requester]
        del line[request]
        if not line:
            del turns[request.requester]
        self.count -= 1

    def peek(self) -> Request | None:
        """The next request, judged by the first of each class; None if no request waits."""
        best: Request | None = None
        best_rank = 0.0
        attempt: Request | None = None
        for turns in self._classes:
            if not turns:
                continue
            request = next(iter(next(iter(turns.values()))))
            rank = rank_of(request)
            if request.call.attempt is not None:
                attempt = request
            if best is None or rank < best_rank:
                best, best_rank = request, rank
        return best if best is None or best.call.attempt is None else attempt

    def take(self, request: Request, *, is_newest: bool) -> Request:
        """Remove and return `request`, which `peek` gave, or with `is_newest` its requester's newest request of that
        class. That requester's next turn comes after all others of the class."""
        turns = self._classes[request.call.priority]
        assert turns is not None
        requester = request.requester
        line = turns[requester]
        if is_newest:
            request = next(reversed(line))
        del line[request]
        if line:
            turns.move_to_end(requester)
        else:
            del turns[requester]
        self.count -= 1
        return request

    def oldest(self) -> Iterator[Collection[Request]]:
        """For each class and requester its waiting requests, at least one, oldest first. Remove nothing while
        iterating."""
        for turns in self._classes:
            if turns is not None:
                yield from turns.values()

    def in_order(self) -> Iterator[Request]:
        """All requests, in the order in which they would be served if none came or left and there is no overload. Each
        costs O(classes)."""
        queues = [_in_turns(turns) for turns in self._classes if turns]
        heads = [next(queue) for queue in queues]
        while heads:
            number = min(range(len(heads)), key=lambda at: rank_of(heads[at]))
            if heads[number].call.attempt is not None:
                number = max(at for at, head in enumerate(heads) if head.call.attempt is not None)
            yield heads[number]
            following = next(queues[number], None)
            if following is not None:
                heads[number] = following
            else:
                del heads[number], queues[number]


def _in_turns(turns: _Turns) -> Iterator[Request]:
    lines = [iter(line) for line in turns.values()]
    while lines:
        remaining = []
        for line in lines:
            request = next(line, None)
            if request is not None:
                yield request
                remaining.append(line)
        lines = remaining


def rank_of(request: Request) -> float:
    """Lower is served sooner: the time of submission, earlier by `PRIORITY_STEP_S` for each priority class."""
    return request.submitted_at - request.call.priority * PRIORITY_STEP_S
