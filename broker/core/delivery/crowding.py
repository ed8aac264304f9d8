"""Requests with a target while others wait for as many targets as there may be: TARGETS_COUNT_MAX.

If a worker that matches has a free slot, it gets the request. Only what must wait needs a target of its own: then the
account that waits for most gives one of its targets up, or within the account its connection with most. So a client
that waits for many targets shuts out none that waits for few.
"""

from collections.abc import Iterable
from typing import Final

from ....protocol import errors
from ..account import Account
from ..failure import Failure
from ..fleet import roster
from ..fleet.gathering import Gathering
from ..fleet.roster import Roster
from ..fleet.route import Route
from ..fleet.worker import Worker
from ..measures.counts import Counts
from ..request import Request
from ..requester import Requester
from .delivery import Delivery
from .ending import Ending

RETRY_AFTER_S: Final = 1.0
"""Sent to a requester if there is no room for its target: room can become free at any moment."""


class Crowding:
    """Finds a worker or a route for a request whose own route is makeshift."""

    __slots__ = ("_counts", "_delivery", "_ending", "_gathering", "_roster")

    def __init__(
        self, roster: Roster, gathering: Gathering, *, delivery: Delivery, ending: Ending, counts: Counts
    ) -> None:
        self._roster = roster
        self._gathering = gathering
        self._delivery = delivery
        self._ending = ending
        self._counts = counts

    def line_up(self, request: Request, now: float) -> None:
        """Assign a request with a makeshift route, or let it wait for its target; fail it if neither is possible."""
        target = request.call.target
        assert target is not None, "no route without a target is makeshift"
        matching = self._roster.matching(request.command, target)
        worker = _most_idle(request, matching)
        if worker is not None:
            self._delivery.place(request, worker, request.timeout_s, now)
        elif not matching and not self._gathering.holds(request):
            self._delivery.fail_for_lack(request, now=now)
        elif (failure := self.give_route(request, now)) is not None:
            self._ending.fail(request, failure, now)
        else:
            pool = request.route.pool
            worker = None if pool is None else pool.strategy.pick(request.call.affinity)
            if worker is not None:  # that is trusted among those of the target alone
                self._delivery.place(request, worker, request.timeout_s, now)
            else:
                self._delivery.line_up(request, now)

    def give_route(self, request: Request, now: float) -> Failure | None:
        """Give a request the route of its target, for which another target may have to be given up. The failure if
        there is no room."""
        target = request.call.target
        assert target is not None, "as above"
        if request.requester.names_workers:
            assert isinstance(target, str), "it names a worker"
            request.route = self._roster.named(request.command, target)
            return None
        route = self._roster.targeted(request.command, target)
        if route.is_makeshift:
            text = f"requests with {roster.TARGETS_COUNT_MAX} different targets wait (TARGETS_COUNT_MAX)"
            given_up, name = self._given_up_for(request.requester)
            if given_up is None:
                return _overloaded(text)
            failure = _overloaded(f"{text}, and {name} waits for most of them")
            while (waiting := given_up.waiting.peek()) is not None:
                self._counts.yielded_count += 1
                self._ending.fail(waiting, failure, now)
            route = self._roster.targeted(request.command, target)
        request.route = route
        return None

    def _given_up_for(self, requester: Requester) -> tuple[Route | None, str]:
        """The target that is given up so that one more of `requester` can wait, and for people who waits for most. None
        if that is `requester`, or not clearly another one."""
        account = requester.account
        routes_by_account: dict[Account, list[Route]] = {}
        routes_by_requester: dict[Requester, list[Route]] = {}
        for route in self._roster.targets:
            shares = route.waiting.shares()
            owners = {share.owner for share in shares if isinstance(share.owner, Requester)}
            accounts = {owner.account for owner in owners}
            if len(accounts) != 1 or len(owners) != len(shares):
                continue
            owner_account = accounts.pop()
            routes_by_account.setdefault(owner_account, []).append(route)
            if owner_account is account and len(owners) == 1:
                routes_by_requester.setdefault(owners.pop(), []).append(route)
        richest = max(routes_by_account, key=lambda owner: len(routes_by_account[owner]), default=account)
        if len(routes_by_account.get(account, ())) + 1 < len(routes_by_account.get(richest, ())):
            return _smallest(routes_by_account[richest]), richest.name
        busiest = max(
            routes_by_requester, key=lambda owner: len(routes_by_requester[owner]), default=requester
        )
        if len(routes_by_requester.get(requester, ())) + 1 < len(routes_by_requester.get(busiest, ())):
            return _smallest(routes_by_requester[busiest]), f"of {account.name} this connection"
        return None, ""


def _most_idle(request: Request, matching: Iterable[Worker]) -> Worker | None:
    """The least loaded of `matching` that can take the request now."""
    pool = request.command.route.pool
    best: Worker | None = None
    best_load = 1.0
    for worker in matching:
        load = worker.in_flight_count / worker.capacity
        if load < best_load and pool is not None and pool.holds(worker):
            best, best_load = worker, load
    return best


def _smallest(routes: Iterable[Route]) -> Route:
    """The one on which fewest requests wait."""
    return min(routes, key=lambda route: route.waiting.count)


def _overloaded(text: str) -> Failure:
    return Failure(errors.Overloaded.code, text, RETRY_AFTER_S)
