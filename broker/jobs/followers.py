"""Connections that want to hear of each step of jobs that they have submitted, for as long as they last."""

from .ports import Submitter


class Followers:
    """By seq of the job, and by connection."""

    __slots__ = ("_by_asker", "_by_seq")

    def __init__(self) -> None:
        self._by_seq: dict[int, Submitter] = {}
        self._by_asker: dict[Submitter, dict[int, None]] = {}

    @property
    def count(self) -> int:
        """Jobs that are followed."""
        return len(self._by_seq)

    def add(self, seq: int, asker: Submitter) -> None:
        """`asker` has submitted this job with `receipts`."""
        self._by_seq[seq] = asker
        self._by_asker.setdefault(asker, {})[seq] = None

    def of(self, seq: int) -> Submitter | None:
        """Who follows this job."""
        return self._by_seq.get(seq)

    def remove(self, seq: int) -> None:
        """The job has ended, or was never accepted."""
        asker = self._by_seq.pop(seq, None)
        if asker is not None:
            seqs = self._by_asker[asker]
            del seqs[seq]
            if not seqs:
                del self._by_asker[asker]

    def asker_left(self, asker: Submitter) -> None:
        """A connection has closed."""
        for seq in self._by_asker.pop(asker, {}):
            del self._by_seq[seq]
