"""Hedges, the second copies of requests that take too long: when one is due, where it goes, which copy is cancelled.

Source: Dean and Barroso, "The Tail at Scale" (CACM 2013): a second copy after the 95th percentile cuts the tail for a
few percent of extra load. A budget limits the extra load to that, even if everything is slow.
"""

from typing import Final

from ..fleet.command import Command
from ..measures.counts import Counts
from ..ports import Steps
from ..request import Assignment, Request
from .budget import Budget
from .deadlines import Deadlines
from .delivery import Delivery
from .kept_data import RELEASED

DURATIONS_COUNT_MIN: Final = 100
"""Durations in the last window that a percentile needs to mean anything."""

ANSWERED: Final = "answered"
"""The outcome of an assignment if another copy of its request was answered first."""


class Hedging:
    """Sends hedges within `budget`, and cancels the copy that is no longer needed."""

    __slots__ = ("_counts", "_deadlines", "_delivery", "budget", "steps")

    def __init__(
        self, delivery: Delivery, deadlines: Deadlines, counts: Counts, share_max: float, steps: Steps | None
    ) -> None:
        self._delivery = delivery
        self._deadlines = deadlines
        self._counts = counts
        self.steps = steps
        self.budget = Budget(share_max)

    def due(self, request: Request, now: float) -> None:
        """Send the one hedge of a request that takes long. If that is not possible, try again when the request is twice
        as old, so that many requests that wait long for a hedge cost little."""
        self._deadlines.remove(request)
        is_sent = self._send_hedge(request, now)
        again_at = request.deadline if is_sent else 2 * now - request.submitted_at
        request.due_at = min(request.deadline, again_at)
        self._deadlines.add(request)

    def settle(self, request: Request, answered: Assignment) -> None:
        """One of the two copies was answered, or has sent a chunk: cancel the other one."""
        other = request.assignment
        if other is answered:
            other = request.hedge
        else:
            self._counts.hedges_won_count += 1
        assert other is not None, "a request with a hedge has a first assignment"
        request.assignment, request.hedge = answered, None
        other.request = None
        other.worker.port.cancel(other.msg_id, "answered")
        if self.steps is not None:
            self.steps.unassigned(request, other, ANSWERED)

    def _send_hedge(self, request: Request, now: float) -> bool:
        """Send it to another worker with a free slot. False if there is no such worker, the budget is spent, its
        data was not kept, it has sent chunks, or it cannot be carried to that worker."""
        first, pool = request.assignment, request.route.pool
        if first is None or pool is None or request.call.data is RELEASED or request.stream is not None:
            return False
        avoided = (first.worker.worker_id, *request.failed_ids)
        other = pool.pick_avoiding(avoided, request.call.affinity)
        if other is None or other is first.worker or not self.budget.spend(self._counts.submitted_count):
            return False
        if self._delivery.send(request, other, request.remaining_s(now), now) is not None:
            return False
        self._counts.hedged_count += 1
        return True


def hedge_delay_s(command: Command, after: float | str, now: float) -> float | None:
    """The seconds from admission to a hedge: `after` itself, or that percentile (`p95`) of the command's recent
    durations. None if there are too few of them."""
    if isinstance(after, str):
        return command.recent_duration.percentile_s(int(after[1:]), DURATIONS_COUNT_MIN, now)
    return after


def due_at(command: Command, after: float | str, deadline: float, now: float) -> float:
    """When a request has to be checked: as soon as a hedge may be due, at the latest at its deadline."""
    delay_s = hedge_delay_s(command, after, now)
    return deadline if delay_s is None else min(deadline, now + delay_s)
