"""Which worker gets which request: one that the strategy picks, or else the first with a free slot.

Implements the roster's `Placement`: before a call of the roster returns, a worker that became eligible has received the
requests that waited for it, and no request waits on a route that has lost its last worker.
"""

from typing import Final

from ....protocol import errors
from ..call import Attempt
from ..failure import Failure, failure_of
from ..fleet.gathering import Gathering
from ..fleet.lack import Lack
from ..fleet.route import Route
from ..fleet.worker import Worker
from ..measures.turn import Batch, Turn
from ..ports import Steps
from ..queue.queue import Queue
from ..request import ADOPTED, UNSENT, Assignment, Request
from .deadlines import Deadlines
from .ending import Ending
from .failures import TIMEOUT
from .kept_data import KEPT_SIZE_BYTES_MIN, KeptData
from .room import Room

EPOCH_END: Final = "."
"""Stands after the epoch in the msg_id of an attempt, and in no other msg_id."""


class Delivery:
    """Assigns requests, queues them, and assigns waiting ones to free slots. `turn` is the current turn of the event
    loop."""

    __slots__ = (
        "_deadlines",
        "_ending",
        "_gathering",
        "_kept_data",
        "_lack",
        "_msg_count",
        "_queue",
        "_room",
        "epoch",
        "steps",
        "turn",
    )

    def __init__(
        self,
        queue: Queue,
        ending: Ending,
        deadlines: Deadlines,
        *,
        room: Room,
        gathering: Gathering,
        lack: Lack,
        kept_data: KeptData,
        steps: Steps | None,
    ) -> None:
        self._gathering = gathering
        self._kept_data = kept_data
        self._lack = lack
        self._queue = queue
        self._room = room
        self._ending = ending
        self._deadlines = deadlines
        self.steps = steps
        self._msg_count = 0
        self.epoch = ""
        """What the msg_ids of attempts begin with."""
        self.turn = Turn()

    # --- one request ------------------------------------------------------------------------------------------------

    def place(self, request: Request, worker: Worker, timeout_s: float, now: float) -> None:
        """Assign a request to a worker with a free slot. If the request cannot be carried in that worker's encoding, it
        goes to a worker with the request's own encoding, so that the fastest worker does not attract and fail requests
        that only others can read. If no such worker has a free slot, the request fails."""
        failure = self.send(request, worker, timeout_s, now)
        if failure is None:
            return
        other = self._reader(request, worker)
        if other is not None:
            failure = self.send(request, other, timeout_s, now)
        if failure is not None:
            self._ending.fail(request, failure, now)

    def send(self, request: Request, worker: Worker, timeout_s: float, now: float) -> Failure | None:
        """Send an assignment to a worker with a free slot; a hedge, if another worker already has the request. None if
        it was sent; a failure, with nothing changed, if it cannot be carried to this worker."""
        self._msg_count += 1
        attempt = request.call.attempt
        msg_id = str(self._msg_count) if attempt is None else f"{self.epoch}{EPOCH_END}{self._msg_count}"
        message_number = UNSENT
        if attempt is None or not attempt.reserves:
            try:
                message_number = worker.port.assign(msg_id, request, timeout_s)
            except (errors.NotRepresentable, errors.TooLarge) as error:
                worker.reposition()
                return failure_of(error)
        batch = request.command.batch
        if batch.turn is not self.turn:
            batch = request.command.batch = Batch(request.command, self.turn)
        assignment = Assignment(msg_id, worker, now, message_number, request, batch)
        worker.assignments[msg_id] = assignment
        is_hedge = request.assignment is not None
        if is_hedge:
            request.hedge = assignment
        else:
            request.assignment = assignment
        worker.occupy(msg_id, request.command.name)
        if len(request.call.data) >= KEPT_SIZE_BYTES_MIN:
            self._kept_data.assigned(request, assignment)
        if self.steps is not None:
            self.steps.assigned(request, assignment, is_hedge=is_hedge)
        if attempt is not None:
            self._begin(request, attempt, assignment)
        return None

    def send_reserved(self, request: Request, reserved: Assignment, now: float) -> None:
        """Send an assignment that has only taken a slot. If it cannot be carried to this worker, a slot is reserved at
        one that reads it, or else the request fails."""
        worker = reserved.worker
        try:
            message_number = worker.port.assign(reserved.msg_id, request, request.timeout_s)
        except (errors.NotRepresentable, errors.TooLarge) as error:
            self.unreserve(request)
            other = self._reader(request, worker)
            if other is not None:
                self.send(request, other, request.timeout_s, now)
            else:
                self._ending.fail(request, failure_of(error), now)
            self.fill(worker, now)
            return
        reserved.message_number = message_number
        reserved.assigned_at = now
        reserved.batch = Batch(request.command, self.turn)
        self._deadlines.move(request, now + request.timeout_s)

    def unreserve(self, request: Request) -> Worker | None:
        """Take a request back from the worker at which it has only reserved a slot. Returns the worker, which has a
        free slot instead; None if there is none."""
        reserved = request.assignment
        if reserved is None or not reserved.is_unsent:
            return None
        worker = reserved.worker
        del worker.assignments[reserved.msg_id]
        worker.release(reserved.msg_id)
        request.assignment = reserved.request = None
        if self.steps is not None:
            self.steps.unassigned(request, reserved, errors.NOT_DELIVERED)
        return worker

    def adopt(self, request: Request, worker: Worker, msg_id: str, now: float) -> Worker | None:
        """Enter a request that `worker` already has in the books, even if there is no free slot for it. Returns the
        worker that has had it over an older connection, and now has a free slot instead."""
        before = request.assignment
        if before is not None:
            assert before.msg_id == msg_id, "a claim is of the latest assignment"
            del before.worker.assignments[msg_id]
            before.worker.release(msg_id)
            before.request = request.stream = None
            if self.steps is not None:
                self.steps.unassigned(request, before, errors.WorkerLost.code)
        batch = Batch(request.command, self.turn)
        assignment = Assignment(msg_id, worker, now, ADOPTED, request, batch)
        request.assignment = worker.assignments[msg_id] = assignment
        worker.occupy(msg_id, request.command.name)
        if self.steps is not None:
            self.steps.assigned(request, assignment, is_hedge=False)
        return None if before is None else before.worker

    def _begin(self, request: Request, attempt: Attempt, assignment: Assignment) -> None:
        """An attempt was sent to a worker: its time begins. Or it has reserved a slot there."""
        if not attempt.reserves:
            self._deadlines.move(request, assignment.assigned_at + attempt.timeout_s)
        request.requester.port.assigned(
            request.call.request_id, assignment.worker.worker_id, assignment.msg_id
        )

    def line_up(self, request: Request, now: float) -> None:
        """Queue a request until a slot is free; fail it if no worker serves it or there is no room for it."""
        if request.route.pool is None and not self._gathering.holds(request):
            self.fail_for_lack(request, now=now)
        elif (failure := self._room.make_for(request, now)) is not None:
            self._ending.fail(request, failure, now)
        else:
            self.wait(request, now)

    def fail_for_lack(self, *requests: Request, now: float) -> None:
        """Fail requests of one route that no worker can take, all for the same reason."""
        if requests:
            text = self._lack.text(requests[0].requester, requests[0].call, now)
            failure = Failure(errors.NoAvailableWorkers.code, text)
            for request in requests:
                self._ending.fail(request, failure, now)

    def wait(self, request: Request, now: float, *, is_first: bool = False) -> None:
        """Queue a request; with `is_first`, ahead of its requester's other requests of its priority class."""
        if request.kept_size_bytes:
            self._kept_data.ended(request)
        self._queue.add(request, now, is_first=is_first)
        if self.steps is not None:
            self.steps.waits(request)

    def _reader(self, request: Request, refused: Worker) -> Worker | None:
        """Another worker, with a free slot and the request's own encoding."""
        encoding = request.requester.port.encoding
        pool = request.route.pool
        if pool is None or refused.port.encoding is encoding:
            return None
        return pool.pick_reading(encoding, request.call.affinity)

    # --- what the roster reports ------------------------------------------------------------------------------------

    def fill(self, worker: Worker, now: float) -> None:
        """Fill the free slots of an eligible worker with requests that wait for its commands."""
        queue = self._queue
        if not worker.pools and worker.changes is None:
            return
        while queue.count and worker.in_flight_count < worker.capacity:
            request = queue.take_for(worker, now)
            if request is None:
                return
            if request.deadline <= now:
                self._ending.fail(request, TIMEOUT, now)
            else:
                self.place(request, worker, request.remaining_s(now), now)

    def strand(self, route: Route, now: float) -> None:
        """No worker is left on a route: fail the requests that wait on it, except those that wait for the first ones
        to come back."""
        lines = [line for share in route.waiting.shares() for line in share.lines()]
        waiting = [request for line in lines for request in line]
        self.fail_for_lack(*(request for request in waiting if not self._gathering.holds(request)), now=now)

    def strand_all(self, now: float) -> None:
        """Nothing waits any longer for workers that have not come back."""
        for route in tuple(self._queue.routes):
            if route.pool is None:
                self.strand(route, now)

    # --- canaries and turns ------------------------------------------------------------------------------------------

    def send_canary(self, worker: Worker, command: str, timeout_s: float, now: float) -> str:
        """Send a canary to a worker with a free slot. Returns its msg_id."""
        self._msg_count += 1
        msg_id = str(self._msg_count)
        message_number = worker.port.canary(msg_id, command, timeout_s)
        worker.assignments[msg_id] = Assignment(msg_id, worker, now, message_number, None, None)
        worker.occupy(msg_id, command)
        return msg_id

    def end_turn(self, began_at: float, now: float) -> None:
        """The turn that began at `began_at` is over: everything sent to the ports has been written."""
        self.turn.end(began_at, now)
        self._kept_data.end_turn()
        self.turn = Turn()
