"""The broker's core: one synchronous object. Callers report what happened and when; it answers through ports.

    submit -> Admission -> Delivery.place ..................... succeeded, failed -> Ending
                  |                                                ^
                  +------> Delivery.line_up ... Delivery.fill -> place

Each admitted call becomes a request and ends exactly once, in `Ending`: by a result, a handler's failure, its deadline
(`advance`), the loss of its worker (`worker_left`), its requester's cancel or disconnection (`cancel`,
`requester_left`), a lack of workers or of room, overload, or the broker's shutdown (`stop`). Calls must not be nested,
and `now` (seconds, monotonic) must not go backwards.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Raw, UnsetType

from ...loadbalance.choice import StrategyChoice
from ...protocol import errors
from ...protocol.errors import TaskferryError
from ...protocol.limits import TEXT_LENGTH_MAX
from .account import Account
from .adopted import Adopted
from .call import Call, Target
from .delivery.admission import Admission
from .delivery.crowding import Crowding
from .delivery.deadlines import NEVER, Deadlines
from .delivery.delivery import EPOCH_END, Delivery
from .delivery.ending import REQUESTER_GONE, SUCCESS, Ending
from .delivery.failures import CANCELLED, SHUTTING_DOWN, STOPPED, TIMEOUT
from .delivery.hedging import Hedging
from .delivery.kept_data import KeptData
from .delivery.recovery import Recovery
from .delivery.room import Room
from .delivery.streaming import Streaming
from .failure import Failure, failure_of, is_deliberate
from .fleet.gathering import Gathering
from .fleet.lack import Lack
from .fleet.roster import Roster
from .fleet.worker import Worker, WorkerEvent, WorkerState
from .health.canary import CANARY_TIMEOUT_S
from .health.health import Health
from .measures.counts import Counts
from .offer import Offer
from .ports import CancelReason, Observer, RequesterPort, Steps, WorkerPort
from .queue.queue import Queue
from .request import Assignment
from .requester import Requester, may_call_all
from .settings import CoreSettings

LOOK_INTERVAL_S: Final = 0.25
"""How often the core checks what no message reports: overload, health, canaries. Short compared with the second or
more over which each of these is measured."""

READ_S: Final = 0.1
"""After a pause nothing is due for this long, in which the caller reads what its peers have sent meanwhile."""


class Core:
    """The core's interface. The objects that it is composed of own their state and their rules; this class decides
    which of them a call concerns, and in which order."""

    __slots__ = (
        "_admission",
        "_crowding",
        "_delivery",
        "_ending",
        "_hedging",
        "_joined_count",
        "_lack",
        "_look_at",
        "_recovery",
        "_streaming",
        "counts",
        "deadlines",
        "health",
        "kept_data",
        "queue",
        "recent_failures",
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
        self.kept_data = KeptData(settings)
        self._ending = Ending(self.counts, self.deadlines, self.queue, self.kept_data, steps)
        room = Room(self.queue, self._ending, self.counts)
        self.recent_failures = self._ending.recent
        gathering = Gathering()
        self._lack = lack = Lack()
        self._delivery = Delivery(
            self.queue,
            self._ending,
            self.deadlines,
            room=room,
            gathering=gathering,
            lack=lack,
            kept_data=self.kept_data,
            steps=steps,
        )
        self.roster = Roster(choice, self._delivery, observer, gathering)
        lack.of(self.roster)
        self.health = Health(self.roster)
        self._admission = Admission(
            settings, self.roster, self.deadlines, room=room, counts=self.counts, steps=steps
        )
        self._crowding = Crowding(
            self.roster, gathering, delivery=self._delivery, ending=self._ending, counts=self.counts
        )
        self._hedging = Hedging(self._delivery, self.deadlines, self.counts, settings.hedges_share_max, steps)
        self._recovery = Recovery(
            settings,
            roster=self.roster,
            crowding=self._crowding,
            delivery=self._delivery,
            ending=self._ending,
            deadlines=self.deadlines,
            counts=self.counts,
            steps=steps,
        )
        self._streaming = Streaming(self._hedging, self._ending, self.health)
        self._look_at = NEVER
        self._joined_count = 0

    @property
    def is_draining(self) -> bool:
        """No more calls are admitted."""
        return self._admission.is_closed

    @property
    def next_at(self) -> float:
        """When to call `advance` next, in seconds. There may turn out to be nothing due."""
        return min(self.deadlines.next_at, self._look_at)

    @property
    def epoch(self) -> str:
        """What the msg_ids of attempts begin with, so that those of an earlier run of the broker are not taken for new
        ones. Set it before the first attempt is submitted."""
        return self._delivery.epoch

    @epoch.setter
    def epoch(self, epoch: str) -> None:
        self._delivery.epoch = epoch

    def listen(self, steps: Steps | None) -> None:
        """Notify `steps`, and no longer who was before, of each step from here on: of requests in flight, too."""
        parts = (self._ending, self._delivery, self._admission, self._hedging, self._recovery)
        for part in parts:
            part.steps = steps

    def started(self, now: float) -> None:
        """The broker has just started: for `start_wait_s` requests wait for what nobody serves yet."""
        if self.settings.start_wait_s:
            self.roster.gathering.begin(now + self.settings.start_wait_s)
            self._look_at = now + LOOK_INTERVAL_S

    # --- requesters -------------------------------------------------------------------------------------------------

    def requester_joined(
        self,
        port: RequesterPort,
        account: Account,
        may_call: Callable[[str], bool] = may_call_all,
        *,
        names_workers: bool = False,
    ) -> Requester:
        """A requester has connected, which may call what `may_call` says; see `Requester`. Pass the result with each of
        its calls."""
        requester = Requester(port, account, may_call, names_workers=names_workers)
        self.requesters[requester] = None
        return requester

    def requester_left(self, requester: Requester, now: float) -> None:
        """It has disconnected: end its requests, whose results are no longer needed."""
        del self.requesters[requester]
        for request in tuple(requester.requests.values()):
            worker = self._delivery.unreserve(request)
            self._ending.finish(request, REQUESTER_GONE, now, "requester_gone")
            if worker is not None:
                self._delivery.fill(worker, now)

    def submit(self, requester: Requester, call: Call, now: float) -> None:
        """Admit a call, then assign it, queue it, or fail it; or refuse it."""
        request = self._admission.admit(requester, call, now)
        if request is None:
            return
        pool = request.route.pool
        worker = None if pool is None else pool.strategy.pick(call.affinity)
        if worker is not None:
            self._delivery.place(request, worker, request.timeout_s, now)
        elif request.route.is_makeshift:
            self._crowding.line_up(request, now)
        else:
            self._delivery.line_up(request, now)

    def refuse(self, requester: Requester, request_id: str | None, failure: Failure) -> None:
        """Answer and count a message that was meant as a call but is not a valid one. `request_id` is None if it could
        not be read."""
        self._admission.refuse(requester, request_id, failure)

    def cancel(self, requester: Requester, request_id: str, now: float) -> None:
        """Cancel a request. One that is not in flight has already ended; its response may be on its way."""
        request = requester.requests.get(request_id)
        if request is None:
            return
        worker = self._delivery.unreserve(request)
        self._ending.fail(request, CANCELLED, now, cancel="cancelled")
        if worker is not None:
            self._delivery.fill(worker, now)

    def taken(self, requester: Requester, request_id: str, sequence: int, attempt: int | None = None) -> None:
        """The chunks of a request up to `sequence` were taken; of this attempt, or of the latest. Of one that is not in
        flight nothing waits."""
        request = requester.requests.get(request_id)
        if request is not None:
            self._streaming.taken(request, sequence, attempt)

    def send_reserved(self, requester: Requester, request_id: str, msg_id: str, now: float) -> bool:
        """Send the assignment of an attempt that has only taken its slot. False if there is no such one any more: the
        attempt waits again, has another assignment, or has ended."""
        request = requester.requests.get(request_id)
        reserved = None if request is None else request.assignment
        if request is None or reserved is None or reserved.msg_id != msg_id or not reserved.is_unsent:
            return False
        self._delivery.send_reserved(request, reserved, now)
        return True

    # --- workers ----------------------------------------------------------------------------------------------------

    def worker_joined(  # noqa: PLR0917  a worker is all of these
        self,
        worker_id: str,
        offer: Offer,
        port: WorkerPort,
        identity: str,
        now: float,
        adopted: Sequence[Adopted] = (),
    ) -> Worker:
        """A worker has connected. It gets waiting requests at once, unless it has to answer a canary first. What is
        `adopted` takes its slots before, even if it has fewer.

        Raises WorkerIdTaken if another worker is connected under this id. The same worker (equal `identity` and
        `instance`) replaces its old connection, which is taken to be dead.
        """
        holder = self._holder_of(worker_id, offer, identity)
        record = self.roster.records.take(worker_id) if holder is None else holder.record
        self._joined_count += 1
        worker = Worker(worker_id, offer, port, identity, now, record, self._joined_count)
        self.roster.join(worker, offer.commands, now)
        port.welcome(worker_id)
        for attempt in adopted:
            self._adopt(worker, attempt, now)
        if holder is not None:
            holder.port.replaced()
            self.worker_left(holder, now)
        self.health.joined(worker, now)
        self._look_at = min(self._look_at, now + LOOK_INTERVAL_S)
        self._send_canaries(now)
        return worker

    def worker_draining(self, worker: Worker, now: float) -> None:
        """`worker` wants no more assignments; it will still answer those that it holds."""
        worker.is_leaving = True
        self._drain(worker, "it said disconnect", now)

    def drain_worker(self, worker: Worker, now: float) -> None:
        """An operator drains `worker`: it gets no more assignments, even after it reconnects."""
        worker.record.is_drained = True
        self._drain(worker, "drained by an operator", now)

    def resume_worker(self, worker: Worker, now: float) -> None:
        """Undo `drain_worker`. A worker that said `disconnect` itself stays drained."""
        worker.record.is_drained = False
        if not worker.is_leaving and worker.state is WorkerState.DRAINING:
            self.health.resumed(worker, now)
            self._send_canaries(now)

    def worker_silent(self, worker: Worker, now: float) -> None:
        """Nothing has been received from `worker` for a while; its link may be half open."""
        self.health.silent(worker, now)

    def worker_heard(self, worker: Worker, now: float) -> None:
        """Something has been received from `worker` again."""
        self.health.heard(worker, now)

    def worker_left(self, worker: Worker, now: float) -> None:
        """A worker's connection has closed, whether it said `disconnect` or not."""
        assignments, worker.assignments = worker.assignments, {}
        unanswered = [
            assignment.request
            for assignment in assignments.values()
            if assignment.request is not None
            and assignment.was_written
            and assignment.assigned_at > self.health.paused_at
        ]
        self.health.lost(worker, unanswered, now)
        self.roster.leave(worker, now)
        self._recovery.recover(assignments.values(), now)
        self.roster.directory.leave(
            worker.commands, now
        )  # last: what waits for them now must not be forgotten

    def succeeded(self, worker: Worker, msg_id: str, result: Raw | UnsetType, now: float) -> bool:
        """A worker reports the result of an assignment; UNSET stands for null. False if the worker has no assignment
        `msg_id`, or it is of an attempt that has ended without it."""
        assignment = self._take(worker, msg_id)
        if assignment is None:
            return False
        is_wanted = True
        request = assignment.request
        if request is None:
            is_wanted = self._answered_late(worker, msg_id, is_success=True, now=now)
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
                self.health.succeeded(worker, request, now - assignment.assigned_at, now)
        if self.queue.count:
            self._delivery.fill(worker, now)
        return is_wanted

    def failed(  # noqa: PLR0917  the hot path
        self,
        worker: Worker,
        msg_id: str,
        text: str | None,
        code: str | None,
        now: float,
        retry: float | bool | None = None,
    ) -> bool:
        """A worker reports that an assignment has failed, with its handler's text and code, and for an attempt what the
        handler says about another one. False if the worker has no assignment `msg_id`, or it is of an attempt that has
        ended without it."""
        assignment = self._take(worker, msg_id)
        if assignment is None:
            return False
        is_wanted = True
        request = assignment.request
        if request is None:
            is_wanted = self._answered_late(worker, msg_id, is_success=False, now=now)
        else:
            self._answered(assignment)
            words = (text or errors.HandlerError.message)[:TEXT_LENGTH_MAX]
            failure = Failure(errors.worker_code(code), words, None, None, None, retry)
            if failure.code == errors.WorkerLost.code and request.call.attempt is None:
                self._recovery.crashed(assignment, failure, now)
            else:
                if request.hedge is not None:
                    self._hedging.settle(request, assignment)
                self._ending.fail(request, failure, now, is_answer=True)
            self.health.failed(
                worker, request, failure.code, words, now, is_deliberate=is_deliberate(failure)
            )
        if self.queue.count:
            self._delivery.fill(worker, now)
        return is_wanted

    def check_worker_id(self, worker_id: str, offer: Offer, identity: str) -> None:
        """Raises WorkerIdTaken if a worker that offers this may not join under this id now."""
        self._holder_of(worker_id, offer, identity)

    def new_commands_count(self, names: Iterable[str]) -> int:
        """How many of these commands no worker has served since the start, or so long ago that they are forgotten."""
        return self.roster.directory.new_count(names)

    def notify(self, worker: Worker, msg_id: str, progress: Raw) -> None:
        """A worker reports progress. It is passed on if the assignment is of a request that has not ended."""
        self._streaming.notify(worker, msg_id, progress)

    def chunk(self, worker: Worker, msg_id: str, sequence: int, data: Raw, now: float) -> str | None:
        """A worker sends a chunk of an assignment. It is ignored if nothing waits for it. A text that says what is
        wrong with it, if its request has failed because of that."""
        return self._streaming.chunk(worker, msg_id, sequence, data, now)

    def refuse_chunk(self, worker: Worker, msg_id: str, failure: Failure, now: float) -> None:
        """A worker sends a chunk that no requester could be sent: fail its request."""
        self._streaming.refuse(worker, msg_id, failure, now)

    # --- time and shutdown -------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Do what is due: end requests whose deadline has passed, send hedges, run the periodic checks. Call it at
        `next_at`."""
        while due := self.deadlines.due(now):
            for request in due:
                if request.deadline > now:
                    self._hedging.due(request, now)
                    continue
                self.health.expired(request, now)
                self._ending.fail(request, TIMEOUT, now, cancel="timeout")
        if now >= self._look_at:
            directory, gathering = self.roster.directory, self.roster.gathering
            if gathering.is_on and now >= gathering.ends_at:
                gathering.is_on = False
                self._delivery.strand_all(now)
                directory.stop_gathering()
            directory.look(now)
            is_needed = self.roster.workers or gathering.is_on
            self._look_at = now + LOOK_INTERVAL_S if is_needed else directory.expires_at
            for request, failure in self.queue.overdue(now):
                self._ending.fail(request, failure, now)
            self._recovery.budget.look(self.counts.submitted_count, now)
            self._hedging.budget.look(self.counts.submitted_count, now)
            self.kept_data.look()
            self.health.look(now)
            self.roster.look()
            self._send_canaries(now)

    def paused(self, since: float, now: float) -> None:
        """The caller has stood still from `since` to `now`: it was stopped, or its machine was. No request has lost
        that time, and no worker is to blame for it. Call it before `advance`."""
        pause_s = now - since
        for requester in self.requesters:
            for request in requester.requests.values():
                if request.submitted_at <= since:
                    request.leave_out(pause_s)
                    self.deadlines.postpone(request, pause_s + READ_S)
        self.health.paused(now, now + READ_S)
        self.roster.gathering.ends_at += pause_s

    def reconfigure(self, settings: CoreSettings, choice: StrategyChoice) -> None:
        """Change the settings and strategies. Requests in flight keep their deadline and their worker. New bounds apply
        to new requests only: those that already wait beyond a bound go on waiting."""
        self.settings = self._admission.settings = self.kept_data.settings = self.queue.settings = (
            self._recovery.settings
        ) = settings
        self._recovery.budget.share = settings.retries_share_max
        self._hedging.budget.share = settings.hedges_share_max
        self.roster.choose(choice)

    def turn_ended(self, began_at: float, now: float) -> None:
        """Everything sent to the ports has been handed to the operating system. The turn began at `began_at`, with its
        first read."""
        self._delivery.end_turn(began_at, now)

    def worker_ids(self, command: str, target: Target | None) -> list[str]:
        """The connected workers that serve `command` and match `target`, and are not about to leave."""
        known = self.roster.commands.get(command)
        if known is None:
            return []
        return [worker.worker_id for worker in self.roster.matching(known, target)]

    def lack(self, requester: Requester, call: Call, now: float) -> Failure:
        """Why no worker can take `call`."""
        return Failure(errors.NoAvailableWorkers.code, self._lack.text(requester, call, now))

    def drain(self) -> None:
        """Admit no more calls; requests in flight go on."""
        self._admission.is_closed = True

    def stop(self, now: float) -> None:
        """End all requests that are still in flight: the broker is about to exit. Workers go on with attempts."""
        self.drain()
        for requester in self.requesters:
            for request in tuple(requester.requests.values()):
                self._delivery.unreserve(request)
                failure = STOPPED if request.may_have_run else SHUTTING_DOWN
                cancel: CancelReason | None = "shutting_down" if request.call.attempt is None else None
                self._ending.fail(request, failure, now, cancel=cancel)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _take(self, worker: Worker, msg_id: str) -> Assignment | None:
        """The assignment that a worker reports as over; None, counted, if it has no such assignment."""
        assignment = worker.assignments.pop(msg_id, None)
        if assignment is None:
            self.counts.unknown_assignments_count += 1
        return assignment

    def _holder_of(self, worker_id: str, offer: Offer, identity: str) -> Worker | None:
        """The same worker over an older connection, if there is one. Raises WorkerIdTaken for another worker."""
        holder = self.roster.workers.get(worker_id)
        is_same = holder is not None and holder.identity == identity and holder.instance == offer.instance
        if holder is not None and (offer.instance is None or not is_same):
            raise errors.WorkerIdTaken(f"name: another worker is connected as {worker_id!r}")
        return holder

    def _adopt(self, worker: Worker, adopted: Adopted, now: float) -> None:
        """Let an attempt go on at `worker`, which has just joined."""
        requester, call = adopted.requester, adopted.call
        request = requester.requests.get(call.request_id)
        if request is None:
            command = self.roster.commands[call.command]
            request = self._admission.adopt(requester, call, command, adopted.timeout_s, now)
        before = self._delivery.adopt(request, worker, adopted.msg_id, now)
        if before is not None and self.roster.workers.get(before.worker_id) is before:
            self._delivery.fill(before, now)

    def _answered(self, assignment: Assignment) -> None:
        """A worker has answered a request that is still in flight: free the slot, and count it in this turn."""
        assignment.worker.release(assignment.msg_id)
        batch = assignment.batch
        assert batch is not None, "a request's assignment is in a batch"
        if not batch.answered_count:
            self._delivery.turn.answered.append(batch)
        batch.answered_count += 1

    def _answered_late(self, worker: Worker, msg_id: str, *, is_success: bool, now: float) -> bool:
        """Free the slot of an assignment without a request: a canary's, or one whose request has already ended. False
        if it is of an attempt."""
        worker.release(msg_id)
        if msg_id == worker.canary_msg_id:
            self.health.canary_ended(worker, is_success=is_success, now=now)
        else:
            self.counts.late_responses_count += 1
        return EPOCH_END not in msg_id

    def _drain(self, worker: Worker, reason: str, now: float) -> None:
        self.health.drained(worker)
        self.roster.move(worker, WorkerEvent.LEAVING, now, reason)

    def _send_canaries(self, now: float) -> None:
        for worker in self.health.canaries.due(now):
            assert worker.canary is not None
            msg_id = self._delivery.send_canary(worker, worker.canary, CANARY_TIMEOUT_S, now)
            self.health.canaries.sent(worker, msg_id, now)
