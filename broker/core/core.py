"""The broker's core: one synchronous object that is told what happened and when, and answers through ports.

    submit -> Admission -> Delivery.place ..................... succeeded, failed -> Ending
                  |                                                ^
                  +------> Delivery.line_up ... Delivery.fill -> place

Each call that is admitted becomes a request and ends in `Ending`, once, whichever way it goes: a result, a handler's
failure, its deadline (`advance`), the loss of its worker (`worker_left`), its requester's wish or disappearance
(`cancel`, `requester_left`), the want of workers or of room, overload, or the broker's own end (`stop`). Nothing here
waits, looks at a clock or draws lots; calls must not be nested, and `now` (seconds, monotonic) must not go backwards.
"""

from typing import Final

from msgspec import Raw, UnsetType

from ...loadbalance.choice import StrategyChoice
from ...protocol import errors
from ...protocol.errors import TaskferryError
from ...protocol.limits import TEXT_LENGTH_MAX
from .call import Call
from .delivery.admission import Admission
from .delivery.deadlines import NEVER, Deadlines
from .delivery.delivery import Delivery
from .delivery.ending import REQUESTER_GONE, SUCCESS, Ending
from .delivery.failures import CANCELLED, SHUTTING_DOWN, STOPPED, TIMEOUT
from .delivery.hedging import Hedging
from .delivery.recovery import Recovery
from .failure import Failure, failure_of
from .fleet.roster import Roster
from .fleet.worker import Worker, WorkerEvent, WorkerState
from .health.canary import CANARY_TIMEOUT_S
from .health.health import Health
from .measures.counts import Counts
from .offer import Offer
from .ports import Observer, RequesterPort, Steps, WorkerPort
from .queue.queue import Queue
from .request import Assignment
from .requester import Requester
from .settings import CoreSettings

LOOK_INTERVAL_S: Final = 0.25
"""How often the core looks at what no message tells: overload, health, canaries. Small beside the second or more in
which any of these is counted."""


class Core:
    """What the world tells the broker, call by call. The objects below own their state and their rules; this one says
    which of them a call concerns, and in which order."""

    __slots__ = (
        "_admission",
        "_delivery",
        "_ending",
        "_hedging",
        "_look_at",
        "_recovery",
        "counts",
        "deadlines",
        "health",
        "queue",
        "requesters",
        "roster",
        "settings",
    )

    def __init__(
        self,
        settings: CoreSettings,
        choice: StrategyChoice,
        observer: Observer,
        steps: Steps | None = None,
    ) -> None:
        self.settings = settings
        self.counts = Counts()
        self.requesters: dict[Requester, None] = {}
        self.deadlines = Deadlines()
        self.queue = Queue(settings, observer)
        self._ending = Ending(self.counts, self.deadlines, self.queue, steps)
        self._delivery = Delivery(self.queue, self._ending, steps)
        self.roster = Roster(choice, self._delivery, observer)
        self.health = Health(self.roster)
        self._admission = Admission(settings, self.roster, self.deadlines, self.counts, steps)
        self._hedging = Hedging(self._delivery, self.deadlines, self.counts, settings.hedges_share_max, steps)
        self._recovery = Recovery(
            settings,
            roster=self.roster,
            delivery=self._delivery,
            ending=self._ending,
            counts=self.counts,
            steps=steps,
        )
        self._look_at = NEVER

    @property
    def is_draining(self) -> bool:
        """Nothing is admitted any more."""
        return self._admission.is_closed

    @property
    def next_at(self) -> float:
        """When `advance` is to be called next, in seconds; it may be for nothing."""
        return min(self.deadlines.next_at, self._look_at)

    # --- requesters -------------------------------------------------------------------------------------------------

    def requester_joined(self, port: RequesterPort, identity: str) -> Requester:
        """Somebody makes calls from now on."""
        requester = Requester(port, identity)
        self.requesters[requester] = None
        return requester

    def requester_left(self, requester: Requester, now: float) -> None:
        """It has gone: nobody waits for its requests any more."""
        del self.requesters[requester]
        for request in tuple(requester.requests.values()):
            self._ending.finish(request, REQUESTER_GONE, now, "requester_gone")

    def submit(self, requester: Requester, call: Call, now: float) -> None:
        """Admit a call, and assign it, let it wait, or fail it; or refuse it."""
        request = self._admission.admit(requester, call, now)
        if request is None:
            return
        pool = request.route.pool
        worker = None if pool is None else pool.strategy.pick(call.affinity)
        if worker is not None:
            self._delivery.place(request, worker, request.timeout_s, now)
        else:
            self._delivery.line_up(request, now)

    def refuse(self, requester: Requester, request_id: str | None, failure: Failure) -> None:
        """Answer what was meant as a call and is none, and count it. `request_id` is None if none could be read."""
        self._admission.refuse(requester, request_id, failure)

    def cancel(self, requester: Requester, request_id: str, now: float) -> None:
        """Give up a request. One that is not in flight has ended already; its response may be on its way."""
        request = requester.requests.get(request_id)
        if request is not None:
            self._ending.fail(request, CANCELLED, now, cancel="cancelled")

    # --- workers ----------------------------------------------------------------------------------------------------

    def worker_joined(
        self, worker_id: str, offer: Offer, port: WorkerPort, identity: str, now: float
    ) -> Worker:
        """A worker has introduced itself; it is given what waits for it at once, unless its canary comes first.

        Raises WorkerIdTaken if another worker is connected under this id. The same one (equal `instance`) replaces its
        old connection, which it must have given up.
        """
        holder = self.roster.workers.get(worker_id)
        if holder is not None and (offer.instance is None or offer.instance != holder.instance):
            raise errors.WorkerIdTaken(f"name: another worker is connected as {worker_id!r}")
        record = self.roster.records.take(worker_id) if holder is None else holder.record
        worker = Worker(worker_id, offer, port, identity, now, record)
        self.roster.join(worker, offer.commands, now)
        port.welcome(worker_id)
        if holder is not None:
            holder.port.replaced()
            self.worker_left(holder, now)
        self.health.joined(worker, now)
        if self._look_at == NEVER:
            self._look_at = now + LOOK_INTERVAL_S
        self._send_canaries(now)
        return worker

    def worker_draining(self, worker: Worker, now: float) -> None:
        """`worker` wants nothing more; what it holds it will still answer."""
        worker.is_leaving = True
        self._drain(worker, "it said disconnect", now)

    def drain_worker(self, worker: Worker, now: float) -> None:
        """An operator wants `worker` to be given nothing more, also when it reconnects."""
        worker.record.is_drained = True
        self._drain(worker, "drained by an operator", now)

    def resume_worker(self, worker: Worker, now: float) -> None:
        """Undo `drain_worker`. A worker that said `disconnect` itself stays drained."""
        worker.record.is_drained = False
        if not worker.is_leaving and worker.state is WorkerState.DRAINING:
            self.health.resumed(worker, now)
            self._send_canaries(now)

    def worker_silent(self, worker: Worker, now: float) -> None:
        """Nothing has come from `worker` for a while; its link may be half open."""
        self.health.silent(worker, now)

    def worker_heard(self, worker: Worker, now: float) -> None:
        """Something has come from it again."""
        self.health.heard(worker, now)

    def worker_left(self, worker: Worker, now: float) -> None:
        """A worker's connection is gone, whether it had said goodbye or not."""
        assignments, worker.assignments = worker.assignments, {}
        unanswered = [
            assignment.request.command
            for assignment in assignments.values()
            if assignment.request is not None and assignment.was_written
        ]
        self.health.lost(worker, unanswered, now)
        self.roster.leave(worker, now)
        self._recovery.recover(assignments.values(), now)

    def succeeded(self, worker: Worker, msg_id: str, result: Raw | UnsetType, now: float) -> bool:
        """A worker reports the result of an assignment; UNSET stands for null. False if it holds none under
        `msg_id`."""
        assignment = worker.assignments.pop(msg_id, None)
        if assignment is None:
            self.counts.unknown_assignments_count += 1
            return False
        request = assignment.request
        if request is None:
            self._answered_late(worker, msg_id, is_success=True, now=now)
        else:
            self._answered(assignment)
            command = request.command
            worker.commands[command].succeeded_count += 1
            if request.hedge is not None:
                self._hedging.settle(request, assignment)
            try:
                request.requester.port.succeed(
                    request.call.request_id, result, worker.port.encoding, worker.worker_id
                )
            except TaskferryError as error:
                self._ending.fail(request, failure_of(error), now)
            else:
                self._ending.finish(request, SUCCESS, now)
            if now >= worker.learn_at:
                self.health.succeeded(worker, command, now - assignment.assigned_at, now)
        if self.queue.count:
            self._delivery.fill(worker, now)
        return True

    def failed(self, worker: Worker, msg_id: str, text: str | None, code: str | None, now: float) -> bool:
        """A worker reports that an assignment has failed, in its handler's words. False if it holds none under
        `msg_id`."""
        assignment = worker.assignments.pop(msg_id, None)
        if assignment is None:
            self.counts.unknown_assignments_count += 1
            return False
        request = assignment.request
        if request is None:
            self._answered_late(worker, msg_id, is_success=False, now=now)
        else:
            self._answered(assignment)
            words = (text or errors.HandlerError.message)[:TEXT_LENGTH_MAX]
            failure = Failure(errors.worker_code(code), words)
            if request.hedge is not None:
                self._hedging.settle(request, assignment)
            self._ending.fail(request, failure, now, is_answer=True)
            self.health.failed(worker, request.command, failure.code, words, now)
        if self.queue.count:
            self._delivery.fill(worker, now)
        return True

    # --- time and the end -------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Do what is due: end the requests whose deadline has passed, send second copies, look around. To be called at
        `next_at`."""
        while due := self.deadlines.due(now):
            for request in due:
                if request.deadline > now:
                    self._hedging.due(request, now)
                    continue
                self.health.expired(request, now)
                self._ending.fail(request, TIMEOUT, now, cancel="timeout")
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL_S if self.roster.workers else NEVER
            for request, failure in self.queue.overdue(now):
                self._ending.fail(request, failure, now)
            self._recovery.budget.look(self.counts.submitted_count, now)
            self._hedging.budget.look(self.counts.submitted_count, now)
            self.health.look(now)
            self._send_canaries(now)

    def reconfigure(self, settings: CoreSettings, choice: StrategyChoice, now: float) -> None:
        """Go on with other numbers and strategies. What is in flight keeps its deadline and its worker; what waits
        beyond a new bound waits on; a bound says from now on what is let in."""
        self.settings = self._admission.settings = self.queue.settings = self._recovery.settings = settings
        self._recovery.budget.share = settings.retries_share_max
        self._hedging.budget.share = settings.hedges_share_max
        self.roster.choose(choice, now)

    def turn_ended(self, began_at: float, now: float) -> None:
        """All that the ports were given has been handed to the operating system; the first read of what caused it was
        at `began_at`."""
        self._delivery.end_turn(began_at, now)

    def drain(self) -> None:
        """Admit nothing more; what is in flight goes on."""
        self._admission.is_closed = True

    def stop(self, now: float) -> None:
        """End all that is still in flight: the broker is about to go."""
        self.drain()
        for requester in self.requesters:
            for request in tuple(requester.requests.values()):
                failure = STOPPED if request.may_have_run else SHUTTING_DOWN
                self._ending.fail(request, failure, now, cancel="shutting_down")

    # --- inside -----------------------------------------------------------------------------------------------------

    def _answered(self, assignment: Assignment) -> None:
        """A request's worker has answered it in time: a slot is free, and the turn counts it."""
        assignment.worker.release()
        batch = assignment.batch
        assert batch is not None, "a request's assignment is in a batch"
        if not batch.answered_count:
            self._delivery.turn.answered.append(batch)
        batch.answered_count += 1

    def _answered_late(self, worker: Worker, msg_id: str, *, is_success: bool, now: float) -> None:
        """A slot is free, and nobody waits for this answer; a canary's tells something of the worker."""
        worker.release()
        if msg_id == worker.canary_msg_id:
            self.health.canary_ended(worker, is_success=is_success, now=now)
        else:
            self.counts.late_responses_count += 1

    def _drain(self, worker: Worker, reason: str, now: float) -> None:
        self.health.drained(worker)
        self.roster.move(worker, WorkerEvent.LEAVING, now, reason)

    def _send_canaries(self, now: float) -> None:
        for worker in self.health.canaries.due(now):
            assert worker.canary is not None
            msg_id = self._delivery.send_canary(worker, worker.canary, CANARY_TIMEOUT_S, now)
            self.health.canaries.sent(worker, msg_id, now)
