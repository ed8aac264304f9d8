"""What must be true of the core between any two calls. Tests check it after every step; production never does."""

from functools import reduce
from operator import xor

from .account import Account
from .core import Core
from .delivery.deadlines import NEVER
from .fleet.pool import Pool
from .fleet.route import Route, mismatch
from .fleet.worker import FOLLOWED_COUNT_MAX, SERVING, TRUSTED, WorkerState
from .queue.line import WaitingLine
from .request import Assignment, Request


def check_invariants(core: Core) -> None:
    """Raise AssertionError if the core's books do not agree with each other. Walks over all requests and workers.

    Strategies are not checked, because a pick changes their state.
    """
    live = [request for requester in core.requesters for request in requester.requests.values()]
    assert core.counts.in_flight_count == len(live), "submitted = ended + in flight"
    _check_requests(core, live)
    _check_kept_data(core, live)
    _check_accounts(core, live)
    _check_holders(core, live)
    routes = [
        route
        for command in (*core.roster.commands.values(), *core.roster.gathering.awaited.values())
        for route in (command.route, *command.targeted.values())
    ]
    _check_workers(core, {route.pool for route in routes if route.pool is not None})
    for route in routes:
        _check_route(core, route, live)
    assert set(core.queue.routes) == {request.route for request in live if request.is_waiting} <= set(routes)
    if not live:
        assert core.deadlines.is_empty


def _check_requests(core: Core, live: list[Request]) -> None:
    waiting = [request for request in live if request.is_waiting]
    assert core.queue.count == len(waiting)
    assert core.queue.size_bytes == sum(len(request.call.data) for request in waiting)
    for request in live:
        assert request.is_waiting != (request.assignment is not None), (
            "waiting or assigned, never both or neither"
        )
        assert request.deadline >= request.due_at >= request.submitted_at
        is_unsent = request.assignment is not None and request.assignment.is_unsent
        is_patient = request.call.attempt is not None and (request.is_waiting or is_unsent)
        assert is_patient == (request.deadline == NEVER)
        assert request.hedge is None or request.assignment is not None
        assert request.stream is None or (request.assignment is not None and request.hedge is None)
        copies = [copy for copy in (request.assignment, request.hedge) if copy is not None]
        assert len({copy.worker for copy in copies}) == len(copies), "two copies, two workers"
        for copy in copies:
            assert copy.request is request
            assert copy.worker.assignments[copy.msg_id] is copy


def _check_kept_data(core: Core, live: list[Request]) -> None:
    assert core.kept_data.size_bytes == sum(request.kept_size_bytes for request in live)
    for request in live:
        size_bytes = len(request.call.data)
        assert request.kept_size_bytes in (0, size_bytes)
        assert request.assignment is not None or not request.kept_size_bytes
        assert size_bytes or request.assignment is not None, "what was released is never sent again"


def _check_accounts(core: Core, live: list[Request]) -> None:
    for account in {requester.account for requester in core.requesters}:
        own = [request for request in live if request.requester.account is account]
        assert account.in_flight_count == len(own)
        assert account.waiting_size_bytes == sum(
            len(request.call.data) for request in own if request.is_waiting
        )


def _check_workers(core: Core, pools: set[Pool]) -> None:
    for worker in core.roster.workers.values():
        assert worker.in_flight_count == len(worker.assignments), "slots"
        assert worker.capacity <= worker.concurrency
        if worker.in_flight_count > worker.capacity:
            assert all(assignment.was_adopted for assignment in worker.assignments.values())
        if worker.places is not None:
            assert worker.places.held_by == {
                assignment.msg_id
                for assignment in worker.assignments.values()
                if worker.places.are_for(_command_of(assignment))
            }
            if len(worker.places.held_by) > worker.places.count_max:
                assert any(assignment.was_adopted for assignment in worker.assignments.values())
        assert worker.state is not WorkerState.GONE
        memberships = worker.memberships()
        assert bool(memberships) == (worker.state in SERVING)
        assert set(memberships) == {pool for pool in pools if worker in pool.members}
        assert set(worker.followed) == {pool for pool in memberships if pool.lazy is None}
        assert set(worker.pools) == {pool for pool in worker.followed if pool.takes(worker)}
        assert len(worker.followed) <= FOLLOWED_COUNT_MAX
        assert worker.changes is not None or len(memberships) == len(worker.followed)
        followers = [id(pool.strategy) for pool in worker.pools]
        followers += [] if worker.changes is None else [id(worker.changes)]
        assert sorted(map(id, worker.strategies)) == sorted(followers)
        for assignment in worker.assignments.values():
            request = assignment.request
            assert request is None or assignment in (request.assignment, request.hedge)


def _check_line(line: WaitingLine, waiting: list[Request]) -> None:
    assert line.count == len(waiting)
    found: list[Request] = []
    for account in line.accounts():
        assert account.turn.priority == account.turns.first().priority, "ranked by what would be served"
        assert account.turns.count == len(account.shares) > 0
        for owner, share in account.shares.items():
            assert share.owner is owner
            assert share.turn.priority == share.priority
            requests = [request for requests in share.lines() for request in requests]
            assert share.count == len(requests) > 0
            assert share.classes_count == len(share.lines())
            assert share.next(is_newest=False) in requests, "the class that is next has requests"
            assert share.next(is_newest=False).call.priority == share.priority
            for request in requests:
                assert request.requester.account is account.account
                assert share.is_attempts == (request.call.attempt is not None)
                assert owner is (account.account if share.is_attempts else request.requester)
            if not share.is_attempts:
                assert share.holder.count.amount == len(requests)
                assert share.holder.size_bytes.amount == sum(len(request.call.data) for request in requests)
            found += requests
    assert set(found) == set(waiting)
    if waiting:
        assert line.peek() in waiting
        assert line.turn.party in line.accounts()
    else:
        assert line.peek() is None
        assert not line.is_overloaded


def _check_holders(core: Core, live: list[Request]) -> None:
    """What gives way if a bound is reached: all that waits, but attempts."""
    waiting = [request for request in live if request.is_waiting and request.call.attempt is None]
    for by_size in (False, True):
        by_account: dict[Account, int] = {}
        for requester in core.requesters:
            own = [request for request in waiting if request.requester is requester]
            by_route: dict[Route, int] = {}
            for request in own:
                amount = len(request.call.data) if by_size else 1
                by_route[request.route] = by_route.get(request.route, 0) + amount
            held = sum(by_route.values())
            assert requester.holder.amount(by_size=by_size) == held
            longest = requester.shares.most(by_size=by_size)
            assert (0 if longest is None else longest.amount) == max(by_route.values(), default=0)
            by_account[requester.account] = by_account.get(requester.account, 0) + held
        for account, held in by_account.items():
            assert account.holder.amount(by_size=by_size) == held


def _check_route(core: Core, route: Route, live: list[Request]) -> None:
    assert not route.is_makeshift, "nothing refers to it for longer than a call"
    waiting = [request for request in live if request.is_waiting and request.route is route]
    waiting_count = len(waiting)
    _check_line(route.waiting, waiting)
    servers = {
        worker
        for worker in core.roster.workers.values()
        if worker.state in SERVING
        and route.command in worker.commands
        and mismatch(worker, route.target) is None
    }
    if route.pool is None:
        assert not servers
        assert core.roster.gathering.is_on or not waiting_count, "no request waits on a route without workers"
        return
    assert route in route.pool.routes
    name = route.command.name
    assert reduce(xor, (worker.mark_for(name) for worker in servers)) == route.pool.mark
    for worker in servers:
        assert len({worker.needs_place_for(other.command.name) for other in route.pool.routes}) == 1
    assert set(route.pool.members) == servers
    assert route.pool.slots_count == sum(worker.slots_for(name) for worker in servers)
    known = [worker for worker in servers if worker.state is not WorkerState.JOINING]
    trusted = [worker for worker in servers if worker.state in TRUSTED]
    assert route.pool.is_panicking == (len(trusted) < len(known) / 2)
    has_free = any(
        route.pool.holds(worker) and worker.in_flight_count < worker.capacity for worker in servers
    )
    assert not (has_free and waiting_count), "no request waits while a slot is free"


def _command_of(assignment: Assignment) -> str:
    if assignment.batch is not None:
        return assignment.batch.command.name
    assert assignment.worker.canary is not None, "every other assignment is in a batch"
    return assignment.worker.canary
