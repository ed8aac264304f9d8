"""What the journal keeps, as plain values: the rows of its tables, and the batch that is written at once.

A row is made when its batch is handed over, so that nothing changes while it is being written. Times are seconds since
1970. The journal stores these values and never interprets them, apart from what its queries select by.
"""

from typing import Final, NamedTuple


class NewJob(NamedTuple):
    """A job as it was accepted: what never changes. `digest`: of everything that makes it the same work (None for a
    job whose id the broker made). `client_id`: whose inbox gets its end. `terms`: MessagePack of messages.Terms and of
    what else is only read back. `data` is in `encoding` (`json`, `msgpack`). `has_receipts` is not stored: a connection
    does not outlive the broker."""

    seq: int
    job_id: str
    digest: bytes | None
    lane: int
    owner: str
    client_id: str | None
    submitted_at: float
    priority: int
    expires_at: float | None
    key: str | None
    unique_key: str | None
    schedule: str | None
    terms: bytes
    encoding: str
    data: bytes


class JobChange(NamedTuple):
    """What changes in the life of a job: written with the new job, and again whenever it has changed. `state` and
    `held` are JobState and Hold values. `msg_id`: of the running attempt; None if there is
    none."""

    seq: int
    state: int
    held: int
    run_at: float
    attempt: int
    failures_count: int
    losses_count: int
    msg_id: str | None
    worker_id: str | None
    started_at: float | None
    ended_at: float | None
    remove_at: float | None
    code: str | None
    error: str | None


class JobResult(NamedTuple):
    """The result of a job that is done, in `encoding`."""

    seq: int
    encoding: str
    result: bytes


class AttemptRow(NamedTuple):
    """An attempt that failed."""

    seq: int
    attempt: int
    worker_id: str | None
    started_at: float | None
    ended_at: float
    code: str
    error: str


class LaneRow(NamedTuple):
    """A lane: jobs of one command with one target (MessagePack, or None), which wait in one line."""

    lane: int
    command: str
    target: bytes | None


class InboxRow(NamedTuple):
    """A message in the inbox of one client of one identity: this job has ended. `number` counts from 1 and is never
    used again."""

    owner: str
    client_id: str
    number: int
    seq: int


class ScheduleRow(NamedTuple):
    """A schedule: `terms` is MessagePack of messages.Schedule without its data. `due_at` is its next time, `last_at`
    and `last_job_id` its last run."""

    name: str
    owner: str
    terms: bytes
    encoding: str
    data: bytes
    is_paused: bool
    due_at: float | None
    last_at: float | None
    last_job_id: str | None
    skipped_count: int


class Batch:
    """Rows that are written in one transaction, in this order; within a list later rows win. `removed`: jobs of which
    nothing is kept. `after`: (seq that waits, seq that it waits for). `after_done`: seqs that are done: those that wait
    for them know it even after they were removed. `acknowledged`: (owner, client_id, number): a client has dealt with
    the messages of its inbox up to this one; `inbox_dropped`: there was no room for those up to it. Both are removed.
    `inboxes_gone`: of these inboxes nothing is kept up to this number, and nothing at all unless there are later
    ones. `is_last`: the broker stops in order, and no worker has an attempt that the journal does not know of."""

    __slots__ = (
        "acknowledged",
        "after",
        "after_done",
        "attempts",
        "changes",
        "inbox",
        "inbox_dropped",
        "inboxes_gone",
        "is_last",
        "jobs",
        "lanes",
        "lanes_gone",
        "removed",
        "results",
        "schedules",
        "schedules_gone",
    )

    def __init__(self) -> None:
        self.lanes: list[LaneRow] = []
        self.jobs: list[NewJob] = []
        self.changes: list[JobChange] = []
        self.results: list[JobResult] = []
        self.attempts: list[AttemptRow] = []
        self.after: list[tuple[int, int]] = []
        self.after_done: list[int] = []
        self.inbox: list[InboxRow] = []
        self.acknowledged: list[tuple[str, str, int]] = []
        self.inbox_dropped: list[tuple[str, str, int]] = []
        self.inboxes_gone: list[tuple[str, str, int]] = []
        self.schedules: list[ScheduleRow] = []
        self.schedules_gone: list[str] = []
        self.removed: list[int] = []
        self.lanes_gone: list[int] = []
        self.is_last = False


class StoredJob(NamedTuple):
    """A job as it is read back. `data` is empty, and `result` None, if the query did not ask for them."""

    new: NewJob
    change: JobChange
    result: JobResult | None
    data_size_bytes: int
    result_size_bytes: int | None


WAITED_FOR_COUNT_MAX: Final = 100_000
"""Jobs that others wait for, of which memory has the seqs (10 MB); if there are more, the journal is asked after each
end whether anything waits for it."""

ROWS_PER_READ_MAX: Final = 1000
"""Rows in one answer of the journal, so that no read holds up a commit for long."""
