"""All requests that wait for a free slot: the lines of all routes, and the common bounds on them.

Decides which request is next for a worker, and which ones to reject under overload; ending those is its caller's task.
"""

from collections.abc import Iterable
from typing import Final

from ....protocol.errors import Overloaded
from ..failure import Failure
from ..fleet.route import Route
from ..fleet.worker import Worker
from ..ports import Observer
from ..request import Request
from ..settings import CoreSettings
from .line import rank_of
from .overload import WAIT_SHARE_MAX

RETRY_AFTER_S_MIN: Final = 0.1
RETRY_AFTER_S_MAX: Final = 60.0
RETRY_AFTER_S_UNKNOWN: Final = 1.0
"""Bounds of `retry_after`: the line's length divided by its recent speed, limited for the sake of the broker and the
caller; one second if the line's speed is not known yet."""


SHED_COUNT_MAX: Final = 2000
"""Requests rejected in one check, so that it takes less than about 20 ms; 8,000 per second."""


class Queue:
    """`count` requests wait, with `size_bytes` of data; `routes` are those on which at least one waits."""

    __slots__ = (
        "_observer",
        "account_refused_count",
        "count",
        "routes",
        "settings",
        "shed_count",
        "size_bytes",
    )

    def __init__(self, settings: CoreSettings, observer: Observer) -> None:
        self.settings = settings
        self._observer = observer
        self.count = 0
        self.size_bytes = 0
        self.routes: dict[Route, None] = {}
        self.shed_count = 0
        """Requests rejected because they had waited too long under overload."""
        self.account_refused_count = 0
        """Requests rejected because too many bytes of their account waited."""

    def refusal(self, request: Request) -> Failure | None:
        """Why there is no room for `request`, which is rejected then; None if there is."""
        size_bytes = len(request.call.data)
        account = request.requester.account
        if self.count >= self.settings.queue_count_max:
            text = f"{self.settings.queue_count_max} requests wait (queue_count_max)"
        elif account.waiting_size_bytes + size_bytes > account.waiting_size_bytes_max:
            self.account_refused_count += 1
            bound = account.waiting_size_bytes_max
            text = f"{bound} bytes of data of {account.name} wait (account_waiting_size_bytes_max)"
        elif self.size_bytes + size_bytes > self.settings.queue_size_bytes_max:
            text = f"{self.settings.queue_size_bytes_max} bytes of data wait (queue_size_bytes_max)"
        else:
            return None
        return self._overloaded(request.route, text)

    def add(self, request: Request, now: float, *, is_first: bool) -> None:
        """Queue `request`; with `is_first`, ahead of its requester's other requests of its class."""
        request.route.waiting.add(request, is_first=is_first)
        self.routes[request.route] = None
        request.is_waiting = True
        request.waiting_since = now
        size_bytes = len(request.call.data)
        self.count += 1
        self.size_bytes += size_bytes
        request.requester.account.waiting_size_bytes += size_bytes

    def remove(self, request: Request, now: float) -> None:
        """Remove `request`, which waits, because it has ended."""
        request.route.waiting.remove(request)
        self._gone(request, now)

    def take_for(self, worker: Worker, now: float) -> Request | None:
        """Remove and return the next request for `worker`; None if none waits for it."""
        head: Request | None = None
        head_rank = 0.0
        for route in self._waited_for(worker):
            request = route.waiting.peek()
            assert request is not None, "a request waits on each of them"
            rank = rank_of(request)
            if head is None or rank < head_rank:
                head, head_rank = request, rank
        if head is None:
            return None
        route = head.route
        is_newest = route.overload.is_overloaded and head.call.attempt is None
        request = route.waiting.take(head, is_newest=is_newest)
        self._gone(request, now)
        if request.call.attempt is None:
            route.overload.served(wait_share(request, now))
            request.command.queue_wait.observe(request.waited_s)
        return request

    def overdue(self, now: float) -> list[tuple[Request, Failure]]:
        """Check all lines for overload, in which attempts do not count. Returns the requests to reject, and why; they
        wait until the caller ends them."""
        shed: list[tuple[Request, Failure]] = []
        for route in tuple(self.routes):
            overload = route.overload
            oldest_share = 0.0
            count = 0
            for line in route.waiting.oldest():
                if next(iter(line)).call.attempt is not None:
                    continue
                count += len(line)
                for request in line:
                    share = wait_share(request, now)
                    is_enough = len(shed) >= SHED_COUNT_MAX
                    if not overload.is_overloaded or share < WAIT_SHARE_MAX or is_enough:
                        oldest_share = max(oldest_share, share)
                        break
                    what = f"requests for {request.command.name} come faster than they are done"
                    text = f"{what}, and this one has waited {now - request.waiting_since:.1f} s"
                    shed.append((request, self._overloaded(route, text)))
            if count and overload.look(count, oldest_share, now):
                self._observer.overload_changed(route)
        self.shed_count += len(shed)
        return shed

    def _overloaded(self, route: Route, text: str) -> Failure:
        speed_per_s = route.overload.served_per_s
        retry_after_s = route.waiting.count / speed_per_s if speed_per_s else RETRY_AFTER_S_UNKNOWN
        retry_after_s = round(min(RETRY_AFTER_S_MAX, max(RETRY_AFTER_S_MIN, retry_after_s)), 3)
        return Failure(Overloaded.code, text, retry_after_s)

    def _gone(self, request: Request, now: float) -> None:
        """Update the books after `request` has left its line."""
        route = request.route
        if not route.waiting.count:
            del self.routes[route]
            was_overloaded = route.overload.is_overloaded
            route.overload.end()
            if was_overloaded:
                self._observer.overload_changed(route)
        request.is_waiting = False
        request.waited_s += now - request.waiting_since
        size_bytes = len(request.call.data)
        self.count -= 1
        self.size_bytes -= size_bytes
        request.requester.account.waiting_size_bytes -= size_bytes

    def _waited_for(self, worker: Worker) -> Iterable[Route]:
        """The routes of `worker` on which requests wait, found from whichever side is shorter."""
        if len(self.routes) <= len(worker.commands):
            pools = worker.pools
            return [route for route in self.routes if route.pool in pools]
        return [route for pool in worker.pools for route in pool.routes if route.waiting.count]


def wait_share(request: Request, now: float) -> float:
    """The share of its timeout that a request has waited, this time."""
    return (now - request.waiting_since) / request.timeout_s
