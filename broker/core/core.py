"""The life of every request: one synchronous object that is told what happened and when, and answers through ports.

    submit -> _assign ................... respond -> _finish
       |                                   ^
       +----> _line_up ... _pull -> _assign

Each request that `submit` admits ends in `_finish`, once, whichever way it goes: a result, a handler's failure, its
deadline (`advance`), the loss of its worker (`worker_left`), its requester's wish or disappearance (`cancel`,
`requester_left`), the want of workers or of room, overload, or the broker's own end (`stop`). Nothing here waits, looks
at a clock or draws lots; calls must not be nested, and `now` (seconds, monotonic) must not go backwards.
"""

from typing import Final

from msgspec import Raw
from msgspec.structs import astuple

from ...loadbalance.choice import StrategyChoice
from ...protocol import errors, messages
from ...protocol.errors import TaskferryError
from ...protocol.limits import PRIORITY_DEFAULT
from .delivery.admission import no_workers, refusal
from .delivery.deadlines import NEVER
from .delivery.hedging import due_at
from .delivery.life import BUDGET_S_MIN, Life, may_have_run
from .fleet.worker import Worker, WorkerEvent, WorkerState
from .measures.turn import Turn
from .ports import RequesterPort, WorkerPort
from .request import Request
from .requester import Requester
from .settings import CoreSettings

LOOK_INTERVAL_S: Final = 0.25
"""How often the core looks at what no message tells: overload, health, canaries. Small beside the second or more in
which any of these is counted."""

SUCCESS: Final = "success"
REQUESTER_GONE: Final = "requester_gone"
"""Outcome labels beside the codes of the error registry."""


class Core(Life):
    """What the world tells the broker, call by call."""

    __slots__ = ()

    # --- requesters -------------------------------------------------------------------------------------------------

    def requester_joined(self, port: RequesterPort, identity: str) -> Requester:
        """A requester has connected."""
        requester = Requester(port, identity)
        self.requesters[requester] = None
        return requester

    def requester_left(self, requester: Requester, now: float) -> None:
        """A requester's connection is gone: nobody waits for its requests any more."""
        del self.requesters[requester]
        for request in tuple(requester.requests.values()):
            self._finish(request, REQUESTER_GONE, now, "requester_gone")

    def submit(  # noqa: PLR0917  names would cost the hot path
        self,
        requester: Requester,
        message: messages.Request,
        request_id: str,
        command: str,
        data: Raw,
        now: float,
    ) -> None:
        """Admit a request, and assign it, let it wait, or fail it; or refuse it.

        `request_id`, `command` and `data` are the message's, with what it left out filled in.
        """
        requests = requester.requests
        settings = self.settings
        # One call for all fields: each read of a Struct's field costs compiled code as much.
        _, _, _, timeout, idempotent, priority, affinity, trace, target, hedge_after, _ = astuple(message)
        if (
            request_id in requests
            or len(requests) >= settings.in_flight_count_max
            or self.is_draining
            or (hedge_after is not None and not idempotent)
        ):
            self._refuse(requester, refusal(settings, requester, message, request_id), request_id)
            return
        known = self.roster.commands.get(command)
        if known is None:
            self.submitted_count += 1
            self.ended_count += 1
            self.unserved_count += 1
            unserved = no_workers(command, target)
            unserved.delivery, unserved.queue_wait_s = errors.NOT_DELIVERED, 0.0
            requester.port.fail(request_id, unserved, None)
            return
        route = known.route
        if target is not None:
            try:
                route = self.roster.targeted(known, target)
            except errors.Overloaded as error:
                self._refuse(requester, error, request_id)
                return
        self.submitted_count += 1
        timeout_s = settings.timeout_s if timeout is None else max(timeout, BUDGET_S_MIN)
        deadline = now + timeout_s
        request = Request(
            request_id,
            known,
            route,
            data,
            requester,
            now,
            deadline,
            deadline if hedge_after is None else due_at(known, hedge_after, deadline, now),
            idempotent,
            PRIORITY_DEFAULT if priority is None else priority,
            affinity,
            trace,
            hedge_after,
        )
        requests[request_id] = request
        self.deadlines.add(request)
        pool = route.pool
        worker = None if pool is None else pool.strategy.pick(affinity)
        if worker is not None:
            self._assign(request, worker, timeout_s, now)
        else:
            self._line_up(request, now)

    def cancel(self, requester: Requester, request_id: str, now: float) -> None:
        """Give up a request. One that is not in flight has ended already; its response may be on its way."""
        request = requester.requests.get(request_id)
        if request is not None:
            self._fail(request, errors.Cancelled(), now, cancel="cancelled")

    # --- workers ----------------------------------------------------------------------------------------------------

    def worker_joined(
        self, worker_id: str, hello: messages.Hello, port: WorkerPort, identity: str, now: float
    ) -> Worker:
        """A worker has introduced itself; it is given what waits for it at once, unless its canary comes first.

        Raises WorkerIdTaken where another worker is connected under this id. The same one (equal `instance`) replaces
        its old connection, which it must have given up.
        """
        holder = self.roster.workers.get(worker_id)
        if holder is not None and (hello.instance is None or hello.instance != holder.instance):
            raise errors.WorkerIdTaken(f"name: another worker is connected as {worker_id!r}")
        record = self.roster.records.take(worker_id) if holder is None else holder.record
        worker = Worker(worker_id, hello, port, identity, now, record)
        self.roster.join(worker, hello.commands)
        port.welcome(worker_id)
        if holder is not None:
            holder.port.replaced()
            self.worker_left(holder, now)
        self.health.joined(worker, now)
        if self._look_at == NEVER:
            self._look_at = now + LOOK_INTERVAL_S
        self._send_canaries(now)
        self._fail_stranded(now)  # what its old connection left waiting, where it comes back drained
        self._settle(now)
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
        """The operator has changed his mind. A worker that said `disconnect` itself stays drained."""
        worker.record.is_drained = False
        if not worker.is_leaving and worker.state is WorkerState.DRAINING:
            self.roster.move(worker, WorkerEvent.RESUMED)
            self.health.joined(worker, now)
            self._settle(now)

    def worker_silent(self, worker: Worker, now: float) -> None:
        """Nothing has come from `worker` for a while; its link may be half open."""
        self.health.silent(worker)
        self._settle(now)

    def worker_heard(self, worker: Worker, now: float) -> None:
        """Something has come from it again."""
        self.health.heard(worker)
        self._settle(now)

    def worker_left(self, worker: Worker, now: float) -> None:
        """A worker's connection is gone, whether it had said goodbye or not."""
        assignments, worker.assignments = worker.assignments, {}
        written = [
            assignment.request
            for assignment in assignments.values()
            if assignment.request is not None and assignment.was_written
        ]
        if written:
            self.health.ejections.lost(worker, now)
        for lost in written:
            worker.commands[lost.command].failed_count += 1
        self.health.left(worker)
        self.roster.leave(worker)
        unplaced: list[Request] = []
        for assignment in assignments.values():
            request = assignment.request
            if request is None:
                continue
            assignment.request = None
            if not self._recover(request, assignment, now):
                unplaced.append(request)
        for request in reversed(
            unplaced
        ):  # each goes to the head of the line, so that the oldest will stand first
            self.queue.add(request, now, is_first=True)
        self._fail_stranded(now)
        self._settle(now)

    def respond(self, worker: Worker, msg_id: str, result: messages.Result, now: float) -> bool:
        """A worker reports the end of an assignment. False where it holds none under `msg_id`."""
        assignment = worker.assignments.pop(msg_id, None)
        if assignment is None:
            self.unknown_assignments_count += 1
            return False
        self.roster.release(worker)
        request = assignment.request
        batch = assignment.batch
        if batch is not None and request is not None:
            if not batch.answered_count:
                self.turn.answered.append(batch)
            batch.answered_count += 1
        if request is None:
            if msg_id == worker.canary_msg_id:
                self.health.canary_ended(worker, is_success=result.success, now=now)
            else:
                self.late_responses_count += 1
        elif result.success:
            worker.commands[request.command].succeeded_count += 1
            if request.hedge is not None:
                self._drop_other_copy(request, assignment)
            try:
                request.requester.port.succeed(
                    request.request_id, result.result, worker.port.encoding, worker.worker_id
                )
            except TaskferryError as error:
                self._fail(request, error, now)
            else:
                self._finish(request, SUCCESS, now)
            if now >= worker.learn_at:
                self.health.succeeded(worker, request.command, now - assignment.assigned_at, now)
        else:
            self._handler_failed(request, assignment, result, now)
        if self.queue.count:
            self._pull(worker, now)
            if self.roster.entered:
                self._settle(now)
        return True

    # --- time and the end -------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Do what is due: end the requests whose deadline has passed, send second copies, look around. To be called at
        `next_at`."""
        while due := self.deadlines.due(now):
            for request in due:
                if request.deadline > now:
                    self._hedge(request, now)
                    continue
                self._blame(request, now)
                self._fail(request, errors.WorkerTimeout(), now, cancel="timeout")
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL_S if self.roster.workers else NEVER
            for request, error in self.queue.overdue(now):
                self._fail(request, error, now)
            self._retries.look(self.submitted_count, now)
            self._hedges.look(self.submitted_count, now)
            self.health.look(now)
            self._send_canaries(now)
        self._settle(now)

    def reconfigure(self, settings: CoreSettings, choice: StrategyChoice, now: float) -> None:
        """Go on with other numbers and strategies. What is in flight keeps its deadline and its worker; what waits
        beyond a new bound waits on; a bound says from now on what is let in."""
        self.settings = settings
        self.queue.settings = settings
        self._retries.share = settings.retries_share_max
        self._hedges.share = settings.hedges_share_max
        self.roster.choose(choice)
        self._settle(now)

    def turn_ended(self, began_at: float, now: float) -> None:
        """All that the ports were given has been handed to the operating system; the first read of what caused it was
        at `began_at`."""
        self.turn.end(began_at, now)
        self.turn = Turn()

    def drain(self) -> None:
        """Admit nothing more; what is in flight goes on."""
        self.is_draining = True

    def stop(self, now: float) -> None:
        """End all that is still in flight: the broker is about to go."""
        self.is_draining = True
        for requester in self.requesters:
            for request in tuple(requester.requests.values()):
                error = errors.BrokerStopped() if may_have_run(request) else errors.ShuttingDown()
                self._fail(request, error, now, cancel="shutting_down")

    def _drain(self, worker: Worker, reason: str, now: float) -> None:
        self.roster.move(worker, WorkerEvent.LEAVING, reason)
        self.health.drained(worker)
        self._fail_stranded(now)
        self._settle(now)
