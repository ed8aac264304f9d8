"""The one end of every request, whatever its outcome."""

from typing import Final

from ....protocol import errors
from ..failure import Failure, promises_not_run
from ..fleet.worker import Worker
from ..measures.counts import Counts
from ..measures.recent_failures import RecentFailures
from ..ports import CancelReason, Steps
from ..queue.queue import Queue
from ..request import Request
from .deadlines import NEVER, Deadlines
from .failures import LOST
from .kept_data import KeptData

SUCCESS: Final = "success"
REQUESTER_GONE: Final = "requester_gone"
"""Outcome labels beside the codes of the error registry."""


class Ending:
    """Answers requests that fail, and removes every request that has been answered. `recent`: the last failures."""

    __slots__ = ("_counts", "_deadlines", "_kept_data", "_queue", "recent", "steps")

    def __init__(
        self, counts: Counts, deadlines: Deadlines, queue: Queue, kept_data: KeptData, steps: Steps | None
    ) -> None:
        self._counts = counts
        self._deadlines = deadlines
        self._queue = queue
        self._kept_data = kept_data
        self.steps = steps
        self.recent = RecentFailures()

    def fail(
        self,
        request: Request,
        failure: Failure,
        now: float,
        *,
        worker: Worker | None = None,
        cancel: CancelReason | None = None,
        is_answer: bool = False,
    ) -> None:
        """Answer a request with `failure`, to which its delivery and waiting time are added, and end it.

        `worker` had it last; needed only if it has no assignment any more. `is_answer`: the handler itself failed it,
        so there is no doubt that it ran.
        """
        assignment = request.assignment
        if worker is None and assignment is not None:
            worker = assignment.worker
        delivery: str | None = None
        if not is_answer:
            delivery = errors.MAY_HAVE_RUN if request.may_have_run else errors.NOT_DELIVERED
            if request.may_have_run and promises_not_run(failure.code):
                failure = LOST
        waited_s = request.waited_s + (now - request.waiting_since if request.is_waiting else 0.0)
        answer = Failure(
            failure.code, failure.text, failure.retry_after_s, delivery, round(waited_s, 3), failure.retry
        )
        worker_id = None if worker is None else worker.worker_id
        self.recent.add(request, failure, worker_id, now, is_answer=is_answer)
        request.requester.port.fail(request.call.request_id, answer, worker_id)
        self.finish(request, errors.outcome_label(failure.code), now, cancel)

    def finish(self, request: Request, outcome: str, now: float, cancel: CancelReason | None = None) -> None:
        """Remove an answered request from all books, count it, and detach it from its workers. If `cancel` gives a
        reason, they are sent a cancel."""
        requester = request.requester
        del requester.requests[request.call.request_id]
        requester.account.in_flight_count -= 1
        self._deadlines.remove(request)
        if request.is_waiting:
            self._queue.remove(request, now)
        if request.kept_size_bytes:
            self._kept_data.ended(request)
        assignment = request.assignment
        if assignment is not None:
            request.assignment = None
            assignment.request = None
            if cancel is not None:
                second, request.hedge = request.hedge, None
                assignment.worker.port.cancel(assignment.msg_id, cancel)
                if second is not None:
                    second.request = None
                    second.worker.port.cancel(second.msg_id, cancel)
        self._counts.ended_count += 1
        command = request.command
        began_at = request.submitted_at
        is_counted = True
        if request.call.attempt is not None:
            # Its job waits on if no worker has had it; and how long it waited says nothing about the fleet.
            is_counted = assignment is not None or bool(request.failed_ids)
            began_at = NEVER if assignment is None else assignment.assigned_at
        if is_counted:
            command.outcomes[outcome] += 1
        if began_at < NEVER:
            duration_s = now - began_at
            index = command.duration.observe(duration_s)
            if now >= command.exemplars.due_at[index]:
                command.exemplars.keep(index, request.call, duration_s, now)
        if self.steps is not None:
            self.steps.ended(request, outcome)
