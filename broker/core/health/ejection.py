"""When a worker has failed so often that it gets no assignments for a while, and how it is readmitted.

Two rules judge results: too many failures in a row to be chance (below), and a success rate far below that of the peers
(outliers.py). Both compare a worker with the others that serve the same command, so an error that all workers share
ejects none. Neither believes a single requester alone (streak.py). A failed probe ejects again, and canaries can eject
(health.py). Sources: Finagle's failure accrual (five in a row, probation by single requests), Envoy's outlier detection
(ejection times, share, slow start).
"""

from math import log
from typing import Final

from ..fleet.command import Command
from ..fleet.roster import Roster
from ..fleet.worker import ALWAYS, TRUSTED, Worker, WorkerEvent, WorkerState
from .streak import FAILURES_COUNT_MIN

IMPROBABILITY: Final = 20.0
"""A streak ejects if, at the rate at which the peers fail, its probability is at most e^-20, one in half a billion. So
five failures suffice if peers fail at 1 %, and thirty if they fail at 50 %."""

SHARED_COUNT_MIN: Final = 3
"""From so many failures in a row on, a peer counts as failing now, however well it did before: an error that begins at
all workers in the same moment finds each with a good past."""

FAILURE_SHARE_MIN: Final = 0.01
"""The lowest share of failures that peers are assumed to have: then five in a row are too many, and fewer never are."""

EJECTION_S: Final = 30.0
EJECTION_S_MAX: Final = 300.0
"""The length of the first ejection, and the longest; each is 30 s longer than the last. Source: Envoy's
base_ejection_time and max_ejection_time."""

FORGIVENESS_S: Final = 300.0
"""One ejection is forgotten for each time this long without another."""

SLOW_START_S: Final = 10.0
SLOW_START_SHARE_MIN: Final = 0.1
"""After an ejection a worker's weight grows linearly from a tenth to all of it over this time. Source:
Envoy's slow_start_config: aggression 1, min_weight_percent 10."""


class Ejections:
    """The workers that are ejected, and those in slow start. `counts` are those of ejections by cause: `failures`,
    `outlier`, `canary`, `probe`."""

    __slots__ = ("_eased_since", "_ejected", "_roster", "counts", "readmitted_count")

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._ejected: dict[Worker, None] = {}
        self._eased_since: dict[Worker, float] = {}
        self.counts = dict.fromkeys(("failures", "outlier", "canary", "probe"), 0)
        self.readmitted_count = 0

    # --- what happens to a worker -----------------------------------------------------------------------------------

    def failed(self, worker: Worker, command: Command, what: str, doubt: str | None, now: float) -> None:
        """An assignment has failed, and its worker is to blame, or perhaps only the account `doubt`."""
        tally, streak = worker.commands[command], worker.record.streak
        tally.failed_count += 1
        tally.doubted_count += doubt is not None
        streak.fail(doubt)
        worker.learn_at = ALWAYS
        is_to_judge = streak.is_to_judge()
        if worker.state is WorkerState.PROBING:
            if is_to_judge or doubt is None:
                self.eject(worker, "probe", "failed its probe", now, what)
        elif is_to_judge and worker.state in TRUSTED and is_improbable(streak.weight, worker, command):
            self.eject(worker, "failures", f"{streak.count} failures in a row", now, what)

    def succeeded(self, worker: Worker, now: float) -> None:
        """A worker has succeeded for the first time after failures, or while it was suspect. The success of an ejected
        worker does not count: it got the assignment before its ejection, or in a panic, and will be probed."""
        if worker.state is WorkerState.EJECTED:
            return
        worker.record.streak.settle(0)
        if worker.state is WorkerState.PROBING:
            self._ease(worker, now)
            self.readmitted_count += 1
            worker.record.trusted_since = now
            worker.record.ejected_until = 0.0
            self._roster.move(worker, WorkerEvent.PROBE_SUCCEEDED, now)
        else:
            self._roster.move(worker, WorkerEvent.CLEARED, now)

    def eject(self, worker: Worker, cause: str, verdict: str, now: float, words: str = "") -> None:
        """Give `worker` nothing for a while, unless too many are already ejected; `words` are the text of the last
        failure."""
        is_back = worker.state in (WorkerState.PROBING, WorkerState.JOINING)
        if not is_back and not may_eject(worker):
            return
        record = worker.record
        forgiven_count = int((now - record.trusted_since) / FORGIVENESS_S)
        record.ejections_count = max(0, record.ejections_count - forgiven_count) + 1
        record.trusted_since = now
        record.streak.settle(1)  # the ejection settles them; not 0, so that the next success is noticed
        worker.learn_at = ALWAYS
        record.ejected_until = now + min(EJECTION_S * record.ejections_count, EJECTION_S_MAX)
        self.counts[cause] += 1
        self._hold(worker, verdict, now, words)

    def returns(self, worker: Worker, now: float) -> bool:
        """A worker is back, and has no assignments yet. True if it is ejected: according to its record it was ejected
        and not yet readmitted, or has failed too often."""
        record = worker.record
        if record.ejected_until:  # if that is over, the next check starts the probe
            self._hold(worker, "ejected before it reconnected", now)
            return True
        streak = record.streak
        if streak.weight < FAILURES_COUNT_MIN or (worker.canary is None and not may_eject(worker)):
            return False
        self.eject(worker, "failures", f"{streak.count} failures in a row, lost connections among them", now)
        return True

    def lost(self, worker: Worker, doubt: str | None, now: float) -> None:
        """A worker's link broke while it held assignments that it may have run; perhaps through the account `doubt`."""
        worker.record.streak.fail(doubt)
        if worker.state is WorkerState.PROBING and doubt is None:
            self.eject(worker, "probe", "was lost while it was probed", now)

    def left(self, worker: Worker) -> None:
        """A worker has left, or is draining."""
        self._ejected.pop(worker, None)
        if self._eased_since.pop(worker, None) is not None:
            self._weigh(worker, 1.0)  # a resumed worker must not keep a reduced weight

    # --- time -------------------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """End ejections whose time is over, and raise the weight of workers in slow start."""
        for worker in tuple(self._ejected):
            if worker.record.ejected_until <= now:
                del self._ejected[worker]
                self._roster.move(
                    worker, WorkerEvent.EJECTION_OVER, now, "one assignment decides whether it is readmitted"
                )
        for worker, since in tuple(self._eased_since.items()):
            share = max(SLOW_START_SHARE_MIN, min(1.0, (now - since) / SLOW_START_S))
            self._weigh(worker, share)
            if share == 1.0:
                del self._eased_since[worker]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _hold(self, worker: Worker, verdict: str, now: float, words: str = "") -> None:
        self._eased_since.pop(worker, None)
        self._weigh(worker, 1.0)
        self._ejected[worker] = None
        self._roster.move(worker, WorkerEvent.CONDEMNED, now, verdict, words)

    def _ease(self, worker: Worker, now: float) -> None:
        self._eased_since[worker] = now
        self._weigh(worker, SLOW_START_SHARE_MIN)

    def _weigh(self, worker: Worker, share: float) -> None:
        weight = worker.declared_weight * share
        if worker.weight != weight:
            worker.weight = weight
            worker.reposition()


def may_eject(worker: Worker) -> bool:
    """Whether enough other workers that serve its commands would be left."""
    return all(pool.may_eject for pool in worker.memberships() if not pool.is_targeted)


def is_improbable(failures_count: int, worker: Worker, command: Command) -> bool:
    """Whether so many failures in a row are hardly chance, at the rate at which the peers of `worker` fail."""
    pool = command.route.pool
    assert pool is not None, "worker serves it"
    peers = [peer for peer in pool.members if peer is not worker and peer.state is WorkerState.HEALTHY]
    if not peers:
        return False
    shares = [share for peer in peers if (share := _failure_share(peer, command)) is not None]
    share = sum(shares) / len(shares) if shares else 0.0
    return failures_count * -log(max(FAILURE_SHARE_MIN, share)) >= IMPROBABILITY


def _failure_share(peer: Worker, command: Command) -> float | None:
    """The share of its assignments at which a peer fails; None if it has no results."""
    share = peer.commands[command].failure_share()
    count = peer.record.streak.count
    if count < SHARED_COUNT_MIN:
        return share
    return max(share or 0.0, count / (count + FAILURES_COUNT_MIN))
