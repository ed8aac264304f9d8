"""Jobs that wait for others to be done first.

Such a job is held. When one that it waits for has ended, and that is on disk, the journal is asked for what waited for
it: a job of which all are done is released, and one of which any has ended otherwise is dead. A run of a schedule that
queues waits in the same way for the runs before it, however they end.

The same judgement is made of a job that has just been submitted, or is tried again by hand: what it waits for may have
ended long ago, or in the meantime.
"""

from typing import Final

from ...protocol import errors
from ..core.failure import Failure
from .job import Job, state_of
from .lives import Lives
from .memory import Memory
from .ports import FindAfter, FindWaits, JournalError, Opened, Waiting
from .reads import Reads
from .rows import ROWS_PER_READ_MAX, WAITED_FOR_COUNT_MAX, StoredJob
from .states import OPEN, Hold, JobState
from .submission import Submission
from .writer import Writer

RETRY_S: Final = 1.0
"""How soon the journal is asked again after a read has failed."""
NEVER: Final = float("inf")


class After:
    """`next_at`: when to call `ask`, apart from the end of each turn."""

    __slots__ = (
        "_ended",
        "_is_complete",
        "_judging_count",
        "_lives",
        "_memory",
        "_reads",
        "_unjudged",
        "_waited_for",
        "_writer",
        "next_at",
    )

    def __init__(self, memory: Memory, writer: Writer, reads: Reads, lives: Lives) -> None:
        self._memory = memory
        self._writer = writer
        self._reads = reads
        self._lives = lives
        self._waited_for: set[int] = set()
        self._is_complete = True
        self._ended: list[int] = []
        self._unjudged: list[int] = []
        self._judging_count = 0
        self.next_at = NEVER

    def opened(self, opened: Opened) -> None:
        """Take what the journal has, and judge what was not judged before the broker stopped."""
        self._waited_for.update(opened.waited_for)
        self._is_complete = len(opened.waited_for) <= WAITED_FOR_COUNT_MAX
        self._ended += opened.after_due

    def clock_stepped(self, by_s: float, now: float) -> None:
        """The clock was set, or has stood still."""
        if self.next_at < NEVER:
            self.next_at = min(self.next_at + by_s, now + RETRY_S)

    # --- submissions ------------------------------------------------------------------------------------------------

    def check(self, submission: Submission, found: dict[str, Job | StoredJob]) -> Failure | list[int]:
        """The seqs of the jobs that it has to wait for, for they are not done; or, if there is none of an id, or it may
        not be seen, why it is refused."""
        seqs: list[int] = []
        for job_id in submission.message.after:
            job = found.get(job_id)
            if job is None or (job.new.owner != submission.owner and not submission.sees_all):
                return Failure(errors.BadRequest.code, f"after: there is no job {job_id!r}")
            if state_of(job) is not JobState.DONE:
                seqs.append(job.new.seq)
        return seqs

    def added(self, job: Job, seqs: list[int], now: float) -> None:
        """`job` was accepted in this turn, and waits for these."""
        del now
        seq = job.new.seq
        self._writer.entry.batch.after += [(seq, other) for other in dict.fromkeys(seqs)]
        self._wait_for(seqs)
        self._hold(job)

    def retried(self, job: Job, now: float) -> bool:
        """`job` is tried again by hand. True: it is held until it has been judged. One that has been tried before waits
        for nothing any more."""
        del now
        if job.attempt:
            return False
        self._hold(job)
        return True

    def _hold(self, job: Job) -> None:
        self._lives.hold(job, Hold.AFTER)
        self._unjudged.append(job.new.seq)

    def _wait_for(self, seqs: list[int]) -> None:
        """Note that some job waits for these."""
        if len(self._waited_for) + len(seqs) > WAITED_FOR_COUNT_MAX:
            self._is_complete = False
        if self._is_complete:
            self._waited_for.update(seqs)

    # --- ends -------------------------------------------------------------------------------------------------------

    def ended(self, job: Job, now: float) -> None:
        """`job` has ended in this turn. That it is done is noted with what waits for it, and so outlives it."""
        del now
        if job.state is JobState.DONE and self._may_be_waited_for(job):
            self._writer.entry.batch.after_done.append(job.new.seq)

    def end_written(self, job: Job, now: float) -> None:
        """The end of `job` is on disk."""
        del now
        if self._may_be_waited_for(job):
            self._ended.append(job.new.seq)

    def ask(self, now: float) -> None:
        """Ask the journal for all that is to be judged. If it could not be read, wait until `next_at`."""
        if now < self.next_at < NEVER:
            return
        self.next_at = NEVER
        ended, self._ended = list(dict.fromkeys(self._ended)), []
        for start in range(0, len(ended), ROWS_PER_READ_MAX):
            some = ended[start : start + ROWS_PER_READ_MAX]
            self._reads.ask(FindAfter(some, 0, ROWS_PER_READ_MAX), self._found_after, some)
        unjudged, self._unjudged = self._unjudged, []
        for start in range(0, len(unjudged), ROWS_PER_READ_MAX):
            some = unjudged[start : start + ROWS_PER_READ_MAX]
            self._judging_count += 1
            self._reads.ask(FindWaits(some), self._found_waits, some)

    def _may_be_waited_for(self, job: Job) -> bool:
        return job.new.seq in self._waited_for or not self._is_complete

    def _found_after(self, seqs: list[int], answer: "list[Waiting] | JournalError", now: float) -> None:
        """Judge what waited for these jobs, which have ended."""
        if isinstance(answer, JournalError):
            self._ended += seqs
            self.next_at = now + RETRY_S
            return
        for waiting in answer:
            self._judge(self._memory.take(waiting.job), waiting.waits_for, now)
        if len(answer) == ROWS_PER_READ_MAX:
            beyond = answer[-1].job.new.seq
            self._reads.ask(FindAfter(seqs, beyond, ROWS_PER_READ_MAX), self._found_after, seqs)
        elif not self._judging_count:  # else one may be found to wait for them that was not asked about
            self._waited_for.difference_update(seqs)

    def _found_waits(self, seqs: list[int], answer: "list[Waiting] | JournalError", now: float) -> None:
        """Judge these jobs, which were submitted or tried again."""
        self._judging_count -= 1
        if isinstance(answer, JournalError):
            self._unjudged += seqs
            self.next_at = now + RETRY_S
            return
        for waiting in answer:
            job = self._memory.take(waiting.job)
            self._judge(job, waiting.waits_for, now)

    def _judge(self, job: Job, waits_for: list[tuple[int, int | None]], now: float) -> None:
        """Release a job that waits for nothing more, end it if it waits in vain, else let it wait."""
        if not job.held & Hold.AFTER:
            self._memory.release(job)
            return
        open_seqs = [seq for seq, state in waits_for if state in OPEN]
        may_run = job.new.schedule is not None or all(state in _HOPEFUL for _, state in waits_for)
        if not may_run:
            self._lives.end(job, JobState.DEAD, now, errors.AfterFailed.code, errors.AfterFailed.message)
        elif open_seqs:
            self._wait_for(open_seqs)
            self._memory.release(job)
        else:
            self._lives.release(job, Hold.AFTER)


_HOPEFUL: Final = OPEN | {JobState.DONE}
