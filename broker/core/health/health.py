"""Assesses the health of each worker, from all signs, and acts on it.

The signs are results (ejection.py, outliers.py), a silent link, the canary (canary.py) and durations (speed.py). The
roster keeps the states, by the table in worker.py.
"""

from collections.abc import Sequence
from math import exp, inf
from typing import Final

from ....loadbalance.registry import BLIND_TO_AFFINITY
from ....protocol.errors import REQUESTER_CODES, WorkerStopping
from ..fleet.command import Command
from ..fleet.roster import Roster
from ..fleet.worker import ALWAYS, Worker, WorkerEvent, WorkerState
from ..request import Request
from .canary import CANARY_TIMEOUT_S, Canaries
from .ejection import Ejections
from .outliers import INTERVAL_S, outliers
from .speed import LEARN_INTERVAL_S, Speeds

COMPARED_COUNT_MAX: Final = 1000
"""Workers whose rates are compared in one check, or all of one command if it has more; the rest follows in the next
checks, so that a check takes less than a millisecond."""


HELD_SHARE_MIN: Final = 0.5
"""The share of a request's timeout for which a worker must have held it, for the timeout to count as that worker's
failure. A request that has waited in the broker for most of its time says nothing about the worker that got it."""

FARES_S: Final = 300.0
"""How long a requester's success at another worker speaks for what it sends: it need not send more than some requests a
minute."""

NEUTRAL_CODES: Final = REQUESTER_CODES | {WorkerStopping.code}
"""Failures that say nothing about the worker: its requester caused them, or it stops in an orderly way."""

DRAINED: Final = "drained by an operator"


class Health:
    """Gets every sign as a call; `look` is the periodic check."""

    __slots__ = ("_compare_at", "_roster", "_uncompared", "canaries", "ejections", "paused_at", "speeds")

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self.ejections = Ejections(roster)
        self.canaries = Canaries()
        self.speeds = Speeds()
        self._compare_at = 0.0
        self._uncompared: list[Command] = []
        self.paused_at = -inf
        """The end of the broker's last pause. If an assignment from before it is lost, or not answered in time, its
        worker is not to blame."""

    # --- what happens to a worker -----------------------------------------------------------------------------------

    def joined(self, worker: Worker, now: float) -> None:
        """A worker has been added to the roster."""
        if worker.record.is_drained:
            self._roster.move(worker, WorkerEvent.LEAVING, now, DRAINED)
        else:
            self._enter(worker, now)

    def resumed(self, worker: Worker, now: float) -> None:
        """The drain of a worker, which is draining, is undone."""
        self._roster.move(worker, WorkerEvent.RESUMED, now)
        self._enter(worker, now)

    def _enter(self, worker: Worker, now: float) -> None:
        """Decide the state of a joining worker by its record, before it gets any assignment."""
        if worker.canary is not None:
            self.canaries.workers[worker] = None
        if self.ejections.returns(worker, now):
            return
        if worker.is_proven:
            self._roster.move(worker, WorkerEvent.READY, now)
        else:
            worker.reason = "its first canary is not answered yet"

    def drained(self, worker: Worker) -> None:
        """A worker is drained, or has left. What was learned about its speed fades meanwhile."""
        self.ejections.left(worker)
        self.canaries.workers.pop(worker, None)

    def succeeded(self, worker: Worker, request: Request, duration_s: float, now: float) -> None:
        """A worker has succeeded, after `duration_s`. Call this only if `now` is at or after its `learn_at`."""
        command = request.command
        worker.learn_at = now + LEARN_INTERVAL_S
        if worker.record.streak.count:
            self.ejections.succeeded(worker, now)
        if not is_steered(request):
            request.requester.account.fares.succeeded(command.name, worker.worker_id, now)
        if self.speeds.learn(worker, command, duration_s, now):
            worker.reposition()

    def failed(
        self, worker: Worker, request: Request, code: str, words: str, now: float, *, is_deliberate: bool
    ) -> None:
        """A worker's handler has failed, with this code and text. `is_deliberate`: it has decided so."""
        if is_deliberate or code in NEUTRAL_CODES:
            worker.commands[request.command].neutral_count += 1
        else:
            self.ejections.failed(worker, request.command, words, doubt_of(request, worker, now), now)

    def expired(self, request: Request, now: float) -> None:
        """A request has timed out: its workers have failed, unless most of the time had passed before they got it, or
        no worker could have done it in the time that they had."""
        command = request.command
        usual_s = 0.0 if command.log_duration_s is None else exp(command.log_duration_s)
        held_s_min = max(HELD_SHARE_MIN * request.timeout_s, usual_s)
        for assignment in (request.assignment, request.hedge):
            if assignment is None or assignment.assigned_at <= self.paused_at:
                continue
            if now - assignment.assigned_at >= held_s_min:
                doubt = doubt_of(request, assignment.worker, now)
                self.ejections.failed(assignment.worker, command, "no answer in time", doubt, now)

    def lost(self, worker: Worker, unanswered: Sequence[Request], now: float) -> None:
        """A worker's link has closed. It may have started each of the requests `unanswered`."""
        doubts = {doubt_of(request, worker, now) for request in unanswered}
        if doubts:
            self.ejections.lost(worker, next(iter(doubts)) if len(doubts) == 1 else None, now)
        for request in unanswered:
            worker.commands[request.command].failed_count += 1
        self.drained(worker)
        self.speeds.forget(worker)

    def silent(self, worker: Worker, now: float) -> None:
        """Nothing has been received over its link for too long."""
        self._roster.move(worker, WorkerEvent.DOUBTED, now, "its link is silent")

    def heard(self, worker: Worker, now: float) -> None:
        """Something has been received after a silence."""
        self._roster.move(worker, WorkerEvent.CLEARED, now)

    def canary_ended(self, worker: Worker, *, is_success: bool, now: float) -> None:
        """The worker has answered its canary."""
        self.canaries.answered(worker, now)
        worker.is_proven |= is_success
        if not is_success:
            self._canary_failed(worker, "failed its canary", now)
        elif worker.state is WorkerState.JOINING:
            self._roster.move(worker, WorkerEvent.READY, now)
        else:
            self.ejections.succeeded(worker, now)

    # --- time -------------------------------------------------------------------------------------------------------

    def paused(self, now: float, read_at: float) -> None:
        """The broker has stood still until `now`. What workers have sent meanwhile is read by `read_at`, and says
        nothing about how fast they are."""
        self.paused_at = now
        for worker in self._roster.workers.values():
            worker.canary_due_at = max(worker.canary_due_at, read_at)
            worker.learn_at = read_at

    def look(self, now: float) -> None:
        """The periodic check."""
        self.ejections.look(now)
        for worker in self.speeds.fade(now):
            worker.reposition()
        for worker in self.canaries.overdue(now):
            self._canary_failed(worker, f"no answer to its canary for {CANARY_TIMEOUT_S:g} s", now)
        if not self._uncompared and now >= self._compare_at:
            self._compare_at = now + INTERVAL_S
            self._uncompared = list(self._roster.commands.values())
        compared_count = 0
        while self._uncompared and compared_count < COMPARED_COUNT_MAX:
            command = self._uncompared.pop()
            count = 0 if command.route.pool is None else len(command.route.pool.members)
            compared_count += count + 1
            for worker, rate, mean in outliers(command):
                reason = f"{rate:.1%} of {command.name} succeeded, {mean:.1%} elsewhere"
                self.ejections.eject(worker, "outlier", reason, now)

    def _canary_failed(self, worker: Worker, reason: str, now: float) -> None:
        worker.record.streak.count = max(1, worker.record.streak.count)
        worker.learn_at = ALWAYS
        worker.canary_due_at = now + CANARY_TIMEOUT_S
        match worker.state:
            case WorkerState.HEALTHY:
                self._roster.move(worker, WorkerEvent.DOUBTED, now, reason)
            case WorkerState.PROBING:
                self.ejections.eject(worker, "probe", reason, now)
            case WorkerState.JOINING | WorkerState.SUSPECT:
                self.ejections.eject(worker, "canary", reason, now)


def is_steered(request: Request) -> bool:
    """Its requester has a say in which worker gets it."""
    call = request.call
    if call.target is not None:
        return True
    return call.affinity is not None and request.command.strategy not in BLIND_TO_AFFINITY


def doubt_of(request: Request, worker: Worker, now: float) -> str | None:
    """The account of a request that has failed at `worker`, if perhaps only its requester is to blame: it has a say in
    who gets its requests, or does not succeed elsewhere. None if that speaks against the worker."""
    account = request.requester.account
    elsewhere_at = account.fares.elsewhere_at(request.command.name, worker.worker_id)
    return account.name if is_steered(request) or elsewhere_at < now - FARES_S else None
