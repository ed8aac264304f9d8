"""The workers and commands that the broker knows: who serves what, and who has a free slot.

Keeps pools right as workers come, fill up, free up and go. Knows nothing of requests, deadlines or requesters.
"""

from collections.abc import Callable
from typing import Any, Final

from ...loadbalance.strategy import Strategy
from .commands import Command
from .pool import Pool
from .worker import Worker, WorkerEvent, WorkerState

COMMANDS_KNOWN_COUNT_MAX: Final = 10_000
"""Commands kept, with their counts, after their last worker has gone; beyond it they are forgotten at once, so that
workers that come with ever new names do not fill the memory or the metrics."""


class Roster:
    """Workers by id and commands by name."""

    __slots__ = ("_make_strategy", "commands", "workers")

    def __init__(self, make_strategy: Callable[[], Strategy[Any]]) -> None:
        self._make_strategy = make_strategy
        self.commands: dict[str, Command] = {}
        self.workers: dict[str, Worker] = {}

    def join(self, worker: Worker, names: list[str]) -> None:
        """Take in a worker that serves the commands `names` (repetitions count once). From now on its id is its own,
        also where an old connection of the same worker, which is about to leave, still had it."""
        self.workers[worker.worker_id] = worker
        commands = worker.commands = {self._command(name): None for name in names}
        commands_by_pool: dict[Pool | None, list[Command]] = {}
        for command in commands:
            commands_by_pool.setdefault(command.pool, []).append(command)
        for pool, shared in commands_by_pool.items():
            if pool is None:
                self._new_pool(shared).add(worker)
            elif len(shared) == len(pool.commands):
                pool.add(worker)
            else:
                self._split(pool, shared).add(worker)

    def drain(self, worker: Worker) -> None:
        """Give `worker` nothing more; it keeps what it has."""
        if worker.state is WorkerState.HEALTHY:
            self._leave_pools(worker)
        worker.move(WorkerEvent.LEAVING)

    def leave(self, worker: Worker) -> None:
        """Forget `worker`, which is lost or has gone."""
        if worker.state is WorkerState.HEALTHY:
            self._leave_pools(worker)
        worker.move(WorkerEvent.LOST)
        if self.workers.get(worker.worker_id) is worker:
            del self.workers[worker.worker_id]
        if len(self.commands) > COMMANDS_KNOWN_COUNT_MAX:
            for command in worker.commands:
                if command.pool is None:
                    self.commands.pop(command.name, None)

    def occupy(self, worker: Worker) -> None:
        """One more slot of a worker that the strategy picked is taken."""
        count = worker.in_flight_count = worker.in_flight_count + 1
        if count < worker.concurrency:
            for pool in worker.pools:
                pool.strategy.changed(worker)
        else:
            for pool in worker.pools:
                pool.strategy.remove(worker)

    def pass_over(self, worker: Worker) -> None:
        """A worker that the strategy picked takes nothing after all. Its equals go first now: one that stayed at the
        head of the line would draw in, and fail, every request that it cannot be sent."""
        for pool in worker.pools:
            pool.strategy.changed(worker)

    def release(self, worker: Worker) -> None:
        """One slot of `worker` is free again."""
        count = worker.in_flight_count
        worker.in_flight_count = count - 1
        if count < worker.concurrency:
            for pool in worker.pools:
                pool.strategy.changed(worker)
        else:
            for pool in worker.pools:
                pool.strategy.add(worker)

    def _command(self, name: str) -> Command:
        command = self.commands.get(name)
        if command is None:
            command = self.commands[name] = Command(name)
        return command

    def _new_pool(self, commands: list[Command]) -> Pool:
        pool = Pool(self._make_strategy())
        pool.commands = commands
        for command in commands:
            command.pool = pool
        return pool

    def _split(self, pool: Pool, commands: list[Command]) -> Pool:
        """Move `commands`, some of the pool's, to a new pool with the same members."""
        moved = set(commands)
        pool.commands = [command for command in pool.commands if command not in moved]
        new_pool = self._new_pool(commands)
        for member in pool.members:
            new_pool.add(member)
        return new_pool

    def _leave_pools(self, worker: Worker) -> None:
        for pool in worker.pools:
            pool.remove(worker)
            if not pool.members:
                for command in pool.commands:
                    command.pool = None
        worker.pools = []
