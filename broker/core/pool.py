"""Workers that serve the same commands, and the strategy that picks among those of them with a free slot.

Commands that are served by exactly the same workers share one pool: what counts for a pick is a worker's load, and
that is one number however many commands it serves. So an assignment changes as many strategies as its worker has
pools, which is one where all workers are alike, and never more than its commands.
"""

from typing import Any

from ...loadbalance.strategy import Strategy
from .commands import Command
from .worker import Worker


class Pool:
    """`members` are the healthy workers, full or not; `strategy` holds those with a free slot."""

    __slots__ = ("commands", "members", "strategy")

    def __init__(self, strategy: Strategy[Any]) -> None:
        self.strategy: Strategy[Worker] = strategy
        self.commands: list[Command] = []
        self.members: dict[Worker, None] = {}

    def add(self, worker: Worker) -> None:
        """A healthy worker belongs to the pool from now on."""
        self.members[worker] = None
        worker.pools.append(self)
        if worker.in_flight_count < worker.concurrency:
            self.strategy.add(worker)

    def remove(self, worker: Worker) -> None:
        """A member belongs to it no more. The caller forgets the pool on the worker's side."""
        del self.members[worker]
        if worker.in_flight_count < worker.concurrency:
            self.strategy.remove(worker)
