"""Jobs with a `unique` key: at most one of a command and key is open, or not started yet, or submitted of late.

What a second submission wants decides: how long the first one blocks it, and what happens then. Of many that are open
the journal names the latest. If none of these blocks any more, because they have moved on since, the rest may hide one
that does: then it is asked again.
"""

from typing import Final

from ...protocol import errors
from ...protocol.job_messages import Submit
from ...protocol.job_messages import Unique as Terms
from ..core.failure import Failure
from .job import Job, state_of
from .lives import Lives
from .memory import Memory
from .namesakes import stands
from .ports import UNIQUE_COUNT_MAX
from .rows import StoredJob
from .states import OPEN
from .submission import Submission


class Again:
    """The verdict that the journal has to be asked once more."""

    __slots__ = ()


AGAIN: Final = Again()
NEVER: Final = float("inf")


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
    ) -> Job | StoredJob | Failure | Again | None:
        """What becomes of a submission if the journal has found these jobs of its command and key: None: it is
        accepted; a job: it is that one already; or why it is refused. Those to be replaced are cancelled here."""
        message = submission.message
        terms, since = _terms(message), self.since(message, now)
        key = self.key_of(message)
        assert key is not None
        rivals = self._rivals(key, terms, since, stored)
        for rival in rivals:
            if rival.new.owner != submission.owner and not submission.sees_all:
                text = f"unique: a job of another identity has the key {terms.key!r}"
                return Failure(errors.NotUnique.code, text)
        if rivals and terms.conflict == "existing":
            return rivals[0]
        if rivals and terms.conflict == "reject":
            text = f"unique: the job {rivals[0].new.job_id} has the key {terms.key!r}"
            return Failure(errors.NotUnique.code, text)
        for rival in rivals:
            if state_of(rival) in OPEN:
                self._lives.cancel(rival if isinstance(rival, Job) else self._memory.take(rival), now)
        return self._unless_hidden(key, terms, since, stored)

    def bars_retry(self, job: Job, stored: list[StoredJob]) -> Failure | Again | None:
        """Why a job with a key that has ended may not be tried again, if the journal has found these jobs, perhaps of
        other keys as well: another one has its place. For how many seconds they were to be unique does not matter:
        nothing is submitted."""
        terms = job.terms.unique
        assert terms is not None
        key = job.lane.command, terms.key
        same = [row for row in stored if (self._memory.lane_of(row).command, row.new.unique_key) == key]
        rivals = self._rivals(key, terms, NEVER, same)
        if rivals:
            text = f"unique: the job {rivals[0].new.job_id} has the key {terms.key!r}"
            return Failure(errors.NotUnique.code, text)
        return self._unless_hidden(key, terms, NEVER, same)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _rivals(
        self, key: tuple[str, str], terms: Terms, since: float, stored: list[StoredJob]
    ) -> list[Job | StoredJob]:
        """Those that stand in the way of a job with these terms, the newest first. Of many perhaps not all; but all
        that memory has, if they are to be replaced."""
        by_id, known = self._memory.by_id, dict[int, Job | StoredJob]()
        same = self._memory.by_unique.get(key)
        if same is not None:
            rivals = same.rivals(terms) if terms.conflict == "replace" else [same.rival(terms)]
            for job in (*rivals, same.latest):
                if job is not None:
                    known[job.new.seq] = job
        for row in stored:
            known[row.new.seq] = by_id.get(row.new.job_id, row)
        found = [job for job in known.values() if stands(job, terms) or _is_recent(job, terms, since)]
        found.sort(key=_seq, reverse=True)
        return found

    def _unless_hidden(
        self, key: tuple[str, str], terms: Terms, since: float, stored: list[StoredJob]
    ) -> Again | None:
        """None of those that the journal has found blocks any more: ask again, if it may not have named others that
        do. What has moved on is written before."""
        kinds = [row.change.attempt > 0 for row in stored if row.change.state in OPEN]
        if kinds.count(False) >= UNIQUE_COUNT_MAX or (
            terms.until == "ended" and kinds.count(True) >= UNIQUE_COUNT_MAX
        ):
            self._lives.record_unique(key)
            return AGAIN
        removed = [row for row in stored if _is_removed(self._memory.by_id.get(row.new.job_id, row))]
        if terms.seconds > 0 and any(row.new.submitted_at >= since for row in removed):
            return AGAIN
        return None


def _is_recent(found: Job | StoredJob, terms: Terms, since: float) -> bool:
    return terms.seconds > 0 and found.new.submitted_at >= since and not _is_removed(found)


def _terms(message: Submit) -> Terms:
    unique = message.unique
    assert unique is not None
    return Terms(unique) if isinstance(unique, str) else unique


def _is_removed(found: Job | StoredJob) -> bool:
    return isinstance(found, Job) and found.is_removed


def _seq(found: Job | StoredJob) -> int:
    return found.new.seq
