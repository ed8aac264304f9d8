"""What is written, and what follows once it is on disk.

Everything that one turn of the loop changes goes into one `Entry`. It is handed to the journal at the end of the turn,
and whatever others may see of it (receipts, answers, ends) is sent after the commit. If the write fails, its
submissions are dropped, and all else is written again with the next entry.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from ...protocol.job_messages import Receipt
from .job import Job
from .lanes import NEVER, Lane
from .ports import Journal, JournalError, Submitter
from .rows import Batch

RETRY_S: Final = 1.0
"""How often a write is tried while the journal fails."""


class Owed(NamedTuple):
    """A receipt that is sent once its job is on disk, with the state that is written."""

    asker: Submitter
    job: Job
    receipt: Receipt


class Entry:
    """`batch`: rows; those of `submitted`, `changed` and `removed` jobs are added when it is handed over. After the
    commit: `receipts` and `answers` are sent, followers hear of `begun` and `ended` jobs, workers are told that the
    attempts `over` (worker_id, msg_id) are settled. `error`: why it could not be written.
    `must_wait`: it changes a job whose submission may still fail."""

    __slots__ = (
        "_written",
        "answers",
        "batch",
        "begun",
        "changed",
        "ended",
        "error",
        "lanes",
        "must_wait",
        "over",
        "receipts",
        "removed",
        "submitted",
    )

    def __init__(self, written: Callable[["Entry", JournalError | None], None]) -> None:
        self._written = written
        self.error: JournalError | None = None
        self.must_wait = False
        self.batch = Batch()
        self.lanes: dict[Lane, None] = {}
        self.submitted: list[Job] = []
        self.removed: list[Job] = []
        self.changed: dict[Job, None] = {}
        self.receipts: list[Owed] = []
        self.answers: list[tuple[Submitter, object]] = []
        self.begun: list[Job] = []
        self.ended: list[Job] = []
        self.over: list[tuple[str, str]] = []

    def submit(self, job: Job) -> None:
        """It is a new job."""
        job.entry = self
        self.submitted.append(job)
        if not job.lane.is_written:
            self.lanes[job.lane] = None
        self.change(job)

    def change(self, job: Job) -> None:
        """Something of it has changed."""
        if job not in self.changed:
            self.changed[job] = None
            job.unwritten_count += 1
            if job.entry is not None and job.entry is not self:
                self.must_wait = True

    def answer(self, asker: Submitter, message: object) -> None:
        """Send this after the commit."""
        self.answers.append((asker, message))

    @property
    def has_rows(self) -> bool:
        """There is something to write."""
        batch = self.batch
        return bool(
            self.changed
            or self.removed
            or batch.inbox
            or batch.inbox_dropped
            or batch.inboxes_gone
            or batch.acknowledged
            or batch.schedules
            or batch.schedules_gone
            or batch.lanes_gone
            or batch.attempts
            or batch.after
            or batch.after_done
            or batch.results
            or batch.is_last
        )

    @property
    def is_empty(self) -> bool:
        """Nothing is to be written, and nothing follows."""
        return not (self.receipts or self.answers or self.begun or self.ended or self.over or self.has_rows)

    def fill(self) -> None:
        """Add the rows of its jobs, as they are now, and make the receipts."""
        batch = self.batch
        batch.lanes = [lane.row for lane in self.lanes if not lane.is_gone]
        for owed in self.receipts:
            owed.receipt.state = owed.job.state.name.lower()
        batch.jobs = [job.new for job in self.submitted]
        batch.changes = [job.change() for job in self.changed]
        batch.removed = [job.new.seq for job in self.removed]

    def written(self, error: JournalError | None) -> None:
        """The journal has answered."""
        self._written(self, error)

    def forget(self, dropped: dict[int, Job]) -> None:
        """These jobs could not be submitted: take all of them out of it."""
        batch = self.batch
        batch.after = [row for row in batch.after if row[0] not in dropped]
        batch.inbox = [row for row in batch.inbox if row.seq not in dropped]
        self.submitted = [job for job in self.submitted if job.new.seq not in dropped]
        self.ended = [job for job in self.ended if job.new.seq not in dropped]
        self.receipts = [owed for owed in self.receipts if owed.job.new.seq not in dropped]
        for job in dropped.values():
            if job in self.changed:
                del self.changed[job]
                job.unwritten_count -= 1

    def append(self, other: "Entry") -> None:
        """Take over everything of a later entry."""
        for job in other.submitted:
            job.entry = self
        for job in other.changed:
            if job in self.changed:
                job.unwritten_count -= 1
            self.changed[job] = None
        self.lanes |= other.lanes
        self.must_wait = self.must_wait or other.must_wait
        self.submitted += other.submitted
        self.removed += other.removed
        self.receipts += other.receipts
        self.answers += other.answers
        self.begun += other.begun
        self.ended += other.ended
        self.over += other.over
        ours, theirs = self.batch, other.batch
        ours.results += theirs.results
        ours.attempts += theirs.attempts
        ours.after += theirs.after
        ours.after_done += theirs.after_done
        ours.inbox += theirs.inbox
        ours.inbox_dropped += theirs.inbox_dropped
        ours.inboxes_gone += theirs.inboxes_gone
        ours.acknowledged += theirs.acknowledged
        again = {row.name for row in theirs.schedules}
        ours.schedules_gone = [name for name in ours.schedules_gone if name not in again]
        ours.schedules += theirs.schedules
        ours.schedules_gone += theirs.schedules_gone
        ours.lanes_gone += theirs.lanes_gone
        ours.is_last |= theirs.is_last


class Writer:
    """`entry`: that of this turn. `answered` is called with each entry that the journal has answered."""

    __slots__ = ("_answered", "_failed", "_journal", "_retry_at", "_unanswered_count", "entry")

    def __init__(self, journal: Journal, answered: Callable[[Entry], None]) -> None:
        self._journal = journal
        self._answered = answered
        self._unanswered_count = 0
        self._retry_at = NEVER
        self._failed: Entry | None = None
        self.entry = Entry(self._written)

    @property
    def is_failing(self) -> bool:
        """The last write failed, and nothing has succeeded since."""
        return self._journal.is_failing

    @property
    def next_at(self) -> float:
        """When to call `flush` next, whatever happens; never unless the journal fails."""
        return self._retry_at

    def failed(self, entry: Entry, now: float) -> list[Job]:
        """An entry could not be written. Returns its submissions, of which nothing is kept; all else is written again
        with the next entry."""
        submissions = entry.submitted
        if submissions:
            dropped = {job.new.seq: job for job in submissions}
            entry.forget(dropped)
            self.entry.forget(dropped)
            if self._failed is not None:
                self._failed.forget(dropped)
        if self._failed is None:
            self._failed = entry
        else:
            self._failed.append(entry)
        if self._retry_at == NEVER:
            self._retry_at = now + RETRY_S
        return submissions

    def flush(self, now: float) -> None:
        """Hand over this turn's entry, if there is something in it. While the journal fails, it gets one in a second,
        if need be an empty one, to see whether it has recovered."""
        is_failing = self._journal.is_failing
        if is_failing and now < self._retry_at < NEVER:
            return
        self._retry_at = now + RETRY_S if is_failing else NEVER
        if self._failed is not None:
            self._failed.append(self.entry)
            self.entry = self._failed
            self._failed = None
        entry = self.entry
        entry.error = None
        if entry.must_wait and self._unanswered_count:
            return
        if not is_failing:
            if entry.is_empty:
                return
            if not entry.has_rows:
                if self._unanswered_count:
                    return  # what follows must not overtake what is being written
                entry.fill()
                self.entry = Entry(self._written)
                self._answered(entry)
                return
        self.entry = Entry(self._written)
        self._unanswered_count += 1
        entry.fill()
        self._journal.write(entry.batch, entry.written)

    def clock_stepped(self, by_s: float, now: float) -> None:
        """The clock was set, or has stood still."""
        if self._retry_at < NEVER:
            self._retry_at = min(self._retry_at + by_s, now + RETRY_S)

    def _written(self, entry: Entry, error: JournalError | None) -> None:
        self._unanswered_count -= 1
        entry.error = error
        self._answered(entry)
