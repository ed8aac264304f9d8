"""The workers and commands that the broker knows: which worker serves what, and which can take an assignment now.

Updates the pools as workers join, become unhealthy, recover and leave, and is the one place where a worker's state
changes. Before a call returns, it notifies `Placement` of workers that became eligible and of routes that lost their
last worker, and the observer of changes of state.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final, Protocol

from ....loadbalance.choice import StrategyChoice
from ..call import Target
from ..ports import Observer
from .changes import Changes
from .command import Command
from .directory import Directory
from .gathering import Gathering
from .merging import STEPS_COUNT_MAX, Merging
from .pool import Pool
from .record import Records
from .route import Route, mismatch, target_key
from .tally import Tally
from .worker import SERVING, TRANSITIONS, Worker, WorkerEvent, WorkerState

TARGETS_COUNT_MAX: Final = 100
"""Targets that have a route, over all commands. Each adds a strategy that every assignment of its workers has to
update, so targets without waiting requests make room for new ones, the least recently used first. If there are none,
see crowding.py."""

FOLLOWED_MEMBERS_COUNT_MAX: Final = 500
"""Members of the pools that a join divides off which it enters in strategies itself, a millisecond. Others stay lazy
until the next checks."""

NAMED_COUNT_MAX: Final = 10_000
"""Routes to one worker each, for requesters that name workers, before those on which nothing waits make room for new
ones: as many as one gather may have. One that waits is bounded by what its requester may have in flight."""

NAMED_CHECKED_COUNT_MAX: Final = 200
"""Of these, how many one periodic check looks at, to remove those on which nothing waits: in a millisecond."""


class Placement(Protocol):
    """Acts on what the roster reports. Must not call back into the roster."""

    def fill(self, worker: Worker, now: float) -> None:
        """`worker` has become eligible in a pool: assign waiting requests to its free slots."""

    def strand(self, route: Route, now: float) -> None:
        """No worker is left on `route`: end the requests that wait on it."""


class Roster:
    """`workers` by id, and `commands` by name, of which the `directory` keeps the books; `unknown` stands for all
    commands that no worker has served."""

    __slots__ = (
        "_changes",
        "_choice",
        "_lazy",
        "_merging",
        "_named",
        "_observer",
        "_placement",
        "_targeted",
        "commands",
        "directory",
        "gathering",
        "records",
        "unknown",
        "workers",
    )

    def __init__(
        self, choice: StrategyChoice, placement: Placement, observer: Observer, gathering: Gathering
    ) -> None:
        self._choice = choice
        self.gathering = gathering
        self._merging = Merging()
        self._changes = Changes()
        self._lazy: dict[Pool, None] = {}
        """Pools that are lazy, or were a moment ago."""
        self._placement = placement
        self._observer = observer
        self._targeted: OrderedDict[Route, object] = OrderedDict()
        self._named: OrderedDict[Route, str] = OrderedDict()
        """Of requesters that name workers: these do not count as targets."""
        self.directory = Directory(choice, gathering, self._targeted, self._named)
        self.commands = self.directory.known
        self.unknown = gathering.unknown
        self.workers: dict[str, Worker] = {}
        self.records = Records()

    @property
    def unserved_count(self) -> int:
        """Requests that have ended while no worker had ever served their command."""
        return sum(self.unknown.outcomes.values())

    # --- joining and leaving ----------------------------------------------------------------------------------------

    def join(self, worker: Worker, names: Iterable[str], now: float) -> None:
        """Register a worker that serves the commands `names` (duplicates count once). It takes over its id, even if an
        old connection of the same worker, which is about to leave, still has it."""
        self.workers[worker.worker_id] = worker
        worker.commands = {self.directory.serve(name, now): Tally() for name in dict.fromkeys(names)}
        self._join_pools(worker)

    def leave(self, worker: Worker, now: float) -> None:
        """Remove `worker`, whose connection has closed."""
        entered, stranded = self._leave_pools(worker)
        self._changes.forget(worker)
        worker.move(WorkerEvent.LOST)
        if self.workers.get(worker.worker_id) is worker:
            del self.workers[worker.worker_id]
            self.records.keep(worker.worker_id, worker.record)
        self._hand_on(entered, stranded, now)

    def move(
        self, worker: Worker, event: WorkerEvent, now: float, verdict: str = "", words: str = ""
    ) -> None:
        """Apply an event to a connected worker, if it changes the worker's state; `words` are a handler's text."""
        before = worker.state
        if TRANSITIONS.get((before, event), before) is before:
            return
        was_serving = before in SERVING
        for pool in tuple(worker.pools):
            pool.retire(worker)
        worker.move(event, verdict, words)
        is_probing = worker.state is WorkerState.PROBING
        worker.capacity = (
            min(worker.in_flight_count + 1, worker.concurrency) if is_probing else worker.concurrency
        )
        entered: list[Worker] = []
        stranded: list[Route] = []
        for pool in worker.memberships():
            entered += pool.moved(worker, before)
        if worker.changes is not None:
            worker.changes.changed(worker)
        is_serving = worker.state in SERVING
        if is_serving and not was_serving:
            self._join_pools(worker)
        elif was_serving and not is_serving:
            others, stranded = self._leave_pools(worker)
            entered += others
        self._observer.worker_moved(worker, before)
        self._hand_on(entered, stranded, now)

    def choose(self, choice: StrategyChoice) -> None:
        """Change the strategies. If any command gets another one, all pools are made again, as if the workers had just
        joined; if none does, the pools stay, and their strategies keep their state. The same workers are eligible as
        before, so there is nothing to fill."""
        self._choice = self.directory.choice = choice
        names = {command: choice.name_for(command.name) for command in self.commands.values()}
        if all(name == command.strategy for command, name in names.items()):
            return
        self._merging.clear()
        self._lazy.clear()
        self._changes.end()
        for command, name in names.items():
            command.strategy = name
            for route in (command.route, *command.targeted.values()):
                route.pool = None
        for worker in self.workers.values():
            worker.pools.clear()
            worker.followed.clear()
            worker.strategies.clear()
            if worker.state in SERVING:
                self._join_pools(worker)

    def look(self) -> None:
        """The periodic check: merge pools that have the same workers, see which need not be lazy any more, and remove
        routes of named workers that are not needed."""
        self._merging.look()
        if self._named:
            self._forget_named(NAMED_CHECKED_COUNT_MAX)
        looked_at: list[Pool] = []
        steps_count = 0
        for pool in self._lazy:
            looked_at.append(pool)
            steps_count += 1 + len(pool.members)
            if steps_count >= STEPS_COUNT_MAX:
                break
        for pool in looked_at:
            del self._lazy[pool]
            pool.follow()
            if pool.lazy is not None and pool.members:
                self._lazy[pool] = None  # again after all others
        if not self._lazy:
            self._changes.end()

    def _hand_on(self, entered: list[Worker], stranded: list[Route], now: float) -> None:
        """Notify `Placement`, once a change is complete. The worker that became eligible last comes first."""
        for route in stranded:
            if route.waiting.count:
                self._placement.strand(route, now)
            if route in self._named and not route.waiting.count:
                self._remove(route, self._named.pop(route))
        for worker in dict.fromkeys(reversed(entered)):
            self._placement.fill(worker, now)

    # --- routes -----------------------------------------------------------------------------------------------------

    @property
    def targets(self) -> Collection[Route]:
        """The routes of targets, the least recently used first."""
        return self._targeted

    def targeted(self, command: Command, target: Target) -> Route:
        """The route of requests for `command` with `target`; a makeshift one if requests wait for as many others as
        there may be."""
        key = target_key(target)
        route = command.targeted.get(key)
        if route is not None:
            if route not in self._named:
                self._targeted.move_to_end(route)
            return route
        route = Route(command, target)
        if len(self._targeted) >= TARGETS_COUNT_MAX and not self._forget_a_target():
            route.is_makeshift = True
            return route
        command.targeted[key] = route
        self._targeted[route] = key
        matching = self.matching(command, target)
        if matching:
            self._new_pool([route], matching)
        return route

    def named(self, command: Command, worker_id: str) -> Route:
        """The route of requests for `command` to one worker, by a requester that names workers."""
        route = command.targeted.get(worker_id)
        if route is not None:
            return route
        if len(self._named) >= NAMED_COUNT_MAX:
            self._forget_named(2)
        route = Route(command, worker_id)
        command.targeted[worker_id] = route
        self._named[route] = worker_id
        matching = self.matching(command, worker_id)
        if matching:
            self._new_pool([route], matching)
        return route

    def matching(self, command: Command, target: Target | None) -> list[Worker]:
        """The workers that serve `command` and match `target`."""
        pool = command.route.pool
        members = () if pool is None else pool.members
        if isinstance(target, str):
            worker = self.workers.get(target)
            return [] if worker is None or worker not in members else [worker]
        return [member for member in members if mismatch(member, target) is None]

    def _forget_a_target(self) -> bool:
        """Remove the least recently used target without waiting requests. False if there is none."""
        route = next(
            (route for route in self._targeted if not (route.waiting.count or route.is_awaited)), None
        )
        if route is None:
            return False
        self._remove(route, self._targeted.pop(route))
        return True

    def _forget_named(self, count: int) -> None:
        """Look at the first `count` routes of named workers, and remove those on which nothing waits."""
        for route in list(islice(self._named, count)):
            if route.waiting.count or route.is_awaited:
                self._named.move_to_end(route)
            else:
                self._remove(route, self._named.pop(route))

    def _remove(self, route: Route, key: object) -> None:
        """Remove a target's route, on which nothing waits, and its pool."""
        del route.command.targeted[key]
        if route.pool is not None:
            for member in tuple(route.pool.members):
                route.pool.remove(member)
            route.pool = None

    # --- pools ------------------------------------------------------------------------------------------------------

    def _join_pools(self, worker: Worker) -> None:
        """Add a worker to its pools. It does not become eligible by that, nor does any other, so there is nothing to
        fill."""
        routes_by_pool: dict[tuple[Pool | str, bool], list[Route]] = {}
        for command in worker.commands:
            needs_place = worker.needs_place_for(command.name)
            key = (command.route.pool or command.strategy, needs_place)
            routes_by_pool.setdefault(key, []).append(command.route)
            for route in command.targeted.values():
                if mismatch(worker, route.target) is None:
                    key = (route.pool or f"{command.strategy} {id(route)}", needs_place)
                    routes_by_pool[key] = [route]
        followed_count = 0
        for (pool, _), routes in routes_by_pool.items():
            if isinstance(pool, str):
                self._new_pool(routes, [worker])
            elif len(routes) == len(pool.routes):
                pool.add(worker)
                self._changed(pool)
            else:
                divided = pool.divide(routes, self._choice.make(routes[0].command.strategy))
                divided.add(worker)
                followed_count += len(divided.members)
                if followed_count <= FOLLOWED_MEMBERS_COUNT_MAX:
                    divided.follow()
                self._changed(divided)

    def _leave_pools(self, worker: Worker) -> tuple[list[Worker], list[Route]]:
        """Remove a worker from its pools. Returns the workers that this makes eligible, and the routes without
        workers."""
        entered: list[Worker] = []
        stranded: list[Route] = []
        for pool in worker.memberships():
            entered += pool.remove(worker)
            self._changed(pool)
            if not pool.members:
                stranded += pool.routes
                for route in pool.routes:
                    route.pool = None
        return entered, stranded

    def _new_pool(self, routes: list[Route], members: Iterable[Worker]) -> None:
        """Make a pool of `members` for `routes`."""
        pool = Pool(self._choice.make(routes[0].command.strategy), routes, self._changes)
        for route in routes:
            route.pool = pool
        for member in members:
            pool.add(member)
        self._changed(pool)

    def _changed(self, pool: Pool) -> None:
        self._merging.changed(pool)
        if pool.lazy is not None:
            self._lazy[pool] = None
