"""The jobs in memory that share a command and a `unique` key.

There may be thousands that have started, so none of them is looked at twice: a job that has ended, or has started, is
dropped from where it no longer belongs the first time that it is met there.
"""

from ...protocol.job_messages import Unique
from .job import Job, state_of
from .rows import StoredJob
from .states import OPEN


class Namesakes:
    """`open`, `unstarted`: those that are open, and of these the ones without an attempt, in the order in which they
    came to memory or were opened again; some may have moved on. `latest`: of all, the one with the latest
    `submitted_at`."""

    __slots__ = ("latest", "open", "unstarted")

    def __init__(self) -> None:
        self.open: dict[Job, None] = {}
        self.unstarted: dict[Job, None] = {}
        self.latest: Job | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing need be remembered of them."""
        return self.latest is None and not self.open and not self.unstarted

    def add(self, job: Job) -> None:
        """It is in memory now, or open again, or back where it has not started."""
        if job.is_open:
            self.open[job] = None
            if not job.attempt:
                self.unstarted[job] = None
        latest = self.latest
        if latest is None or latest.is_removed or latest.new.submitted_at <= job.new.submitted_at:
            self.latest = job

    def discard(self, job: Job) -> None:
        """It is on disk only, or nowhere. If it was the latest, those that were submitted before it are on disk as
        well, or went with it."""
        self.open.pop(job, None)
        self.unstarted.pop(job, None)
        if self.latest is job:
            self.latest = None

    def rival(self, terms: Unique) -> Job | None:
        """The newest that is open, or has not started, as `terms` want it; None if none is."""
        members = self.open if terms.until == "ended" else self.unstarted
        while members:
            job = next(reversed(members))
            if stands(job, terms):
                return job
            del members[job]
        return None

    def rivals(self, terms: Unique) -> list[Job]:
        """All of these."""
        members = self.open if terms.until == "ended" else self.unstarted
        for job in tuple(members):
            if not stands(job, terms):
                del members[job]
        return list(members)


def stands(found: Job | StoredJob, terms: Unique) -> bool:
    """It is open, or has not started, as `terms` want it."""
    if state_of(found) not in OPEN:
        return False
    return terms.until == "ended" or not (found.attempt if isinstance(found, Job) else found.change.attempt)
