"""Connections that want to hear of each step of jobs, for as long as they last."""

from typing import Final

from ...protocol import errors
from ..core.failure import Failure
from .ports import Submitter

FOLLOWED_COUNT_MAX: Final = 100_000
"""Open jobs that are followed, counted once for each connection: each is an entry in memory."""

FULL: Final = Failure(
    errors.Overloaded.code,
    f"receipts are wanted of {FOLLOWED_COUNT_MAX} open jobs (FOLLOWED_COUNT_MAX)",
    None,
    errors.NOT_DELIVERED,
)


class Followers:
    """By seq of the job, and by connection. `count`: of all pairs."""

    __slots__ = ("_by_asker", "_by_seq", "count")

    def __init__(self) -> None:
        self._by_seq: dict[int, dict[Submitter, None]] = {}
        self._by_asker: dict[Submitter, dict[int, None]] = {}
        self.count = 0

    @property
    def is_full(self) -> bool:
        """No more can be followed."""
        return self.count >= FOLLOWED_COUNT_MAX

    def add(self, seq: int, asker: Submitter) -> None:
        """`asker` has submitted this job, or asked about it, with `receipts`."""
        if asker.has_left:  # while the journal was asked
            return
        askers = self._by_seq.setdefault(seq, {})
        if asker not in askers:
            askers[asker] = None
            self._by_asker.setdefault(asker, {})[seq] = None
            self.count += 1

    def has(self, seq: int) -> bool:
        """Somebody follows this job."""
        return seq in self._by_seq

    def of(self, seq: int) -> tuple[Submitter, ...]:
        """Those that follow this job."""
        return tuple(self._by_seq.get(seq, ()))

    def remove(self, seq: int) -> None:
        """The job has ended, or was never accepted."""
        for asker in self._by_seq.pop(seq, {}):
            self.count -= 1
            seqs = self._by_asker[asker]
            del seqs[seq]
            if not seqs:
                del self._by_asker[asker]

    def asker_left(self, asker: Submitter) -> None:
        """A connection has closed."""
        for seq in self._by_asker.pop(asker, {}):
            self.count -= 1
            askers = self._by_seq[seq]
            del askers[asker]
            if not askers:
                del self._by_seq[seq]
