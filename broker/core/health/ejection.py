"""When a worker has failed so much that it is given nothing for a while, and how it comes back.

Two rules condemn: failures in a row that chance does not bring (below), and success rates far under those of its peers
(outliers.py). Both compare it with the others that serve the same command: an error that all workers share ejects
nobody. Sources: Finagle's failure accrual (five in a row, probation by single requests), Envoy's outlier detection
(ejection times, share, slow start).
"""

from math import log
from typing import Final

from ..fleet.command import Command
from ..fleet.roster import Roster
from ..fleet.worker import ALWAYS, TRUSTED, Worker, WorkerEvent, WorkerState
from ..ports import Observer

FAILURES_COUNT_MIN: Final = 5
"""In a row, before a worker is looked at: Finagle's and Envoy's default."""

IMPROBABILITY: Final = 20.0
"""A streak condemns when chance would bring it once in e^20, half a billion, at the rate at which its peers fail. So
five failures do where peers fail at 1 %, and thirty where they fail at 50 %."""

FAILURE_SHARE_MIN: Final = 0.01
"""What peers are taken to fail at least: five in a row are then too many, and fewer never are."""

EJECTION_S: Final = 30.0
EJECTION_S_MAX: Final = 300.0
"""The first ejection, and what it grows to, by 30 s each time. Source: Envoy's base_ejection_time and
max_ejection_time."""

FORGIVENESS_S: Final = 300.0
"""An ejection is forgotten after this long without another."""

SLOW_START_S: Final = 10.0
SLOW_START_SHARE_MIN: Final = 0.1
"""After an ejection a worker's weight grows from a tenth to the whole over this time, in a straight line. Source:
Envoy's slow_start_config: aggression 1, min_weight_percent 10."""


class Ejections:
    """The workers that are ejected, and those that come back. `counts` of ejections by cause: `failures`, `outlier`,
    `canary`, `probe`."""

    __slots__ = ("_eased_since", "_ejected", "_observer", "_roster", "counts", "readmitted_count")

    def __init__(self, roster: Roster, observer: Observer) -> None:
        self._roster = roster
        self._observer = observer
        self._ejected: dict[Worker, None] = {}
        self._eased_since: dict[Worker, float] = {}
        self.counts = dict.fromkeys(("failures", "outlier", "canary", "probe"), 0)
        self.readmitted_count = 0

    # --- what happens to a worker -----------------------------------------------------------------------------------

    def failed(self, worker: Worker, command: Command, what: str, now: float) -> None:
        """A worker is to blame for the failure of an assignment."""
        worker.commands[command].failed_count += 1
        worker.record.failures_count += 1
        worker.learn_at = ALWAYS
        count = worker.record.failures_count
        if worker.state is WorkerState.PROBING:
            self.eject(worker, "probe", "failed its probe", now, what)
        elif is_doubling(count) and worker.state in TRUSTED and is_improbable(count, worker, command):
            self.eject(worker, "failures", f"{count} failures in a row", now, what)

    def succeeded(self, worker: Worker, now: float) -> None:
        """The first success after failures, or doubts. That of an ejected worker counts for nothing: it had the work
        before, or in a panic, and will be probed."""
        before = worker.state
        if before is WorkerState.EJECTED:
            return
        worker.record.failures_count = 0
        if self._roster.move(worker, WorkerEvent.PROBE_SUCCEEDED):
            self._ease(worker, now)
            self.readmitted_count += 1
            worker.record.trusted_since = now
            worker.record.ejected_until = 0.0
            self._observer.worker_moved(worker, before)
        elif self._roster.move(worker, WorkerEvent.CLEARED):
            self._observer.worker_moved(worker, before)

    def eject(self, worker: Worker, cause: str, verdict: str, now: float, words: str = "") -> bool:
        """Give `worker` nothing for a while; `words` are those of the last failure. False where too many are ejected
        already."""
        before = worker.state
        is_back = before in (WorkerState.PROBING, WorkerState.JOINING)
        if not is_back and not all(
            pool.may_eject for pool in worker.memberships if pool.routes[0].target is None
        ):
            return False
        record = worker.record
        forgiven_count = int((now - record.trusted_since) / FORGIVENESS_S)
        record.ejections_count = max(0, record.ejections_count - forgiven_count) + 1
        record.trusted_since = now
        record.failures_count = 1  # these are paid for; not none, so that its next success is noticed
        worker.learn_at = ALWAYS
        record.ejected_until = now + min(EJECTION_S * record.ejections_count, EJECTION_S_MAX)
        self.counts[cause] += 1
        self._hold(worker, verdict, words)
        self._observer.worker_moved(worker, before)
        return True

    def joined(self, worker: Worker, now: float) -> None:
        """A worker is back whose record says that it was ejected and not yet readmitted, or lost once too often."""
        record = worker.record
        if record.ejected_until:  # where that is over, the next look has it probed
            self._hold(worker, "ejected before it reconnected")
        elif record.failures_count >= FAILURES_COUNT_MIN:
            self.eject(
                worker,
                "failures",
                f"{record.failures_count} failures in a row, lost connections among them",
                now,
            )

    def lost(self, worker: Worker, now: float) -> None:
        """The link of a worker broke while it held assignments that it may have run."""
        worker.record.failures_count += 1
        if worker.state is WorkerState.PROBING:
            self.eject(worker, "probe", "was lost while it was probed", now)

    def left(self, worker: Worker) -> None:
        """A worker has gone, or drains."""
        self._ejected.pop(worker, None)
        if self._eased_since.pop(worker, None) is not None:
            self._weigh(worker, 1.0)  # one that is resumed must not stay at a part of its weight for ever

    # --- time -------------------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """End ejections that are over, and ease in those that are back."""
        for worker in tuple(self._ejected):
            if worker.record.ejected_until <= now:
                del self._ejected[worker]
                before = worker.state
                self._roster.move(
                    worker, WorkerEvent.EJECTION_OVER, "one assignment shall show whether it is well"
                )
                self._observer.worker_moved(worker, before)
        for worker, since in tuple(self._eased_since.items()):
            share = max(SLOW_START_SHARE_MIN, min(1.0, (now - since) / SLOW_START_S))
            self._weigh(worker, share)
            if share == 1.0:
                del self._eased_since[worker]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _hold(self, worker: Worker, verdict: str, words: str = "") -> None:
        self._eased_since.pop(worker, None)
        self._weigh(worker, 1.0)
        self._roster.move(worker, WorkerEvent.CONDEMNED, verdict, words)
        self._ejected[worker] = None

    def _ease(self, worker: Worker, now: float) -> None:
        self._eased_since[worker] = now
        self._weigh(worker, SLOW_START_SHARE_MIN)

    def _weigh(self, worker: Worker, share: float) -> None:
        weight = worker.declared_weight * share
        if worker.weight != weight:
            worker.weight = weight
            self._roster.changed(worker)


def is_doubling(failures_count: int) -> bool:
    """At 5, 10, 20, 40 ... failures a worker is compared with its peers. To ask them all at every failure of a command
    that always fails would be dear."""
    times, rest = divmod(failures_count, FAILURES_COUNT_MIN)
    return rest == 0 and times.bit_count() == 1


def is_improbable(failures_count: int, worker: Worker, command: Command) -> bool:
    """Whether chance would hardly bring so many failures in a row, at the rate at which the peers of `worker` fail."""
    pool = command.route.pool
    assert pool is not None, "worker serves it"
    peers = [peer for peer in pool.members if peer is not worker and peer.state is WorkerState.HEALTHY]
    if not peers:
        return False
    shares = [share for peer in peers if (share := peer.commands[command].failure_share()) is not None]
    share = sum(shares) / len(shares) if shares else 0.0
    return failures_count * -log(max(FAILURE_SHARE_MIN, share)) >= IMPROBABILITY
