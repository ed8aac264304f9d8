"""The interfaces that `Jobs` calls: the journal, who asks, and the way to workers.

The broker implements them with SQLite and sessions, the tests with lists. An implementation must not call back into
`Jobs` from within a call, and must not block.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from msgspec import Raw

from ...protocol.encodings import Encoding
from ...protocol.job_messages import Filter
from ..core.failure import Failure
from ..core.ports import Piece
from .rows import Batch, JobChange, LaneRow, ScheduleRow, StoredJob


class JournalError(Exception):
    """The journal could not be written or read: one line for the operator and, as `journal_failed`, for requesters."""


# --- what can be read. Each answer has at most ROWS_PER_READ_MAX rows, except that of Opening. ------------------------


class Opening(NamedTuple):
    """Everything that is needed to begin. Answered by Opened."""


class LaneCount(NamedTuple):
    """The accepted jobs of a lane, and the earliest `run_at` among them, None if there are none. `jobs_count`: all of
    its jobs, in whatever state."""

    lane: int
    accepted_count: int
    run_at_min: float | None
    jobs_count: int


class Opened(NamedTuple):
    """`assigned`: jobs that had a running attempt, without their data. `open_counts`: open jobs by owner. `held_count`,
    `kept_count`: jobs that are held, and that have ended; `kept_size_bytes`: data and results of the latter,
    `open_size_bytes`: data of open jobs. `inboxes`: by (owner, client_id), the highest number ever given, and up to
    which they were acknowledged. `waited_for`: seqs that held jobs wait for, at most WAITED_FOR_COUNT_MAX + 1;
    `after_due`: those of them that have ended, or are not there. `held_keys`: keys of jobs that are held by KEY.
    `schedule_runs`: (schedule, job_id, seq) of open jobs that a schedule has submitted. `was_stopped`: the broker
    before has stopped in order, see Batch.is_last; it is noted in the journal that this one has begun."""

    seq_max: int
    lanes: list[LaneRow]
    lane_counts: list[LaneCount]
    assigned: list[StoredJob]
    open_counts: dict[str, int]
    held_count: int
    kept_counts: dict[int, int]
    kept_size_bytes: int
    open_size_bytes: int
    oldest_submitted_at: float | None
    remove_at_min: float | None
    expires_at_min: float | None
    schedules: list[ScheduleRow]
    inboxes: dict[tuple[str, str], tuple[int, int]]
    waited_for: list[int]
    after_due: list[int]
    held_keys: list[str]
    schedule_runs: list[tuple[str, str, int]]
    was_stopped: bool


class NextInLane(NamedTuple):
    """Accepted jobs of a lane whose `run_at` has come, in order: highest priority, then earliest `run_at`, then lowest
    seq; with their data; at most `count_max`, and no more of them than `size_bytes_max` of data, but one. `without`:
    seqs that are loaded already. Answered by NextFound."""

    lane: int
    count_max: int
    size_bytes_max: int
    without: frozenset[int]
    now: float


class NextFound(NamedTuple):
    """`ready_left`: more jobs of the lane are ready, neither in `jobs` nor among `without`. `run_at_min`: the earliest
    time of the lane's accepted jobs whose time has not come, loaded or not; None if there are none."""

    jobs: list[StoredJob]
    ready_left: bool
    run_at_min: float | None


class Find(NamedTuple):
    """These jobs, those that there are; with data if `with_data`, with results of at most
    `result_size_bytes_max`. Answered by a list of StoredJob."""

    job_ids: list[str]
    with_data: bool = False
    result_size_bytes_max: int = 0


UNIQUE_COUNT_MAX: Final = 2
"""Jobs of one unique key and kind in an answer: one is the rule; from two on there may be more."""


class FindUnique(NamedTuple):
    """Of each of these (command, unique_key) pairs the latest jobs that are open and have had no attempt, the latest
    that are open and have, UNIQUE_COUNT_MAX of each kind, and the one with the latest `submitted_at`, if that is not
    before `since`. Answered by a list of StoredJob, without data."""

    keys: list[tuple[str, str]]
    since: float


class FindHeldByKey(NamedTuple):
    """The first jobs that are held by this key, and by nothing else: highest priority first, then lowest seq. Answered
    by a list of StoredJob, without data."""

    key: str
    count_max: int


class Waiting(NamedTuple):
    """A job that waits for others, without its data. `waits_for`: these, by seq, with their JobState; None: it is not
    there any more, and was not done."""

    job: StoredJob
    waits_for: list[tuple[int, int | None]]


class FindAfter(NamedTuple):
    """The held jobs that wait for any of `seqs`, with a seq over `beyond`, lowest first; at most `count_max`. Answered
    by a list of Waiting."""

    seqs: list[int]
    beyond: int
    count_max: int


class FindWaits(NamedTuple):
    """What these jobs wait for, perhaps nothing. Answered by a list of Waiting."""

    seqs: list[int]


class FindAttempts(NamedTuple):
    """The failed attempts of a job, and the ids of the jobs that it waits for. Answered by (list of AttemptRow, list of
    job_ids)."""

    seq: int


class Select(NamedTuple):
    """Jobs that match, newest first, with a seq below `before`; at most `count_max`. `owner`: only those of this
    identity; None: of all. Answered by a list of StoredJob without data."""

    filter: Filter
    owner: str | None
    before: int | None
    count_max: int


class CountMatching(NamedTuple):
    """How many match. Answered by an int."""

    filter: Filter
    owner: str | None


class FindOverdue(NamedTuple):
    """Ended jobs whose `remove_at` has come, and open ones whose `expires_at` has. If more is kept than may be, by
    `excess_bytes`, then also the ended jobs whose `remove_at` is next, until their data and results are as many bytes.
    At most `count_max` of each. Answered by Overdue."""

    now: float
    excess_bytes: int
    count_max: int


class Overdue(NamedTuple):
    """`removed`, `expired`: without data. `remove_at_min`, `expires_at_min`: the earliest of those that are left."""

    removed: list[StoredJob]
    expired: list[StoredJob]
    remove_at_min: float | None
    expires_at_min: float | None


class ReadInbox(NamedTuple):
    """Messages of an inbox with a number over `after`, in order, with their jobs (without data); at most `count_max`.
    Answered by a list of (number, StoredJob)."""

    owner: str
    client_id: str
    after: int
    count_max: int


class Survey(NamedTuple):
    """What operators want to see of the accepted jobs. Answered by Surveyed."""

    now: float
    count_max: int


class Surveyed(NamedTuple):
    """`delayed_counts`: by lane, the accepted jobs whose `run_at` has not come. `oldest`: of those whose `run_at` has
    come, the ones with the earliest (of equal ones any), in order, without data; at most `count_max`."""

    delayed_counts: dict[int, int]
    oldest: list[StoredJob]


class PlaceInLane(NamedTuple):
    """How many accepted jobs of the same lane whose `run_at` has come go before this one; at most `count_max` are
    counted. Answered by an int, or by None if this job is not accepted, or its `run_at` has not come."""

    seq: int
    now: float
    count_max: int


Query = (
    Opening
    | NextInLane
    | Find
    | FindUnique
    | FindHeldByKey
    | FindAfter
    | FindWaits
    | FindAttempts
    | Select
    | CountMatching
    | FindOverdue
    | ReadInbox
    | Survey
    | PlaceInLane
)


class Journal(Protocol):
    """Where jobs are kept. Writes and reads are done in the order in which they are asked for, so a read sees every
    write before it. Whatever is answered is answered later, from the event loop, in the same order; only Select and
    CountMatching, which may look at every job, may be answered later than what came after them."""

    @property
    def is_failing(self) -> bool:
        """The last write failed: nothing is accepted until one has succeeded."""

    def write(self, batch: Batch, then: Callable[[JournalError | None], None]) -> None:
        """Write all of it, or nothing, and call `then` once it is on disk (fsync), or why it is not. A batch without
        rows finds out whether the journal can be written."""

    def read(self, query: Query, then: "Callable[[object], None]") -> None:
        """Call `then` with the query's answer, or with a JournalError."""


class Submitter(Protocol):
    """Who hears what became of a submission."""

    @property
    def has_left(self) -> bool:
        """Its connection has closed: it hears nothing any more."""

    def answer(self, message: object) -> None:
        """Send a message of protocol/messages.py."""

    def follow(self, job_id: str, piece: Piece, *, is_chunk: bool) -> None:
        """Send progress, or a chunk, of a job that it follows. It is left out if it cannot be carried, or if too much
        waits for the connection."""

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        """Send a failure."""


class Asker(Submitter, Protocol):
    """Whoever asks for something about jobs: one connection, whose messages are answered in any order."""

    @property
    def encoding(self) -> Encoding:
        """The encoding of its data."""

    @property
    def owner(self) -> str:
        """The name of its identity, to which the jobs that it submits belong."""

    @property
    def sees_all(self) -> bool:
        """It may see and change the jobs of every owner, not just its own."""

    def succeed(self, request_id: str, result: Raw, encoding: Encoding, worker_id: str) -> None:
        """Send the result of a job, as the response to a request. Raises NotRepresentable or TooLarge, and sends
        nothing, if it cannot be carried to it."""


class Workers(Protocol):
    """The way to workers, for what is not a part of the core."""

    def settled(self, worker_id: str, msg_id: str) -> None:
        """Tell a worker, if it is connected, that this attempt is over."""


class JobSteps(Protocol):
    """Notified of each change of a job that has been written. Must not change anything."""

    def job_written(self, job_id: str, command: str, owner: str, change: JobChange) -> None:
        """This is on disk now. What follows within a moment may be written with it, and is then reported alone."""


class JobObserver(Protocol):
    """Notified of what an operator may want to act on. Must not change anything."""

    def job_dead(self, job_id: str, command: str, code: str, attempts_count: int) -> None:
        """A job has failed for good. Without its text, which may contain data."""

    def schedule_skipped(self, name: str, reason: str) -> None:
        """A run of a schedule was left out."""
