"""Jobs with a `unique` key: at most one of a command and key is open, or not started yet, or submitted of late.

What a second submission wants decides: how long the first one blocks it, and what happens then.
"""

from ...protocol import errors
from ...protocol.job_messages import Submit
from ...protocol.job_messages import Unique as Terms
from ..core.failure import Failure
from .job import Job, state_of
from .lives import Lives
from .memory import Memory
from .rows import StoredJob
from .states import OPEN
from .submission import Submission


class Unique:
    """Decides on submissions with a `unique` key."""

    __slots__ = ("_lives", "_memory")

    def __init__(self, memory: Memory, lives: Lives) -> None:
        self._memory = memory
        self._lives = lives

    def key_of(self, message: Submit) -> tuple[str, str] | None:
        """Its command and key; None if it need not be unique."""
        unique = message.unique
        if unique is None:
            return None
        return message.command, unique if isinstance(unique, str) else unique.key

    def since(self, message: Submit, now: float) -> float:
        """A job that was submitted since then blocks it even if it has ended."""
        return now - _terms(message).seconds

    def decide(
        self, submission: Submission, stored: list[StoredJob], now: float
    ) -> Job | StoredJob | Failure | None:
        """What becomes of a submission if the journal has these jobs of its command and key: None: it is accepted; a
        job: it is that one already; or why it is refused. One to be replaced is cancelled here."""
        message = submission.message
        terms, since = _terms(message), self.since(message, now)
        key = self.key_of(message)
        assert key is not None
        by_id = self._memory.by_id
        latest = self._memory.by_unique.get(key)
        known: list[Job | StoredJob] = [] if latest is None else [latest]
        known += [by_id.get(job.new.job_id, job) for job in stored]
        found = next((job for job in known if self._blocks(job, terms, since)), None)
        if found is None:
            return None
        new = found.new
        if new.owner != submission.owner and not submission.sees_all:
            text = f"unique: a job of another identity has the key {terms.key!r}"
            return Failure(errors.NotUnique.code, text)
        if terms.conflict == "existing":
            return found
        if terms.conflict == "reject":
            return Failure(errors.NotUnique.code, f"unique: the job {new.job_id} has the key {terms.key!r}")
        if state_of(found) in OPEN:
            job = found if isinstance(found, Job) else self._memory.take(found)
            self._lives.cancel(job, now)
        return None

    def bars_retry(self, job: Job, stored: list[StoredJob]) -> Failure | None:
        """Why an ended job may not be tried again, if the journal has these jobs of its command and key: another one
        has its place. For how many seconds they were to be unique does not matter: nothing is submitted."""
        terms = job.terms.unique
        if terms is None:
            return None
        key = job.lane.command, terms.key
        latest = self._memory.by_unique.get(key)
        known: list[Job | StoredJob] = [] if latest is None else [latest]
        known += [
            self._memory.by_id.get(row.new.job_id, row)
            for row in stored
            if (self._memory.lane_of(row).command, row.new.unique_key) == key
        ]
        for found in known:
            if found is not job and _stands(found, terms):
                text = f"unique: the job {found.new.job_id} has the key {terms.key!r}"
                return Failure(errors.NotUnique.code, text)
        return None

    def _blocks(self, found: Job | StoredJob, terms: Terms, since: float) -> bool:
        """Whether `found` stands in the way of another job with its key."""
        if terms.seconds > 0 and found.new.submitted_at >= since:
            return True
        return _stands(found, terms)


def _stands(found: Job | StoredJob, terms: Terms) -> bool:
    """It is open, or has not started, as `terms` want it."""
    return state_of(found) in OPEN and (terms.until == "ended" or not _has_started(found))


def _terms(message: Submit) -> Terms:
    unique = message.unique
    assert unique is not None
    return Terms(unique) if isinstance(unique, str) else unique


def _has_started(found: Job | StoredJob) -> bool:
    """A worker has, or had, an attempt of it."""
    return (found.attempt if isinstance(found, Job) else found.change.attempt) > 0
