"""What happens to the requests of a lost worker, and to one if only what ran it is lost, such as a worker's process.
Those that cannot have run, or may run twice, go to another worker; the others fail with an honest outcome."""

from collections.abc import Iterable

from ....protocol import errors
from ..failure import Failure
from ..fleet.roster import Roster
from ..measures.counts import Counts
from ..ports import Steps
from ..request import Assignment, Request
from ..settings import CoreSettings
from .budget import Budget
from .crowding import Crowding
from .deadlines import NEVER, Deadlines
from .delivery import Delivery
from .ending import Ending
from .failures import GIVEN_UP, LOST, TIMEOUT
from .kept_data import RELEASED


class Recovery:
    """Decides about each assignment of a lost worker. `budget` limits the retries of those that may have run."""

    __slots__ = (
        "_counts",
        "_crowding",
        "_deadlines",
        "_delivery",
        "_ending",
        "_roster",
        "budget",
        "settings",
        "steps",
    )

    def __init__(
        self,
        settings: CoreSettings,
        *,
        roster: Roster,
        crowding: Crowding,
        delivery: Delivery,
        ending: Ending,
        deadlines: Deadlines,
        counts: Counts,
        steps: Steps | None,
    ) -> None:
        self.settings = settings
        self.budget = Budget(settings.retries_share_max)
        self._roster = roster
        self._crowding = crowding
        self._delivery = delivery
        self._ending = ending
        self._deadlines = deadlines
        self._counts = counts
        self.steps = steps

    def recover(self, assignments: Iterable[Assignment], now: float) -> None:
        """Decide about the assignments of a worker that has left the roster, oldest first."""
        unplaced: list[Request] = []
        for assignment in assignments:
            request = assignment.request
            if request is None:
                continue
            assignment.request = None
            if not self._recover(request, assignment, LOST, now):
                request.route.is_awaited = True  # others may need a route meanwhile
                unplaced.append(request)
        for request in reversed(unplaced):  # each goes to the head of its line, so the oldest must go last
            request.route.is_awaited = False
            self._delivery.wait(request, now, is_first=True)

    def crashed(self, assignment: Assignment, failure: Failure, now: float) -> None:
        """Decide about one assignment whose worker is still there, but reports that what ran it is lost. `failure`:
        with what its request ends unless it may run again."""
        request = assignment.request
        assert request is not None, "it has not ended"
        assignment.request = None
        if not self._recover(request, assignment, failure, now):
            self._delivery.wait(request, now, is_first=True)

    def _recover(self, request: Request, lost: Assignment, loss: Failure, now: float) -> bool:
        """False if the request must wait for a slot. `loss`: with what it fails if it may have run, and not again."""
        was_written = lost.was_written
        if self.steps is not None:
            outcome = errors.WorkerLost.code if was_written else errors.NOT_DELIVERED
            self.steps.unassigned(request, lost, outcome)
        worker = lost.worker
        if was_written:
            request.failed_ids += (worker.worker_id,)
        if request.hedge is not None:  # the other copy goes on
            request.assignment = request.hedge if request.assignment is lost else request.assignment
            request.hedge = None
            return True
        request.assignment = request.stream = None
        if request.call.attempt is not None and not was_written:
            self._deadlines.move(request, NEVER)
        loss_of_run = loss if was_written else None
        failure = self._follow_target(request, now) or self._verdict(request, loss_of_run, now)
        if failure is not None:
            self._ending.fail(request, failure, now, worker=worker)
            return True
        if was_written:
            request.requester.port.reset(request.call.request_id, request.attempt_number)
        pool = request.route.pool
        if pool is None:
            is_held = self._roster.gathering.holds(request)
            if not is_held:
                self._delivery.fail_for_lack(request, now=now)
            return not is_held
        other = pool.pick_avoiding(request.failed_ids, request.call.affinity)
        if other is None:
            return False
        self._delivery.place(request, other, request.remaining_s(now), now)
        return True

    def _follow_target(self, request: Request, now: float) -> Failure | None:
        """Find the route of a request with a target again: it may have been removed meanwhile, and other workers may
        match. A failure if there is no room for that route."""
        target, command = request.call.target, request.command
        if target is None or request.route.pool is not None:
            return None
        if command.route.pool is None and not self._roster.gathering.holds(request):
            return None
        return self._crowding.give_route(request, now)

    def _verdict(self, request: Request, loss: Failure | None, now: float) -> Failure | None:
        """The failure with which the request ends; None if it may go to another worker. `loss` is None if it cannot
        have run."""
        if loss is not None:
            has_nobody = request.route.pool is None and not self._roster.gathering.holds(request)
            if has_nobody or not self._may_retry(request):
                return GIVEN_UP if request.call.data is RELEASED and request.call.idempotent else loss
            request.retries_count += 1
            self._counts.retried_count += 1
        else:
            self._counts.reassigned_count += 1
        return TIMEOUT if request.deadline <= now else None

    def _may_retry(self, request: Request) -> bool:
        """A request that may have run may run again: it is idempotent, its data is kept, and neither its own retries
        nor the budget are used up."""
        call = request.call
        if not call.idempotent or call.data is RELEASED:
            return False
        if request.retries_count >= self.settings.retries_count_max:
            return False
        return self.budget.spend(self._counts.submitted_count)
