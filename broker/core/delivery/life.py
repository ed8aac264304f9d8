"""The books of the broker and the steps of a request's life, from its admission to its one end.

core.py tells the story and says which calls take which steps. Nothing here is called from outside.
"""

from typing import Final

from ....loadbalance.choice import StrategyChoice
from ....protocol import errors, messages
from ....protocol.errors import TaskferryError
from ....protocol.limits import TEXT_LENGTH_MAX
from ..fleet.roster import Roster
from ..fleet.worker import Worker
from ..health.canary import CANARY_TIMEOUT_S
from ..health.health import Health
from ..measures.turn import Batch, Turn
from ..ports import CancelReason, Observer
from ..queue.queue import Queue
from ..request import Assignment, Request
from ..requester import Requester
from ..settings import CoreSettings
from .admission import no_workers
from .budget import Budget
from .deadlines import NEVER, Deadlines

BUDGET_S_MIN: Final = 0.001
"""The least that a worker is told to have left."""


HELD_SHARE_MIN: Final = 0.5
"""The part of a request's timeout that a worker had it before its running out is the worker's failure. What has waited
for most of its time in the broker says nothing of the worker that gets it at last."""


class Life:
    """All state of the broker that a request's fate depends on, and what can happen to a request."""

    __slots__ = (
        "_hedges",
        "_look_at",
        "_msg_count",
        "_retries",
        "deadlines",
        "ended_count",
        "health",
        "hedged_count",
        "hedges_won_count",
        "is_draining",
        "late_responses_count",
        "queue",
        "reassigned_count",
        "refused",
        "requesters",
        "retried_count",
        "roster",
        "settings",
        "submitted_count",
        "turn",
        "unknown_assignments_count",
        "unserved_count",
    )

    def __init__(self, settings: CoreSettings, choice: StrategyChoice, observer: Observer) -> None:
        self.settings = settings
        self.roster = Roster(choice)
        self.health = Health(self.roster, observer)
        self.queue = Queue(settings, observer)
        self._retries = Budget(settings.retries_share_max)
        self._hedges = Budget(settings.hedges_share_max)
        self.requesters: dict[Requester, None] = {}
        self.deadlines = Deadlines()
        self.turn = Turn()
        self.is_draining = False
        self._look_at = NEVER
        self._msg_count = 0
        self.submitted_count = 0
        self.ended_count = 0
        self.refused: dict[str, int] = {}
        """Requests that were not admitted, by error code."""
        self.unserved_count = 0
        """Requests that ended as `no_available_workers` for a command that no worker has ever served."""
        self.retried_count = 0
        """Assignments made anew because a worker was lost that may have run the first one."""
        self.reassigned_count = 0
        """Assignments made anew because a worker was lost to which the first one was never written."""
        self.hedged_count = 0
        """Second copies sent."""
        self.hedges_won_count = 0
        """Second copies that answered first."""
        self.late_responses_count = 0
        self.unknown_assignments_count = 0

    @property
    def in_flight_count(self) -> int:
        """Requests that have been admitted and not ended, waiting ones included."""
        return self.submitted_count - self.ended_count

    @property
    def next_at(self) -> float:
        """When `advance` is to be called next, in seconds; it may be for nothing."""
        return min(self.deadlines.next_at, self._look_at)

    def _refuse(self, requester: Requester, error: TaskferryError, request_id: str) -> None:
        self.refused[error.code] = self.refused.get(error.code, 0) + 1
        error.delivery = errors.NOT_DELIVERED
        requester.port.fail(request_id, error, None)

    def _line_up(self, request: Request, now: float) -> None:
        """Let an admitted request wait for a free slot, or fail it where that would be in vain or too much."""
        route = request.route
        error = (
            no_workers(request.command.name, route.target)
            if route.pool is None
            else self.queue.refusal(request)
        )
        if error is not None:
            self._fail(request, error, now)
        else:
            self.queue.add(request, now)

    def _assign(self, request: Request, worker: Worker, timeout_s: float, now: float) -> None:
        """Give a request to a worker with a free slot. Where it cannot be carried there, it ends here, unless it is a
        second copy."""
        self._msg_count += 1
        msg_id = str(self._msg_count)
        try:
            message_number = worker.port.assign(msg_id, request, timeout_s)
        except (errors.NotRepresentable, errors.TooLarge) as error:
            self.roster.changed(worker)
            if request.assignment is None and not self._assign_as_written(request, worker, timeout_s, now):
                self._fail(request, error, now)
            return
        batch = request.command.batch
        if batch.turn is not self.turn:
            batch = request.command.batch = Batch(request.command, self.turn)
        assignment = Assignment(msg_id, worker, now, message_number, request, batch)
        worker.assignments[msg_id] = assignment
        request.assignment = assignment
        self.roster.occupy(worker)

    def _assign_as_written(self, request: Request, refused: Worker, timeout_s: float, now: float) -> bool:
        """Give a request that cannot be carried into the encoding of `refused` to a worker that reads it as it is, lest
        the fastest draw in, and fail, what only others can read. False where none has a free slot."""
        encoding = request.requester.port.encoding
        pool = request.route.pool
        if pool is None or refused.port.encoding is encoding:
            return False
        other = pool.pick_reading(encoding, request.affinity)
        if other is None:
            return False
        self._assign(request, other, timeout_s, now)
        return True

    def _pull(self, worker: Worker, now: float) -> None:
        """Fill the free slots of `worker` with what waits for the commands that it serves."""
        while self.queue.count and worker.pools and worker.in_flight_count < worker.capacity:
            request = self.queue.take_for(worker, now)
            if request is None:
                return
            if request.deadline <= now:
                self._fail(request, errors.WorkerTimeout(), now)
            else:
                self._assign(request, worker, budget_s(request, now), now)

    def _settle(self, now: float) -> None:
        """Workers have come, or are trusted again: they are given what waits."""
        while self.roster.entered:
            self._pull(self.roster.entered.pop(), now)

    def _fail_stranded(self, now: float) -> None:
        """Nobody may be left on some routes: who waits there is told so at once."""
        for route in tuple(self.queue.routes):
            while route.pool is None and (request := route.waiting.peek()) is not None:
                self._fail(request, no_workers(request.command.name, route.target), now)

    def _hedge(self, request: Request, now: float) -> None:
        """Send the one second copy of a request that takes long; or look again when it is twice as old, so that many
        which wait long for theirs cost little."""
        self.deadlines.remove(request)
        is_sent = self._send_second_copy(request, now)
        again_at = request.deadline if is_sent else 2 * now - request.submitted_at
        request.due_at = min(request.deadline, again_at)
        self.deadlines.add(request)

    def _send_second_copy(self, request: Request, now: float) -> bool:
        """To another worker with a free slot, within the budget. False where that cannot be."""
        first, pool = request.assignment, request.route.pool
        if first is None or pool is None:
            return False
        other = pool.pick_avoiding((first.worker.worker_id, *request.failed_ids), request.affinity)
        if other is None or other is first.worker or not self._hedges.spend(self.submitted_count):
            return False
        self._assign(request, other, budget_s(request, now), now)
        if request.assignment is first:
            return False
        request.hedge, request.assignment = request.assignment, first
        self.hedged_count += 1
        return True

    def _drop_other_copy(self, request: Request, answered: Assignment) -> None:
        """One of the two copies has answered: the other one's work is in vain."""
        other = request.assignment
        if other is answered:
            other = request.hedge
        else:
            self.hedges_won_count += 1
        assert other is not None, "a request with a second copy has a first one"
        request.assignment, request.hedge = answered, None
        other.request = None
        other.worker.port.cancel(other.msg_id, "answered")

    def _cancel_copies(self, request: Request, first: Assignment, reason: CancelReason) -> None:
        """A request has ended before any of its copies."""
        first.worker.port.cancel(first.msg_id, reason)
        second, request.hedge = request.hedge, None
        if second is not None:
            second.request = None
            second.worker.port.cancel(second.msg_id, reason)

    def _recover(self, request: Request, lost: Assignment, now: float) -> bool:
        """Decide about a request whose worker was lost: what never left runs elsewhere; what may have run is told so,
        unless it may run twice. False where it must wait for a slot."""
        worker = lost.worker
        if lost.was_written:
            request.failed_ids += (worker.worker_id,)
        if request.hedge is not None:  # the other copy goes on alone
            request.assignment = request.hedge if request.assignment is lost else request.assignment
            request.hedge = None
            return True
        request.assignment = None
        target = request.route.target
        if target is not None and request.route.pool is None and request.command.route.pool is not None:
            try:
                request.route = self.roster.targeted(request.command, target)
            except errors.Overloaded as overloaded:  # it was forgotten, and others have taken its place
                self._fail(request, overloaded, now, worker=worker)
                return True
        pool = request.route.pool
        if lost.was_written:
            if pool is None or not self._may_retry(request):
                self._fail(request, errors.WorkerLost(), now, worker=worker)
                return True
            request.retries_count += 1
            self.retried_count += 1
        else:
            self.reassigned_count += 1
        if request.deadline <= now:
            self._fail(request, errors.WorkerTimeout(), now, worker=worker)
            return True
        other = None if pool is None else pool.pick_avoiding(request.failed_ids, request.affinity)
        if other is None:
            return False
        self._assign(request, other, budget_s(request, now), now)
        return True

    def _may_retry(self, request: Request) -> bool:
        """What may have run may run again: its requester said so, and it does not happen too often."""
        if not request.idempotent or request.retries_count >= self.settings.retries_count_max:
            return False
        return self._retries.spend(self.submitted_count)

    def _handler_failed(
        self, request: Request, assignment: Assignment, result: messages.Result, now: float
    ) -> None:
        error = errors.HandlerError((result.error or errors.HandlerError.message)[:TEXT_LENGTH_MAX])
        error.code = errors.worker_code(result.code)
        if request.hedge is not None:
            self._drop_other_copy(request, assignment)
        self._fail(request, error, now, is_answer=True)
        worker = assignment.worker
        if error.code in errors.REQUESTER_CODES:
            worker.commands[request.command].neutral_count += 1
        else:
            self.health.ejections.failed(worker, request.command, error.text, now)

    def _blame(self, request: Request, now: float) -> None:
        """A request's time is up: its workers have failed, unless most of it had passed before they got it."""
        held_s_min = HELD_SHARE_MIN * (request.deadline - request.submitted_at)
        for assignment in (request.assignment, request.hedge):
            if assignment is not None and now - assignment.assigned_at >= held_s_min:
                self.health.ejections.failed(assignment.worker, request.command, "no answer in time", now)

    def _send_canaries(self, now: float) -> None:
        for worker in self.health.canaries.due(now):
            assert worker.canary is not None
            self._msg_count += 1
            msg_id = str(self._msg_count)
            message_number = worker.port.canary(msg_id, worker.canary, CANARY_TIMEOUT_S)
            worker.assignments[msg_id] = Assignment(msg_id, worker, now, message_number, None, None)
            self.health.canaries.sent(worker, msg_id, now)
            self.roster.occupy(worker)

    def _fail(
        self,
        request: Request,
        error: TaskferryError,
        now: float,
        *,
        worker: Worker | None = None,
        cancel: CancelReason | None = None,
        is_answer: bool = False,
    ) -> None:
        """End a request with an error. `worker` had it last, where its assignment no longer says so; `is_answer`: its
        handler said so itself."""
        assignment = request.assignment
        if worker is None and assignment is not None:
            worker = assignment.worker
        if not is_answer:
            is_certain = not may_have_run(request)
            if error.retryable and not is_certain:
                error = errors.WorkerLost()  # the code would say that it certainly did not run
            error.delivery = errors.NOT_DELIVERED if is_certain else errors.MAY_HAVE_RUN
        waited_s = request.waited_s + (now - request.waiting_since if request.is_waiting else 0.0)
        error.queue_wait_s = round(waited_s, 3)
        worker_id = None if worker is None else worker.worker_id
        request.requester.port.fail(request.request_id, error, worker_id)
        self._finish(request, errors.outcome_label(error.code), now, cancel)

    def _finish(self, request: Request, outcome: str, now: float, cancel: CancelReason | None = None) -> None:
        """The one end of every admitted request: forget it everywhere, count it, free its workers of the thought of
        it."""
        del request.requester.requests[request.request_id]
        self.deadlines.remove(request)
        if request.is_waiting:
            self.queue.remove(request, now)
        assignment = request.assignment
        if assignment is not None:
            request.assignment = None
            assignment.request = None
            if cancel is not None:
                self._cancel_copies(request, assignment, cancel)
        self.ended_count += 1
        command = request.command
        command.outcomes[outcome] += 1
        duration_s = now - request.submitted_at
        index = command.duration.observe(duration_s)
        if now >= command.exemplars.due_at[index]:
            command.exemplars.keep(index, request, duration_s, now)


def budget_s(request: Request, now: float) -> float:
    """The time that is left for a request which has not expired, as its worker is told: to the millisecond, at least
    one."""
    # `round` writes the number as text and reads it again, which is more than all else that waiting costs.
    return max(BUDGET_S_MIN, int((request.deadline - now) * 1000.0 + 0.5) / 1000.0)


def may_have_run(request: Request) -> bool:
    """A worker has it, or was lost that had it. What a link has not written it may still write, until it is lost."""
    return request.assignment is not None or bool(request.failed_ids)
