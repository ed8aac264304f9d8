"""What a strategy is: the rule that picks among the workers that could take an assignment now.

Knows what a strategy may see of a worker, and the calls that it gets. Must not know of sockets, clocks, requests or the
broker; chance is handed in.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mypy_extensions import mypyc_attr

Chance = Callable[[], float]
"""Gives floats evenly spread over [0, 1), as random.Random.random does."""


@mypyc_attr(allow_interpreted_subclasses=True)  # plugins and tests are not compiled
class Candidate:
    """What a strategy sees of a worker. Read only; compared and hashed by identity.

    `worker_id` is unique; `in_flight_count` assignments hold a slot; `weight` is its share, above 0 and up to 100: the
    operator's, less while the worker is eased in. `speed`, in [0.25, 4], is learned: 1 is as fast as its peers, and it
    moves in steps. `latency` is learned too: how long its successes take, relative to what their commands take on
    average (1 is as long), and it moves with every success.
    """

    __slots__ = ("in_flight_count", "latency", "speed", "weight", "worker_id")

    worker_id: str
    in_flight_count: int
    weight: float
    speed: float
    latency: float


C = TypeVar("C", bound=Candidate)


class Strategy(Protocol, Generic[C]):
    """Holds exactly the candidates that could take an assignment now.

    A worker that is full, ejected or draining is removed and added again later; it is never skipped in a loop. So
    `pick` needs no filter, and costs the same however many workers are busy. Every call costs O(1) or O(log
    candidates).
    """

    def add(self, candidate: C) -> None:
        """`candidate`, not held so far, can take an assignment from now on."""

    def remove(self, candidate: C) -> None:
        """`candidate`, held so far, can take none any more."""

    def changed(self, candidate: C) -> None:
        """The in-flight count, weight or speed of `candidate`, which is held and stays so, is another one now."""

    def pick(self, affinity: str | None) -> C | None:
        """The candidate for the next assignment, which stays held; None where none is held.

        `affinity` is the request's key for strategies that keep like to like; others ignore it.
        """
