"""Where requests for a command may go: to all workers that serve it, or to those that match a target.

A route has its own line of waiting requests, so that a request that waits for one worker does not block requests that
any worker can take.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..call import Target
from ..queue.line import WaitingLine

if TYPE_CHECKING:
    from .command import Command
    from .pool import Pool
    from .worker import Worker


class Route:
    """The route of one command's requests with one target, or without. `pool` is None while no worker serves it. One
    that `is_makeshift` is of requests that have no route yet, because there are too many targets, or because most of
    them need none: it has no pool, and nothing waits on it. One that `is_awaited` is kept for a request that will wait
    on it at once."""

    __slots__ = ("command", "is_awaited", "is_makeshift", "pool", "target", "waiting")

    def __init__(self, command: "Command", target: Target | None = None) -> None:
        self.command = command
        self.target = target
        self.pool: Pool | None = None
        self.waiting = WaitingLine()
        self.is_makeshift = False
        self.is_awaited = False


def mismatch(worker: "Worker", target: Target | None) -> str | None:
    """Why `worker` does not match `target`, in a few words; None if it does."""
    return None if target is None else mismatch_of(worker.worker_id, worker.labels, target)


def mismatch_of(worker_id: str, labels: Mapping[str, str], target: Target) -> str | None:
    """The same for a worker of this name with these labels."""
    if isinstance(target, str):
        return None if worker_id == target else "not the requested worker"
    for key, wanted in target.items():
        value = labels.get(key)
        if value is None:
            return f"labels do not match: no {key}"
        if value != wanted if isinstance(wanted, str) else value not in wanted:
            return f"labels do not match: {key} is {value}"
    return None


def describe_target(target: Target) -> str:
    """A target for people: `worker-1`, or `gpu=yes zone=a|b`."""
    if isinstance(target, str):
        return target
    return " ".join(
        f"{key}={wanted if isinstance(wanted, str) else '|'.join(wanted)}" for key, wanted in target.items()
    )


def values_count(target: Target) -> int:
    """The values that a target names, over all of its labels."""
    if isinstance(target, str):
        return 1
    return sum(1 if isinstance(wanted, str) else len(wanted) for wanted in target.values())


def target_key(target: Target) -> object:
    """A key that is equal for equivalent targets."""
    if isinstance(target, str):
        return target
    return frozenset(
        (key, frozenset((wanted,) if isinstance(wanted, str) else wanted)) for key, wanted in target.items()
    )
