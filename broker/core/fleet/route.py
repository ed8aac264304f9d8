"""Where requests for a command may go: to all workers that serve it, or to those that a target names.

A route has its own line of waiting requests, so that a request which waits for one worker does not stand in the way of
one that any worker can take.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..queue.line import WaitingLine
from ..queue.overload import Overload

if TYPE_CHECKING:
    from .command import Command
    from .pool import Pool
    from .worker import Worker

Target = str | Mapping[str, str | list[str]]
"""A worker_id, or labels that a worker must have: every key, with the value or any one of the values."""


class Route:
    """One command's requests with one target, or with none. `pool` is None while no worker can take them."""

    __slots__ = ("command", "overload", "pool", "target", "waiting")

    def __init__(self, command: "Command", target: Target | None = None) -> None:
        self.command = command
        self.target = target
        self.pool: Pool | None = None
        self.waiting = WaitingLine()
        self.overload = Overload()


def mismatch(worker: "Worker", target: Target | None) -> str | None:
    """Why `worker` is not what `target` asks for, in a few words; None where it is."""
    if target is None:
        return None
    if isinstance(target, str):
        return None if worker.worker_id == target else "not the worker asked for"
    for key, wanted in target.items():
        value = worker.labels.get(key)
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


def target_key(target: Target) -> object:
    """Equal for targets that ask for the same."""
    if isinstance(target, str):
        return target
    return frozenset(
        (key, frozenset((wanted,) if isinstance(wanted, str) else wanted)) for key, wanted in target.items()
    )
