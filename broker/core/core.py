"""The life of every request: one synchronous object that is told what happened and when, and answers through ports.

    submit -> _assign ................... respond -> _finish
       |                                   ^
       +----> _line_up ... _pull -> _assign

Each request that `submit` admits ends in `_finish`, once, whichever way it goes: a result, a handler's failure, its
deadline (`advance`), the loss of its worker (`worker_left`), its requester's wish or disappearance (`cancel`,
`requester_left`), the want of workers or of room, or the broker's own end (`stop`). Nothing here waits, looks at a
clock or draws lots; calls must not be nested, and `now` (seconds, monotonic) must not go backwards.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import UNSET, Raw

from ...loadbalance.strategy import Strategy
from ...protocol import errors, messages
from ...protocol.errors import TaskferryError
from ...protocol.limits import PRIORITY_DEFAULT, TEXT_LENGTH_MAX
from .commands import Command
from .deadlines import Deadlines
from .ports import CancelReason, RequesterPort, WorkerPort
from .request import Assignment, Request
from .requester import Requester
from .roster import Roster
from .settings import CoreSettings
from .waiting import rank_of
from .worker import Worker

BUDGET_S_MIN: Final = 0.001

SUCCESS: Final = "success"
REQUESTER_GONE: Final = "requester_gone"
"""Outcome labels beside the codes of the error registry."""


class Core:
    """All state of the broker that a request's fate depends on."""

    __slots__ = (
        "_msg_count",
        "_waiting_commands",
        "deadlines",
        "ended_count",
        "is_draining",
        "late_responses_count",
        "reassigned_count",
        "refused",
        "requesters",
        "retried_count",
        "roster",
        "settings",
        "submitted_count",
        "unknown_assignments_count",
        "unserved_count",
        "waiting_count",
        "waiting_size_bytes",
    )

    def __init__(self, settings: CoreSettings, make_strategy: Callable[[], Strategy[Any]]) -> None:
        self.settings = settings
        self.roster = Roster(make_strategy)
        self.requesters: dict[Requester, None] = {}
        self.deadlines = Deadlines()
        self.is_draining = False
        self._msg_count = 0
        self._waiting_commands: dict[Command, None] = {}
        self.waiting_count = 0
        self.waiting_size_bytes = 0
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
        self.late_responses_count = 0
        self.unknown_assignments_count = 0

    @property
    def in_flight_count(self) -> int:
        """Requests that have been admitted and not ended, waiting ones included."""
        return self.submitted_count - self.ended_count

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
        if (
            request_id in requests
            or len(requests) >= settings.in_flight_count_max
            or self.is_draining
            or message.target is not UNSET
        ):
            refusal = self._refusal(requester, message, request_id)
            self.refused[refusal.code] = self.refused.get(refusal.code, 0) + 1
            requester.port.fail(request_id, refusal.code, refusal.text, None)
            return
        self.submitted_count += 1
        known = self.roster.commands.get(command)
        if known is None:
            self.ended_count += 1
            self.unserved_count += 1
            requester.port.fail(
                request_id, errors.NoAvailableWorkers.code, errors.NoAvailableWorkers.message, None
            )
            return
        timeout_s = message.timeout or settings.timeout_s
        priority = PRIORITY_DEFAULT if message.priority is None else message.priority
        request = Request(
            request_id,
            known,
            data,
            requester,
            now,
            now + timeout_s,
            message.idempotent,
            priority,
            message.affinity,
            message.trace,
        )
        requests[request_id] = request
        self.deadlines.add(request)
        worker = None if known.pool is None else known.pool.strategy.pick(message.affinity)
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
        """A worker has introduced itself; it is given what waits for it at once.

        Raises WorkerIdTaken where another worker is connected under this id. The same one (equal `instance`) replaces
        its old connection, which it must have given up.
        """
        holder = self.roster.workers.get(worker_id)
        if holder is not None and (hello.instance is None or hello.instance != holder.instance):
            raise errors.WorkerIdTaken(f"name: another worker is connected as {worker_id!r}")
        worker = Worker(worker_id, hello, port, identity, now)
        self.roster.join(worker, hello.commands)
        port.welcome(worker_id)
        if holder is not None:
            holder.port.replaced()
            self.worker_left(holder, now)
        self._pull(worker, now)
        return worker

    def worker_draining(self, worker: Worker, now: float) -> None:
        """`worker` wants nothing more; what it holds it will still answer."""
        self.roster.drain(worker)
        self._fail_stranded(worker.commands, now)

    def worker_left(self, worker: Worker, now: float) -> None:
        """A worker's connection is gone, whether it had said goodbye or not."""
        self.roster.leave(worker)
        written_count = worker.port.written_count
        assignments, worker.assignments = worker.assignments, {}
        unplaced: list[Request] = []
        for assignment in assignments.values():
            request = assignment.request
            if request is None:
                continue
            assignment.request = None
            request.assignment = None
            if not self._recover(request, worker, assignment.message_number <= written_count, now):
                unplaced.append(request)
        for request in reversed(
            unplaced
        ):  # each goes to the head of the line: the oldest, last, will stand first
            self._wait(request, is_first=True)
        self._fail_stranded(worker.commands, now)

    def respond(self, worker: Worker, msg_id: str, result: messages.Result, now: float) -> bool:
        """A worker reports the end of an assignment. False where it holds none under `msg_id`."""
        assignment = worker.assignments.pop(msg_id, None)
        if assignment is None:
            self.unknown_assignments_count += 1
            return False
        self.roster.release(worker)
        request = assignment.request
        if request is None:
            self.late_responses_count += 1
        elif result.success:
            worker.succeeded_count += 1
            try:
                request.requester.port.succeed(
                    request.request_id, result.result, worker.port.encoding, worker.worker_id
                )
            except TaskferryError as error:
                self._fail(request, error, now)
            else:
                self._finish(request, SUCCESS, now)
        else:
            worker.failed_count += 1
            self._handler_failed(request, result, now)
        if self.waiting_count:
            self._pull(worker, now)
        return True

    # --- time and the end -------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """End every request whose deadline has passed. To be called at `deadlines.next_at`."""
        while expired := self.deadlines.expired(now):
            for request in expired:
                self._fail(request, errors.WorkerTimeout(), now, cancel="timeout")

    def drain(self) -> None:
        """Admit nothing more; what is in flight goes on."""
        self.is_draining = True

    def stop(self, now: float) -> None:
        """End all that is still in flight: the broker is about to go."""
        self.is_draining = True
        for requester in self.requesters:
            for request in tuple(requester.requests.values()):
                may_have_run = request.assignment is not None or request.retries_count > 0
                error = errors.BrokerStopped() if may_have_run else errors.ShuttingDown()
                self._fail(request, error, now, cancel="shutting_down")

    # --- the steps of a request's life ------------------------------------------------------------------------------

    def _refusal(self, requester: Requester, message: messages.Request, request_id: str) -> TaskferryError:
        """Why a request is not admitted."""
        if request_id in requester.requests:
            return errors.DuplicateRequestId(
                f"request_id: {request_id!r} is already in flight on this connection"
            )
        if len(requester.requests) >= self.settings.in_flight_count_max:
            return errors.Overloaded(
                f"over {self.settings.in_flight_count_max} requests in flight on this connection (in_flight_count_max)"
            )
        if self.is_draining:
            return errors.ShuttingDown()
        return errors.BadRequest(
            "target: not supported by this broker, and ignoring it could run the command elsewhere"
        )

    def _line_up(self, request: Request, now: float) -> None:
        """Let an admitted request wait for a free slot, or fail it where that would be in vain or too much."""
        settings = self.settings
        if request.command.pool is None:
            self._fail(request, errors.NoAvailableWorkers(), now)
        elif self.waiting_count >= settings.queue_count_max:
            self._fail(
                request, errors.Overloaded(f"{settings.queue_count_max} requests wait (queue_count_max)"), now
            )
        elif self.waiting_size_bytes + len(request.data) > settings.queue_size_bytes_max:
            text = f"{settings.queue_size_bytes_max} bytes of data wait (queue_size_bytes_max)"
            self._fail(request, errors.Overloaded(text), now)
        else:
            self._wait(request)

    def _wait(self, request: Request, *, is_first: bool = False) -> None:
        request.command.waiting.add(request, is_first=is_first)
        self._waiting_commands[request.command] = None
        request.is_waiting = True
        self.waiting_count += 1
        self.waiting_size_bytes += len(request.data)

    def _stop_waiting(self, request: Request) -> None:
        """The line has let it go."""
        if not request.command.waiting.count:
            del self._waiting_commands[request.command]
        request.is_waiting = False
        self.waiting_count -= 1
        self.waiting_size_bytes -= len(request.data)

    def _assign(self, request: Request, worker: Worker, timeout_s: float, now: float) -> None:
        """Give a request to a worker with a free slot. Where it cannot be carried there, it ends here."""
        self._msg_count += 1
        msg_id = str(self._msg_count)
        try:
            message_number = worker.port.assign(msg_id, request, timeout_s)
        except (errors.NotRepresentable, errors.TooLarge) as error:
            self.roster.pass_over(worker)
            self._fail(request, error, now)
            return
        assignment = Assignment(msg_id, worker, now, message_number, request)
        worker.assignments[msg_id] = assignment
        request.assignment = assignment
        self.roster.occupy(worker)

    def _pull(self, worker: Worker, now: float) -> None:
        """Fill the free slots of `worker` with what waits for the commands that it serves."""
        while self.waiting_count and worker.pools and worker.in_flight_count < worker.concurrency:
            heads = [command.waiting.peek() for command in self._waited_for(worker)]
            request = min((head for head in heads if head is not None), key=rank_of, default=None)
            if request is None:
                return
            request.command.waiting.take(request)
            self._stop_waiting(request)
            request.command.queue_wait.observe(now - request.submitted_at)
            if request.deadline <= now:
                self._fail(request, errors.WorkerTimeout(), now)
            else:
                self._assign(request, worker, budget_s(request, now), now)

    def _waited_for(self, worker: Worker) -> Iterable[Command]:
        """The commands of `worker` that may have somebody waiting: found from whichever side is shorter."""
        if len(worker.commands) <= len(self._waiting_commands):
            return worker.commands
        return (command for command in self._waiting_commands if command in worker.commands)

    def _recover(self, request: Request, worker: Worker, was_written: bool, now: float) -> bool:
        """Decide about a request whose worker was lost: what never left runs elsewhere; what may have run is told so,
        unless it may run twice. False where it must wait for a slot."""
        if was_written:
            may_retry = request.idempotent and request.retries_count < self.settings.retries_count_max
            if not may_retry or request.command.pool is None:
                self._fail(request, errors.WorkerLost(), now, worker=worker)
                return True
            request.retries_count += 1
            self.retried_count += 1
        else:
            self.reassigned_count += 1
        if request.deadline <= now:
            self._fail(request, errors.WorkerTimeout(), now, worker=worker)
            return True
        pool = request.command.pool
        other = None if pool is None else pool.strategy.pick(request.affinity)
        if other is None:
            return False
        self._assign(request, other, budget_s(request, now), now)
        return True

    def _handler_failed(self, request: Request, result: messages.Result, now: float) -> None:
        error = errors.HandlerError((result.error or errors.HandlerError.message)[:TEXT_LENGTH_MAX])
        error.code = errors.worker_code(result.code)
        self._fail(request, error, now)

    def _fail_stranded(self, commands: Iterable[Command], now: float) -> None:
        """Nobody serves some of these commands any more: who waits for one is told so at once."""
        for command in commands:
            while command.pool is None and (request := command.waiting.peek()) is not None:
                error = errors.WorkerLost() if request.retries_count else errors.NoAvailableWorkers()
                self._fail(request, error, now)

    def _fail(
        self,
        request: Request,
        error: TaskferryError,
        now: float,
        *,
        worker: Worker | None = None,
        cancel: CancelReason | None = None,
    ) -> None:
        """End a request with an error. `worker` had it last, where its assignment no longer says so."""
        if worker is None and request.assignment is not None:
            worker = request.assignment.worker
        worker_id = None if worker is None else worker.worker_id
        request.requester.port.fail(request.request_id, error.code, error.text, worker_id)
        self._finish(request, errors.outcome_label(error.code), now, cancel)

    def _finish(self, request: Request, outcome: str, now: float, cancel: CancelReason | None = None) -> None:
        """The one end of every admitted request: forget it everywhere, count it, free its worker of the thought of
        it."""
        del request.requester.requests[request.request_id]
        self.deadlines.remove(request)
        command = request.command
        if request.is_waiting:
            command.waiting.remove(request)
            self._stop_waiting(request)
        assignment = request.assignment
        if assignment is not None:
            request.assignment = None
            assignment.request = None
            if cancel is not None:
                assignment.worker.port.cancel(assignment.msg_id, cancel)
        self.ended_count += 1
        command.outcomes[outcome] += 1
        command.duration.observe(now - request.submitted_at)


def budget_s(request: Request, now: float) -> float:
    """The time that is left for a request which has not expired, as its worker is told: to the millisecond, at least
    one."""
    return max(BUDGET_S_MIN, round(request.deadline - now, 3))
