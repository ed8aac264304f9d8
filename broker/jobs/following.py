"""What requesters ask about jobs: the whole of one, a list, and the response once it has ended."""

from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeVar

from msgspec import Raw

from ...protocol import errors
from ...protocol.encodings import Encoding
from ...protocol.errors import TaskferryError
from ...protocol.job_messages import Await, Filter, JobAnswer, Jobs, JobView, ListJobs
from ...protocol.job_messages import Job as Ask
from ...protocol.limits import TEXT_LENGTH_MAX
from ..core.failure import Failure, failure_of, plain_failure
from .attempts import Attempts
from .followers import FULL
from .job import Job
from .lanes import NEVER, Lanes
from .lives import Lives
from .memory import Memory
from .ports import Asker, Find, FindAttempts, Journal, JournalError, Select
from .reads import Reads
from .rows import ROWS_PER_READ_MAX
from .states import JobState
from .views import Viewer, size_of

Key = TypeVar("Key")

AWAITS_COUNT_MAX: Final = 10_000
"""Ends that one connection may wait for: as many as requests in flight."""

DEADLINES_SLACK: Final = 1000
"""Deadlines of those that wait no more, before they are swept out, besides as many as there are others."""

RESULT_SIZE_BYTES: Final = 65_536
"""A result of at most so much is read together with its job; a larger one in its turn, when its size is known."""

PAGE_SIZE_BYTES_MAX: Final = 256 * 1024
"""Text in one answer to `list`: a quarter of a message, for texts may grow when they are encoded."""

UNKNOWN: Final = plain_failure(errors.UnknownJob)
FAILED: Final = plain_failure(errors.JournalFailed)


class Awaiting:
    """A requester that waits for the end of a job, until `deadline`."""

    __slots__ = ("asker", "deadline", "is_over", "job_id", "request_id")

    def __init__(self, asker: Asker, job_id: str, request_id: str, deadline: float) -> None:
        self.asker = asker
        self.job_id = job_id
        self.request_id = request_id
        self.deadline = deadline
        self.is_over = False


class Following:
    """`next_at`: when to call `advance` next."""

    __slots__ = (
        "_attempts",
        "_by_asker",
        "_by_job",
        "_count",
        "_deadlines",
        "_journal",
        "_lives",
        "_memory",
        "_reads",
        "_timed_count",
        "_viewer",
    )

    def __init__(
        self,
        journal: Journal,
        *,
        memory: Memory,
        lanes: Lanes,
        lives: Lives,
        attempts: Attempts,
        reads: Reads,
    ) -> None:
        self._journal = journal
        self._memory = memory
        self._lives = lives
        self._attempts = attempts
        self._reads = reads
        self._viewer = Viewer(lanes, attempts)
        self._by_job: dict[str, dict[Awaiting, None]] = {}
        self._by_asker: dict[Asker, dict[Awaiting, None]] = {}
        self._deadlines: list[tuple[float, int, Awaiting]] = []
        self._count = self._timed_count = 0

    @property
    def next_at(self) -> float:
        """When the first wait is over."""
        return self._deadlines[0][0] if self._deadlines else NEVER

    # --- the view of one --------------------------------------------------------------------------------------------

    def view(self, asker: Asker, message: Ask, now: float) -> None:
        """Answer with all that is known of a job. With `receipts`, `asker` hears of what it does next as well."""
        del now
        self._reads.ask_for(asker, Find([message.job_id]), self._viewed, (asker, message))

    def _viewed(self, context: tuple[Asker, Ask], answer: Any, now: float) -> None:
        asker, message = context
        job = self._found(asker, message.request_id, message.job_id, answer)
        if job is None:
            return
        if job.unwritten_count and not self._journal.is_failing:  # what it shows must be on disk
            self.view(asker, message, now)
            return
        if message.receipts and job.is_open:
            followers = self._lives.followers
            if followers.is_full:
                asker.fail(message.request_id, FULL, None)
                return
            followers.add(job.new.seq, asker)
        size_bytes = job.attempt * TEXT_LENGTH_MAX
        query = FindAttempts(job.new.seq)
        self._reads.ask_for(asker, query, self._shown, (asker, message, job), size_bytes)

    def _shown(self, context: tuple[Asker, Ask, Job], answer: Any, now: float) -> None:
        asker, message, job = context
        if isinstance(answer, JournalError):
            asker.fail(message.request_id, FAILED, None)
            return
        attempts, after = answer
        asker.answer(
            JobAnswer(message.request_id, self._viewer.whole(job, asker.encoding, attempts, after, now))
        )

    def _found(self, asker: Asker, request_id: str | None, job_id: str, answer: Any) -> Job | None:
        """The job that was asked about, if `asker` may see it; None: it was answered."""
        if isinstance(answer, JournalError):
            asker.fail(request_id, FAILED, None)
            return None
        job = self._memory.by_id.get(job_id)
        if job is None and answer:
            job = self._memory.detached(answer[0])
        if job is None or job.entry is not None or not may_see(asker, job.new.owner):
            asker.fail(request_id, UNKNOWN, None)
            return None
        return job

    # --- lists ------------------------------------------------------------------------------------------------------

    def list(self, asker: Asker, message: ListJobs, now: float) -> None:
        """Answer with a page of the jobs that match."""
        cursor = message.cursor
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
            text = "cursor: not one that this broker has given"
            asker.fail(message.request_id, Failure(errors.BadRequest.code, text), None)
            return
        self._lives.record_all()
        before = None if cursor is None else int(cursor)
        count = min(message.count + 1, ROWS_PER_READ_MAX)
        owner = None if asker.sees_all else asker.owner
        query = Select(message.filter or Filter(), owner, before, count)
        self._reads.ask_for(asker, query, self._listed, (asker, message))

    def _listed(self, context: tuple[Asker, ListJobs], answer: Any, now: float) -> None:
        asker, message = context
        if isinstance(answer, JournalError):
            asker.fail(message.request_id, FAILED, None)
            return
        page: list[JobView] = []
        size_bytes = 0
        for stored in answer:
            if len(page) == message.count or size_bytes > PAGE_SIZE_BYTES_MAX:
                break
            job = self._memory.by_id.get(stored.new.job_id)
            if job is None or job.unwritten_count:
                job = self._memory.detached(stored)
            view = self._viewer.brief(job, now)
            size_bytes += size_of(view)
            page.append(view)
        is_last = len(page) == len(answer) < ROWS_PER_READ_MAX
        cursor = None if is_last else str(answer[len(page) - 1].new.seq)
        asker.answer(Jobs(message.request_id, page, cursor))

    # --- waiting for the end ----------------------------------------------------------------------------------------

    def await_end(self, asker: Asker, message: Await, now: float) -> None:
        """Answer with the response of a job once it has ended."""
        if asker.has_left:  # before the journal was read
            return
        request_id = message.request_id or message.job_id
        if len(self._by_asker.get(asker, ())) >= AWAITS_COUNT_MAX:
            text = f"over {AWAITS_COUNT_MAX} jobs are awaited on this connection (AWAITS_COUNT_MAX)"
            asker.fail(request_id, Failure(errors.Overloaded.code, text), None)
            return
        deadline = NEVER if message.timeout is None else now + message.timeout
        waiting = Awaiting(asker, message.job_id, request_id, deadline)
        self._by_asker.setdefault(asker, {})[waiting] = None
        job = self._memory.by_id.get(message.job_id)
        if job is not None and job.entry is None and job.is_open and may_see(asker, job.new.owner):
            self._wait(waiting)
        else:
            self._look_up(waiting, RESULT_SIZE_BYTES)

    def _look_up(self, waiting: Awaiting, size_bytes: int) -> None:
        query = Find([waiting.job_id], result_size_bytes_max=size_bytes)
        self._reads.ask_for(waiting.asker, query, self._looked_up, waiting, size_bytes)

    def _looked_up(self, waiting: Awaiting, answer: Any, now: float) -> None:
        if waiting.is_over:
            return
        job = self._found(waiting.asker, waiting.request_id, waiting.job_id, answer)
        if job is None:
            self._over(waiting)
        elif job.is_removed:
            self._over(waiting)
            waiting.asker.fail(waiting.request_id, UNKNOWN, None)
        elif job.is_open or job.unwritten_count:
            if waiting.deadline <= now:
                self._over(waiting)
                self._time_out(waiting)
            else:
                self._wait(waiting)
        elif answer[0].result is None and job.result_size_bytes is not None:  # it is large
            self._look_up(waiting, job.result_size_bytes)
        else:
            self._over(waiting)
            job.result = answer[0].result
            self._respond(waiting, job)

    def _wait(self, waiting: Awaiting) -> None:
        self._by_job.setdefault(waiting.job_id, {})[waiting] = None
        if waiting.deadline < NEVER:
            self._count += 1
            self._timed_count += 1
            heappush(self._deadlines, (waiting.deadline, self._count, waiting))

    def _over(self, waiting: Awaiting) -> None:
        """It waits no more: for the journal, or for the end."""
        waiting.is_over = True
        _remove(self._by_asker, waiting.asker, waiting)
        if waiting in self._by_job.get(waiting.job_id, ()):
            _remove(self._by_job, waiting.job_id, waiting)
            if waiting.deadline < NEVER:
                self._timed_count -= 1
                self._sweep()

    def _sweep(self) -> None:
        """Forget deadlines that have come to nothing, if they are many."""
        if len(self._deadlines) > 2 * self._timed_count + DEADLINES_SLACK:
            self._deadlines = [deadline for deadline in self._deadlines if not deadline[2].is_over]
            heapify(self._deadlines)

    def ended(self, job: Job) -> None:
        """The end of a job is on disk."""
        for waiting in tuple(self._by_job.get(job.new.job_id, ())):
            self._over(waiting)
            self._respond(waiting, job)

    def advance(self, now: float) -> None:
        """Answer those whose time is over."""
        while self._deadlines and self._deadlines[0][0] <= now:
            waiting = heappop(self._deadlines)[2]
            if not waiting.is_over:
                self._over(waiting)
                self._time_out(waiting)

    def clock_stepped(self, by_s: float) -> None:
        """The clock was set: all wait as long as before."""
        for waiting in {waiting for _, _, waiting in self._deadlines}:
            waiting.deadline += by_s
        self._deadlines = [(at + by_s, number, waiting) for at, number, waiting in self._deadlines]

    def asker_left(self, asker: Asker) -> None:
        """A connection has closed."""
        for waiting in tuple(self._by_asker.get(asker, ())):
            self._over(waiting)

    def _time_out(self, waiting: Awaiting) -> None:
        failure = Failure(errors.WorkerTimeout.code, "The job has not ended yet: it goes on")
        waiting.asker.fail(waiting.request_id, failure, None)

    def _respond(self, waiting: Awaiting, job: Job) -> None:
        asker = waiting.asker
        if job.state is not JobState.DONE:
            failure = Failure(job.code or errors.HandlerError.code, job.error or "")
            asker.fail(waiting.request_id, failure, job.worker_id)
            return
        result = job.result
        assert result is not None, "a job that is done has one"
        try:
            encoding = Encoding(result.encoding)
            asker.succeed(waiting.request_id, Raw(result.result), encoding, job.worker_id or "")
        except TaskferryError as error:
            asker.fail(waiting.request_id, failure_of(error), job.worker_id)


def may_see(asker: Asker, owner: str) -> bool:
    """Whether it may see and change the jobs of `owner`."""
    return asker.sees_all or asker.owner == owner


def _remove(table: dict[Key, dict[Awaiting, None]], key: Key, waiting: Awaiting) -> None:
    others = table[key]
    del others[waiting]
    if not others:
        del table[key]
