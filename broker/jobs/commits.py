"""What follows from a commit: receipts, answers and ends are sent, and memory keeps only what it still needs.

Nothing of it happens before: what others are told is on disk. If the write has failed, its submissions are refused.
"""

from ...protocol import errors
from ...protocol.job_messages import JobAssigned, JobEnded
from .after import After
from .attempts import Attempts
from .counts import JobCounts
from .following import Following
from .inbox import Inbox
from .intake import NOT_WRITTEN, Intake
from .job import STARTING, Job
from .lives import Lives
from .memory import Memory
from .ports import JobObserver, JobSteps, Workers
from .states import JobState
from .windows import Windows
from .writer import Entry, Writer


class Commits:
    """Deals with the entries that the journal has answered. `steps`: notified of what they have changed, if set."""

    __slots__ = (
        "_after",
        "_attempts",
        "_counts",
        "_following",
        "_inbox",
        "_intake",
        "_lives",
        "_memory",
        "_observer",
        "_windows",
        "_workers",
        "_writer",
        "steps",
    )

    def __init__(
        self,
        *,
        workers: Workers,
        observer: JobObserver,
        memory: Memory,
        lives: Lives,
        writer: Writer,
        intake: Intake,
        attempts: Attempts,
        windows: Windows,
        following: Following,
        after: After,
        inbox: Inbox,
        counts: JobCounts,
    ) -> None:
        self._workers = workers
        self._observer = observer
        self._memory = memory
        self._lives = lives
        self._writer = writer
        self._intake = intake
        self._attempts = attempts
        self._windows = windows
        self._following = following
        self._after = after
        self._inbox = inbox
        self._counts = counts
        self.steps: JobSteps | None = None

    def answered(self, entry: Entry, now: float) -> None:
        """The journal has written an entry, or could not."""
        if entry.error is None:
            self._committed(entry, now)
        else:
            self._failed(entry, now)

    def _committed(self, entry: Entry, now: float) -> None:
        """What follows from an entry that is on disk."""
        counts, memory = self._counts, self._memory
        for lane in entry.lanes:
            lane.is_written = True
        for job in entry.submitted:
            self._intake.written(job)
        counts.submitted_count += len(entry.submitted)
        for owed in entry.receipts:
            counts.duplicates_count += owed.receipt.duplicate
            owed.asker.answer(owed.receipt)
        for job in entry.begun:
            assert job.worker_id is not None, "an attempt that has begun has one"
            for follower in self._lives.followers.of(job.new.seq):
                follower.answer(JobAssigned(job.new.job_id, job.attempt, job.worker_id))
        for job in entry.ended:
            self._ended(job, now)
        for worker_id, msg_id in entry.over:
            self._workers.settled(worker_id, msg_id)
        for asker, message in entry.answers:
            asker.answer(message)
        if self.steps is not None:
            for job, change in zip(entry.changed, entry.batch.changes, strict=True):
                self.steps.job_written(job.new.job_id, job.lane.command, job.new.owner, change)
        for job in entry.removed:
            job.unwritten_count -= 1
            memory.remove(job)
        for job in entry.changed:
            job.unwritten_count -= 1
            if not job.unwritten_count:
                self._windows.written(job, now)

    def _ended(self, job: Job, now: float) -> None:
        """The end of a job is on disk."""
        state = job.state
        code = "success" if state is JobState.DONE else job.code or ""
        self._counts.end(state, "success" if state is JobState.DONE else errors.outcome_label(code))
        self._following.ended(job)
        self._after.end_written(job, now)
        for follower in self._lives.followers.of(job.new.seq):
            follower.answer(JobEnded(job.new.job_id, state.name.lower(), None, job.code, job.error))
        self._lives.followers.remove(job.new.seq)
        if job.new.client_id is not None:
            self._inbox.end_written(job, now)
        if state is JobState.DEAD:
            self._observer.job_dead(job.new.job_id, job.lane.command, code, job.attempt)
        job.result = None

    def _failed(self, entry: Entry, now: float) -> None:
        """An entry could not be written: its submissions are refused, the rest is written again."""
        receipts = entry.receipts
        dropped = frozenset(self._writer.failed(entry, now))
        for job in dropped:
            self._intake.written(job)
            self._lives.drop(job)
            self._lives.followers.remove(job.new.seq)
        for job in tuple(entry.changed):
            if job.place == STARTING:
                self._attempts.not_written(job, now)
        for owed in receipts:
            if owed.job in dropped:
                self._counts.refuse(NOT_WRITTEN.code)
                owed.asker.fail(owed.receipt.request_id, NOT_WRITTEN, None)
