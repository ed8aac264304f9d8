"""A job as it is in memory: its row, what changes in its life, and where it is now.

A job is in memory while a worker has it, while it waits in the core's line, or while something of it is not on disk
yet. All other jobs are on disk only.
"""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from ...protocol.encodings import Encoding
from ...protocol.job_messages import Submit, Terms, Unique
from .packed import JobTerms
from .rows import JobChange, JobResult, NewJob, StoredJob
from .states import Hold, JobState

if TYPE_CHECKING:
    from .lanes import Lane
    from .writer import Entry

DISK: Final = 0
"""Neither with the core nor with a worker."""
WAITING: Final = 1
"""With the core, which waits for a free slot."""
RUNNING: Final = 2
"""A worker has it."""
ORPHANED: Final = 3
"""A worker had it when its connection was lost, or when the broker was; it may come back with it."""
STARTING: Final = 4
"""It runs at most once. A worker's slot is reserved for it, and it is being written that the attempt has begun."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(JobTerms).decode
NO_TERMS: Final = JobTerms()
NO_TERMS_BYTES: Final = _encode(NO_TERMS)


def terms_of(message: Terms) -> JobTerms:
    """What is kept of the terms of a submission."""
    unique = Unique(message.unique) if isinstance(message.unique, str) else message.unique
    terms = JobTerms(
        message.attempts,
        message.backoff,
        message.timeout,
        message.affinity,
        message.trace,
        message.key_limit,
        message.keep,
        message.at_most_once,
        unique,
    )
    return NO_TERMS if terms == NO_TERMS else terms


def encode_terms(terms: JobTerms) -> bytes:
    """As they are in a row."""
    return NO_TERMS_BYTES if terms is NO_TERMS else _encode(terms)


def decode_terms(encoded: bytes) -> JobTerms:
    """Those of a row."""
    return NO_TERMS if encoded == NO_TERMS_BYTES else _decode(encoded)


class Job:
    """`new` is its row as it was submitted, the fields from `state` to `error` are those of JobChange.

    `place`: see above. `number`: of the attempt that the core has. `result`: until it is on disk. `has_data`: is
    `new.data` there? `entry`: the one that it is submitted with, until that is on disk. `unwritten_count`: entries with
    changes of it that are not on disk. `is_free_loss`: losing its attempt costs it nothing. `is_removed`: nothing is
    kept of it. `progress`: what its worker last reported.
    """

    __slots__ = (
        "attempt",
        "code",
        "data_size_bytes",
        "ended_at",
        "entry",
        "error",
        "failures_count",
        "has_data",
        "held",
        "is_free_loss",
        "is_removed",
        "lane",
        "losses_count",
        "msg_id",
        "new",
        "number",
        "place",
        "progress",
        "remove_at",
        "result",
        "result_size_bytes",
        "run_at",
        "started_at",
        "state",
        "terms",
        "unwritten_count",
        "worker_id",
    )

    def __init__(self, new: NewJob, terms: JobTerms, lane: "Lane", run_at: float) -> None:
        self.new = new
        self.terms = terms
        self.lane = lane
        self.state = JobState.ACCEPTED
        self.held = Hold.NOTHING
        self.run_at = run_at
        self.attempt = 0
        self.failures_count = 0
        self.losses_count = 0
        self.msg_id: str | None = None
        self.worker_id: str | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.remove_at: float | None = None
        self.code: str | None = None
        self.error: str | None = None
        self.place = DISK
        self.number = 0
        self.result: JobResult | None = None
        self.result_size_bytes: int | None = None
        self.data_size_bytes = len(new.data)
        self.has_data = True
        self.entry: Entry | None = None
        self.unwritten_count = 0
        self.is_free_loss = False
        self.is_removed = False
        self.progress: tuple[Raw, Encoding] | None = None

    @property
    def is_open(self) -> bool:
        """It has not ended."""
        return self.state <= JobState.ASSIGNED

    @property
    def size_bytes(self) -> int:
        """Its data and its result."""
        return self.data_size_bytes + (self.result_size_bytes or 0)

    @property
    def rank(self) -> tuple[int, float, int]:
        """Lower goes first in its lane."""
        return -self.new.priority, self.run_at, self.new.seq

    def change(self) -> JobChange:
        """The row of its life as it is now."""
        return JobChange(
            self.new.seq,
            self.state.value,
            self.held.value,
            self.run_at,
            self.attempt,
            self.failures_count,
            self.losses_count,
            self.msg_id,
            self.worker_id,
            self.started_at,
            self.ended_at,
            self.remove_at,
            self.code,
            self.error,
        )


def state_of(job: Job | StoredJob) -> JobState:
    """The state of a job that is in memory, or was read."""
    return job.state if isinstance(job, Job) else JobState(job.change.state)


def read_back(stored: StoredJob, lane: "Lane", *, has_data: bool) -> Job:
    """The job of rows that were read."""
    change = stored.change
    job = Job(stored.new, decode_terms(stored.new.terms), lane, change.run_at)
    job.state = JobState(change.state)
    job.held = Hold(change.held)
    job.attempt = change.attempt
    job.failures_count = change.failures_count
    job.losses_count = change.losses_count
    job.msg_id = change.msg_id
    job.worker_id = change.worker_id
    job.started_at = change.started_at
    job.ended_at = change.ended_at
    job.remove_at = change.remove_at
    job.code = change.code
    job.error = change.error
    job.result_size_bytes = stored.result_size_bytes
    job.data_size_bytes = stored.data_size_bytes
    job.has_data = has_data
    return job


_digest_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def identity_of(message: Submit, owner: str) -> bytes:
    """What makes two submissions under one job_id the same work, apart from their data: everything but what may differ
    between two tries to submit it."""
    return _digest_encode(
        (
            owner,
            message.command,
            message.priority,
            message.attempts,
            message.backoff,
            message.timeout,
            message.target,
            message.affinity,
            message.key,
            message.key_limit,
            message.keep,
            message.at_most_once,
            message.unique,
            message.delay,
            message.run_at,
            message.expires_at,
            message.after,
        )
    )
