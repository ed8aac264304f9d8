"""Makes room for a request if a bound on what waits is reached: whoever has most gives way.

Source: longest queue drop (Suter, Lakshman, Stiliadis and Choudhury, "Buffer Management Schemes for Supporting TCP in
Gigabit Routers with Per-flow Queueing", IEEE JSAC 1999), which is also how FQ-CoDel (RFC 8290) keeps its bound. So no
client can keep out others by filling the queue, and one that is alone may fill all of it.
"""

from typing import Final

from ..failure import Failure
from ..measures.counts import Counts
from ..queue.queue import Queue
from ..request import Request
from ..requester import Requester
from .ending import Ending

YIELDED_COUNT_MAX: Final = 1000
"""Requests that give way to one. If the bounds on count and bytes are both reached, the largest message needs the room
of 400 by default."""


class Room:
    """Ends what gives way, and counts it."""

    __slots__ = ("_counts", "_ending", "_queue")

    def __init__(self, queue: Queue, ending: Ending, counts: Counts) -> None:
        self._queue = queue
        self._ending = ending
        self._counts = counts

    def make_for(self, request: Request, now: float) -> Failure | None:
        """Make room for `request` to wait. If there is none, because its own requester has most, the failure with
        which it ends."""
        yielded_count_max = self._counts.yielded_count + YIELDED_COUNT_MAX
        while (shortage := self._queue.shortage(request)) is not None:
            yielded = self._queue.who_yields(request, shortage)
            if yielded is None or self._counts.yielded_count >= yielded_count_max:
                break
            self._yield(yielded, now)
        if shortage is None:
            return None
        if shortage.is_of_account:
            self._queue.account_refused_count += 1
        return self._queue.overloaded(request, shortage.text)

    def make_in_account(self, requester: Requester, text: str, now: float) -> bool:
        """Make room for one more request of an account, which has as many in flight as it may: `text`. False if none of
        its other connections has more waiting than `requester`."""
        yielded = self._queue.who_yields_in(requester, text)
        if yielded is None:
            return False
        self._yield(yielded, now)
        return True

    def _yield(self, yielded: tuple[Request, Failure], now: float) -> None:
        self._counts.yielded_count += 1
        self._ending.fail(*yielded, now)
