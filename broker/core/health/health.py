"""What is thought of each worker, and what that changes: the one place where signs of health and illness come together.

Signs are results (ejection.py, outliers.py), a silent link, the canary (canary.py) and durations (speed.py). The roster
keeps the states, by the table in worker.py.
"""

from typing import Final

from ..fleet.command import Command
from ..fleet.roster import Roster
from ..fleet.worker import ALWAYS, Worker, WorkerEvent, WorkerState
from ..ports import Observer
from .canary import CANARY_TIMEOUT_S, Canaries
from .ejection import Ejections
from .outliers import INTERVAL_S, outliers
from .speed import LEARN_INTERVAL_S, Speeds

COMPARED_COUNT_MAX: Final = 1000
"""Workers whose rates are compared at one look, or one command's where these are more: the rest comes at the next ones,
so that a look stays under a millisecond."""


DRAINED: Final = "drained by an operator"


class Health:
    """Told of every sign; asked at the core's looks."""

    __slots__ = ("_compare_at", "_observer", "_roster", "_uncompared", "canaries", "ejections", "speeds")

    def __init__(self, roster: Roster, observer: Observer) -> None:
        self._roster = roster
        self._observer = observer
        self.ejections = Ejections(roster, observer)
        self.canaries = Canaries()
        self.speeds = Speeds()
        self._compare_at = 0.0
        self._uncompared: list[Command] = []

    def joined(self, worker: Worker, now: float) -> None:
        """A worker has been taken into the roster."""
        if worker.record.is_drained:
            self._roster.move(worker, WorkerEvent.LEAVING, DRAINED)
            return
        if worker.canary is None:
            self._roster.move(worker, WorkerEvent.READY)
        else:
            if worker.state is WorkerState.JOINING:
                worker.reason = "its first canary is not back yet"
            self.canaries.workers[worker] = None
        self.ejections.joined(worker, now)

    def drained(self, worker: Worker) -> None:
        """A worker gets nothing more, for now or until it goes. What was learned of its speed fades meanwhile."""
        self.ejections.left(worker)
        self.canaries.workers.pop(worker, None)

    def left(self, worker: Worker) -> None:
        """A worker has gone."""
        self.drained(worker)
        self.speeds.forget(worker)

    def succeeded(self, worker: Worker, command: Command, duration_s: float, now: float) -> None:
        """A worker has succeeded, after `duration_s`. To be told where `now` is at or after its `learn_at`."""
        worker.learn_at = now + LEARN_INTERVAL_S
        if worker.record.failures_count:
            self.ejections.succeeded(worker, now)
        if self.speeds.learn(worker, command, duration_s, now):
            self._roster.changed(worker)

    def silent(self, worker: Worker) -> None:
        """Nothing has come over its link for longer than should be."""
        self._move(worker, WorkerEvent.DOUBTED, "its link is silent")

    def heard(self, worker: Worker) -> None:
        """Something has come after a silence."""
        self._move(worker, WorkerEvent.CLEARED)

    def canary_ended(self, worker: Worker, *, is_success: bool, now: float) -> None:
        """The worker has answered its canary."""
        self.canaries.answered(worker, now)
        if not is_success:
            self._canary_failed(worker, "failed its canary", now)
        elif worker.state is WorkerState.JOINING:
            self._move(worker, WorkerEvent.READY)
        else:
            self.ejections.succeeded(worker, now)

    def look(self, now: float) -> None:
        """Time has passed."""
        self.ejections.look(now)
        for worker in self.speeds.fade(now):
            self._roster.changed(worker)
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
        worker.record.failures_count = max(1, worker.record.failures_count)
        worker.learn_at = ALWAYS
        worker.canary_due_at = now + CANARY_TIMEOUT_S
        match worker.state:
            case WorkerState.HEALTHY:
                self._move(worker, WorkerEvent.DOUBTED, reason)
            case WorkerState.PROBING:
                self.ejections.eject(worker, "probe", reason, now)
            case WorkerState.JOINING | WorkerState.SUSPECT:
                self.ejections.eject(worker, "canary", reason, now)

    def _move(self, worker: Worker, event: WorkerEvent, reason: str = "") -> None:
        before = worker.state
        if self._roster.move(worker, event, reason):
            self._observer.worker_moved(worker, before)
