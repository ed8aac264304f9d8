"""The workers and commands that the broker knows: who serves what, and who can take something now.

Keeps pools right as workers come, fill up, free up, fall ill and go. Knows nothing of requests, deadlines or
requesters, nor why a worker's state changes.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from ....loadbalance.choice import StrategyChoice
from ....protocol.errors import Overloaded
from .command import Command
from .pool import Pool
from .record import Records
from .route import Route, Target, mismatch, target_key
from .tally import Tally
from .worker import SERVING, TRANSITIONS, Worker, WorkerEvent, WorkerState

COMMANDS_KNOWN_COUNT_MAX: Final = 10_000
"""Commands kept, with their counts, after their last worker has gone; beyond it they are forgotten at once, so that
workers that come with ever new names do not fill the memory."""

COMMANDS_LISTED_COUNT_MAX: Final = 1000
"""Commands that are shown under their own names in metrics, as many as one worker may serve: each is some eighty time
series, so these are 80,000. All others are shown as one, OTHER."""

OTHER: Final = "_other"
"""The name under which those are shown. No command has it: names begin with a letter or a digit."""

TARGETS_COUNT_MAX: Final = 100
"""Targets of requests that have a pool, over all commands. Each costs its workers one more strategy to keep right at
every assignment, so those that nobody waits for make room for new ones, the longest unused first."""


TARGET_RETRY_AFTER_S: Final = 1.0
"""What a requester is told whose target finds no room: any of those may be served at any moment."""


class Roster:
    """Workers by id and commands by name. `entered` collects workers that pools reckon with anew; the core takes them
    from there and gives them what waits. `forgotten` holds the counts of commands that were not listed and are gone."""

    __slots__ = (
        "_choice",
        "_listed_count",
        "_targeted",
        "commands",
        "entered",
        "forgotten",
        "records",
        "workers",
    )

    def __init__(self, choice: StrategyChoice) -> None:
        self._choice = choice
        self._targeted: OrderedDict[Route, object] = OrderedDict()
        self.commands: dict[str, Command] = {}
        self.forgotten = Command(OTHER, "", is_listed=False)
        self._listed_count = 0
        self.workers: dict[str, Worker] = {}
        self.records = Records()
        self.entered: list[Worker] = []

    # --- coming and going -------------------------------------------------------------------------------------------

    def join(self, worker: Worker, names: Iterable[str]) -> None:
        """Take in a worker that serves the commands `names` (repetitions count once). From now on its id is its own,
        also where an old connection of the same worker, which is about to leave, still had it."""
        self.workers[worker.worker_id] = worker
        worker.commands = {self._command(name): Tally() for name in names}
        self._join_pools(worker)

    def leave(self, worker: Worker) -> None:
        """Forget `worker`, which is lost or has gone."""
        self._leave_pools(worker)
        worker.move(WorkerEvent.LOST)
        if self.workers.get(worker.worker_id) is worker:
            del self.workers[worker.worker_id]
            self.records.keep(worker.worker_id, worker.record)
        if len(self.commands) > COMMANDS_KNOWN_COUNT_MAX:
            for command in worker.commands:
                # One that drains may still know a command that was forgotten, and has come anew since.
                if command.route.pool is None and self.commands.get(command.name) is command:
                    del self.commands[command.name]
                    if command.is_listed:
                        self._listed_count -= 1
                    else:
                        self.forgotten.absorb(command)
                    for route in command.targeted.values():
                        del self._targeted[route]

    def move(self, worker: Worker, event: WorkerEvent, verdict: str = "", words: str = "") -> bool:
        """Something has happened to `worker`. False where that changes nothing."""
        before = worker.state
        if TRANSITIONS.get((before, event), before) is before:
            return False
        was_serving = before in SERVING
        for pool in tuple(worker.pools):
            pool.retire(worker)
        worker.move(event, verdict, words)
        is_probing = worker.state is WorkerState.PROBING
        worker.capacity = (
            min(worker.in_flight_count + 1, worker.concurrency) if is_probing else worker.concurrency
        )
        for pool in worker.memberships:
            self.entered += pool.moved(worker, before)
        if worker.state in SERVING and not was_serving:
            self._join_pools(worker)
        elif was_serving and worker.state not in SERVING:
            self._leave_pools(worker)
        return True

    def choose(self, choice: StrategyChoice) -> None:
        """Pick by other strategies from now on. Where that means another one for a command, all pools are made anew, as
        they would be had the workers just joined; else they stay, and their strategies remember what they know."""
        self._choice = choice
        names = {command: choice.name_for(command.name) for command in self.commands.values()}
        if all(name == command.strategy for command, name in names.items()):
            return
        for command, name in names.items():
            command.strategy = name
            for route in (command.route, *command.targeted.values()):
                route.pool = None
        for worker in self.workers.values():
            worker.pools.clear()
            worker.memberships.clear()
            if worker.state in SERVING:
                self._join_pools(worker)

    # --- slots: the hot path ----------------------------------------------------------------------------------------

    def occupy(self, worker: Worker) -> None:
        """One more slot of a worker that the strategy picked is taken."""
        count = worker.in_flight_count = worker.in_flight_count + 1
        if count < worker.capacity:
            for pool in worker.pools:
                pool.strategy.changed(worker)
        else:
            for pool in worker.pools:
                pool.strategy.remove(worker)

    def release(self, worker: Worker) -> None:
        """One slot of `worker` is free again."""
        count = worker.in_flight_count
        worker.in_flight_count = count - 1
        if count < worker.capacity:
            for pool in worker.pools:
                pool.strategy.changed(worker)
        else:
            for pool in worker.pools:
                pool.strategy.add(worker)

    def changed(self, worker: Worker) -> None:
        """The weight or speed of `worker` is another one now; or it was picked and takes nothing after all, so that its
        equals go first: one that stayed at the head of the line would draw in, and fail, every request that it cannot
        be sent."""
        if worker.in_flight_count < worker.capacity:
            for pool in worker.pools:
                pool.strategy.changed(worker)

    # --- routes -----------------------------------------------------------------------------------------------------

    def targeted(self, command: Command, target: Target) -> Route:
        """The route of requests for `command` with `target`. Raises Overloaded where there are too many in use."""
        key = target_key(target)
        route = command.targeted.get(key)
        if route is not None:
            self._targeted.move_to_end(route)
            return route
        if len(self._targeted) >= TARGETS_COUNT_MAX:
            self._forget_a_target()
        route = command.targeted[key] = Route(command, target)
        self._targeted[route] = key
        pool = command.route.pool
        if isinstance(target, str):
            worker = self.workers.get(target)
            matching = [] if worker is None or pool is None or worker not in pool.members else [worker]
        else:
            members = () if pool is None else pool.members
            matching = [member for member in members if mismatch(member, target) is None]
        if matching:
            self._new_pool([route], matching)  # nobody waits there yet, so nobody has `entered`
        return route

    def _forget_a_target(self) -> None:
        route = next((route for route in self._targeted if not route.waiting.count), None)
        if route is None:
            error = Overloaded(
                f"requests with {TARGETS_COUNT_MAX} different targets wait (TARGETS_COUNT_MAX)"
            )
            error.retry_after_s = TARGET_RETRY_AFTER_S
            raise error
        key = self._targeted.pop(route)
        del route.command.targeted[key]
        if route.pool is not None:
            for member in tuple(route.pool.members):
                route.pool.remove(member)
            route.pool = None

    def _command(self, name: str) -> Command:
        command = self.commands.get(name)
        if command is None:
            is_listed = self._listed_count < COMMANDS_LISTED_COUNT_MAX
            self._listed_count += is_listed
            command = Command(name, self._choice.name_for(name), is_listed=is_listed)
            self.commands[name] = command
        return command

    # --- pools ------------------------------------------------------------------------------------------------------

    def _join_pools(self, worker: Worker) -> None:
        routes_by_pool: dict[Pool | str, list[Route]] = {}
        for command in worker.commands:
            routes_by_pool.setdefault(command.route.pool or command.strategy, []).append(command.route)
            for route in command.targeted.values():
                if mismatch(worker, route.target) is None:
                    routes_by_pool[route.pool or f"{command.strategy} {id(route)}"] = [route]
        for pool, routes in routes_by_pool.items():
            if isinstance(pool, str):
                self.entered += self._new_pool(routes, [worker])
            elif len(routes) == len(pool.routes):
                self.entered += pool.add(worker)
            else:
                members = [*pool.members, worker]
                moved = set(routes)
                pool.routes = [route for route in pool.routes if route not in moved]
                self.entered += self._new_pool(routes, members)

    def _leave_pools(self, worker: Worker) -> None:
        for pool in tuple(worker.memberships):
            self.entered += pool.remove(worker)
            if not pool.members:
                for route in pool.routes:
                    route.pool = None

    def _new_pool(self, routes: list[Route], members: Iterable[Worker]) -> list[Worker]:
        """Those that are reckoned with in it."""
        pool = Pool(self._choice.make(routes[0].command.strategy))
        pool.routes = routes
        for route in routes:
            route.pool = pool
        return [entered for member in members for entered in pool.add(member)]
