"""All requests that wait for a free slot: the lines of all routes, and the common bounds on them.

Decides which request is next for a worker, which ones to reject under overload, and which one gives way if a bound is
reached; ending those is its caller's task.
"""

from typing import Final, NamedTuple

from ....protocol.errors import Overloaded
from ..account import Account
from ..failure import Failure
from ..fleet.route import Route
from ..fleet.worker import Worker
from ..ports import Observer
from ..request import Request
from ..requester import Requester
from ..settings import CoreSettings
from .holdings import Holders
from .share import Share
from .shedding import look, wait_share
from .turns import PRIORITY_STEP_S

RETRY_AFTER_S_MIN: Final = 0.1
RETRY_AFTER_S_MAX: Final = 60.0
RETRY_AFTER_S_UNKNOWN: Final = 1.0
"""Bounds of `retry_after`: the line's length divided by its recent speed, limited for the sake of the broker and the
caller; one second if the line's speed is not known yet."""


SHED_COUNT_MAX: Final = 2000
"""Requests rejected in one check, so that it takes less than about 20 ms; 8,000 per second."""

LOOKED_COUNT_MAX: Final = 5000
"""Shares after which a check is over, for the same reason; the next one goes on with the routes that are left. So many
are there only if thousands of connections wait on many routes; a route is looked at as a whole."""


class Shortage(NamedTuple):
    """A bound that is reached: in words, whether it is one of bytes, and whether it is that of the account."""

    text: str
    is_of_size: bool
    is_of_account: bool


class Queue:
    """`count` requests wait, with `size_bytes` of data; `routes` are those on which at least one waits."""

    __slots__ = (
        "_accounts",
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
        self._accounts: Holders[Account] = Holders()
        self.count = 0
        self.size_bytes = 0
        self.routes: dict[Route, None] = {}
        self.shed_count = 0
        """Requests rejected because they had waited too long under overload."""
        self.account_refused_count = 0
        """Requests rejected because too many bytes of their account waited."""

    # --- the bounds -------------------------------------------------------------------------------------------------

    def shortage(self, request: Request) -> Shortage | None:
        """Why there is no room for `request`; None if there is."""
        size_bytes = len(request.call.data)
        settings, account = self.settings, request.requester.account
        if self.count >= settings.queue_count_max:
            text = f"{settings.queue_count_max} requests wait (queue_count_max)"
            return Shortage(text, is_of_size=False, is_of_account=False)
        if account.waiting_size_bytes + size_bytes > account.waiting_size_bytes_max:
            bound = account.waiting_size_bytes_max
            text = f"{bound} bytes of data of {account.name} wait (account_waiting_size_bytes_max)"
            return Shortage(text, is_of_size=True, is_of_account=True)
        if self.size_bytes + size_bytes > settings.queue_size_bytes_max:
            text = f"{settings.queue_size_bytes_max} bytes of data wait (queue_size_bytes_max)"
            return Shortage(text, is_of_size=True, is_of_account=False)
        return None

    def who_yields(self, request: Request, shortage: Shortage) -> tuple[Request, Failure] | None:
        """The waiting request that gives way to `request`, and why; None if its own requester has most, or not less
        than whoever has, with `request` added. Of that requester, what waits for the command with most gives way, so
        that those of one command do not keep out those of another."""
        requester, by_size = request.requester, shortage.is_of_size
        amount = len(request.call.data) if by_size else 1
        account = requester.account
        if not shortage.is_of_account:
            richest = self._accounts.most(by_size=by_size)
            if richest is not None and account.holder.amount(by_size=by_size) + amount < richest.amount:
                text = f"{shortage.text}, and {richest.owner.name} has most of that"
                return self._last_of(richest.owner, text, by_size=by_size)
        busiest = account.requesters.most(by_size=by_size)
        if busiest is not None and requester.holder.amount(by_size=by_size) + amount < busiest.amount:
            text = f"{shortage.text}, and of {account.name} this connection has most of that"
            return self._last_in(busiest.owner, text, by_size=by_size)
        longest = requester.shares.most(by_size=by_size)
        own = request.route.waiting.share_of(requester)
        own_amount = 0 if own is None else own.holder.amount(by_size=by_size)
        if longest is not None and own_amount + amount < longest.amount:
            last = longest.owner.last()
            text = f"{shortage.text}, and of this connection {last.command.name} has most of that"
            return last, self.overloaded(last, text)
        return None

    def who_yields_in(self, requester: Requester, text: str) -> tuple[Request, Failure] | None:
        """The same among the requests of one account, for a call that may not have to wait."""
        account = requester.account
        busiest = account.requesters.most(by_size=False)
        if busiest is None or requester.holder.count.amount + 1 >= busiest.amount:
            return None
        return self._last_in(busiest.owner, f"{text}, and this connection has most of them", by_size=False)

    def _last_of(self, account: Account, text: str, *, by_size: bool) -> tuple[Request, Failure]:
        busiest = account.requesters.most(by_size=by_size)
        assert busiest is not None, "what waits of an account is of its requesters"
        return self._last_in(busiest.owner, text, by_size=by_size)

    def _last_in(self, requester: Requester, text: str, *, by_size: bool) -> tuple[Request, Failure]:
        longest = requester.shares.most(by_size=by_size)
        assert longest is not None, "what waits of a requester is in its shares"
        last = longest.owner.last()
        return last, self.overloaded(last, text)

    # --- coming and going -------------------------------------------------------------------------------------------

    def add(self, request: Request, now: float, *, is_first: bool) -> None:
        """Queue `request`; with `is_first`, ahead of its requester's other requests of its class."""
        share = request.route.waiting.add(request, now, is_first=is_first)
        self.routes[request.route] = None
        request.is_waiting = True
        request.waiting_since = now
        size_bytes = len(request.call.data)
        self.count += 1
        self.size_bytes += size_bytes
        requester = request.requester
        account = requester.account
        account.waiting_size_bytes += size_bytes
        if not share.is_attempts:
            self._accounts.add(account.holder, size_bytes)
            account.requesters.add(requester.holder, size_bytes)
            requester.shares.add(share.holder, size_bytes)

    def remove(self, request: Request, now: float) -> None:
        """Remove `request`, which waits, because it has ended."""
        line = request.route.waiting
        share = line.remove(request)
        if now >= request.deadline:
            line.overload.expired()
            if share.overload is not None:
                share.overload.expired()
        self._gone(request, share, now)

    def take_for(self, worker: Worker, now: float) -> Request | None:
        """Remove and return the next request for `worker`; None if none waits for it."""
        routes = self._waited_for(worker)
        if not routes:
            return None
        route = routes[0] if len(routes) == 1 else _of_several(routes, now)
        request, share = route.waiting.take(now)
        if not share.is_attempts:
            wait = wait_share(request, now)
            route.waiting.overload.served(wait)
            if share.overload is not None:
                share.overload.served(wait)
        self._gone(request, share, now)
        if not share.is_attempts:
            request.command.queue_wait.observe(request.waited_s)
        return request

    def overdue(self, now: float) -> list[tuple[Request, Failure]]:
        """Check the lines for overload: all, or in turn so many that LOOKED_COUNT_MAX is reached. Returns the requests
        to reject, and why; they wait until the caller ends them."""
        shed: list[tuple[Request, Failure]] = []
        looked_count = 0
        for route in tuple(self.routes):
            if looked_count >= LOOKED_COUNT_MAX:
                break
            del self.routes[route]
            self.routes[route] = None  # it is the last to be looked at again
            shares = route.waiting.shares()
            looked_count += len(shares)
            found: list[Request] = []
            is_changed = look(route.waiting, shares, found, SHED_COUNT_MAX - len(shed), now)
            for request in found:
                what = f"requests for {request.command.name} come faster than they are done"
                text = f"{what}, and this one has waited {now - request.waiting_since:.1f} s"
                shed.append((request, self.overloaded(request, text)))
            if is_changed:
                self._observer.overload_changed(route)
        self.shed_count += len(shed)
        return shed

    def overloaded(self, request: Request, text: str) -> Failure:
        """The failure of a request for which there is no room, with the time in which there may be."""
        line = request.route.waiting
        count, speed_per_s = line.count, line.overload.served_per_s
        share = line.share_of(request.requester)
        if share is not None and share.overload is not None and share.overload.served_per_s:
            count, speed_per_s = share.count, share.overload.served_per_s
        retry_after_s = count / speed_per_s if speed_per_s else RETRY_AFTER_S_UNKNOWN
        retry_after_s = round(min(RETRY_AFTER_S_MAX, max(RETRY_AFTER_S_MIN, retry_after_s)), 3)
        return Failure(Overloaded.code, text, retry_after_s)

    def _gone(self, request: Request, share: Share, now: float) -> None:
        """Update the books after `request` has left its line and `share`."""
        route = request.route
        line = route.waiting
        if not line.count:
            del self.routes[route]
            line.overload.end()
            if line.is_overloaded:
                line.is_overloaded = False
                self._observer.overload_changed(route)
        request.is_waiting = False
        request.waited_s += now - request.waiting_since
        size_bytes = len(request.call.data)
        self.count -= 1
        self.size_bytes -= size_bytes
        requester = request.requester
        account = requester.account
        account.waiting_size_bytes -= size_bytes
        if not share.is_attempts:
            account.holder.remove(size_bytes)
            requester.holder.remove(size_bytes)
            share.holder.remove(size_bytes)

    def _waited_for(self, worker: Worker) -> list[Route]:
        """The routes of `worker` on which requests wait, found from whichever side is shorter."""
        if worker.changes is not None:
            if len(self.routes) <= len(worker.commands):
                return [route for route in self.routes if route.pool is not None and route.pool.holds(worker)]
            held = [pool for pool in worker.memberships() if pool.holds(worker)]
            return [route for pool in held for route in pool.routes if route.waiting.count]
        if len(self.routes) <= len(worker.commands):
            pools = worker.pools
            return [route for route in self.routes if route.pool in pools]
        return [route for pool in worker.pools for route in pool.routes if route.waiting.count]


def _of_several(routes: list[Route], now: float) -> Route:
    """The route whose turn it is, of those of one worker. Accounts take turns over all of them, and the connections of
    an account: the others on which the same one is next lose that turn. What one connection has on several is served
    in the order in which it came, once `PRIORITY_STEP_S` is added for each class."""
    turn = routes[0].waiting.turn
    for route in routes:
        other = route.waiting.turn
        if other.rank < turn.rank:
            turn = other
    account = turn.party.account
    routes = [route for route in routes if route.waiting.turn.party.account is account]
    share_turn = turn.party.turns.first()
    for route in routes:
        share_other = route.waiting.turn.party.turns.first()
        if share_other.rank < share_turn.rank:
            share_turn = share_other
    owner = share_turn.party.owner
    best: Route | None = None
    best_rank = 0.0
    for route in routes:
        request = route.waiting.peek()
        assert request is not None, "a request waits on each of them"
        rank = request.submitted_at - request.call.priority * PRIORITY_STEP_S
        is_of_owner = route.waiting.turn.party.turns.first().party.owner is owner
        if is_of_owner and (best is None or rank < best_rank):
            best, best_rank = route, rank
    assert best is not None
    for route in routes:
        if route is not best:
            route.waiting.pass_turn(owner, now)
    return best
