"""Jobs that wait for others to be done."""

from ..core.failure import Failure
from .job import Job
from .ports import Opened
from .rows import StoredJob
from .submission import Submission


class After:
    """Not there yet: no job waits."""

    __slots__ = ()

    def check(self, submission: Submission, found: dict[str, Job | StoredJob]) -> Failure | list[int]:
        """The seqs of the jobs that it has to wait for."""
        del submission, found
        return []

    def added(self, job: Job, seqs: list[int], now: float) -> None:
        """`job` was accepted, and waits for these."""

    def end_written(self, job: Job, now: float) -> None:
        """The end of `job` is on disk."""

    def retried(self, job: Job, now: float) -> bool:
        """`job` is tried again by hand. True: it is held until it is known that it need not wait."""
        del job, now
        return False

    def opened(self, opened: Opened) -> None:
        """What the journal has."""
