"""What a broker sends to a requester besides responses: the answers to questions, and news of jobs.

They differ from those of protocol/messages.py in that values of users are decoded here; what is left out has the same
default. Unknown fields are ignored, and
names such as states are any text, so that a newer broker can be talked to. Times are seconds since 1970.
"""

from typing import Any

from msgspec import Struct

from ..protocol.gather_messages import Broadcasted, Sent
from ..protocol.job_messages import Changed, Greeted, JobAssigned, JobEnded, Receipt
from ..protocol.limits import ATTEMPTS_COUNT_DEFAULT
from ..protocol.messages import Expiring, LoggedIn, Pong
from ..protocol.stream_messages import Reset
from ..protocol.topic_messages import Offset, TopicFault


class FailedAttempt(Struct, frozen=True):
    """One attempt that failed: its number, its worker, its times, and its error."""

    attempt: int
    worker_id: str | None
    started_at: float | None
    ended_at: float
    code: str
    error: str


class JobView(Struct, frozen=True):
    """What is known of a job. Times in seconds since 1970, None if they do not apply.

    `state`: `accepted`, `held`, `assigned`, `done`, `dead` or `cancelled`. `reason`: why it is held or waits, for
    people. `attempt`: the number of the last attempt, 0 before the first, of at most `attempts`. `losses`: workers that
    were lost with it. `run_at`: not before. `removed_at`: when it will be forgotten. `code`, `error`: of its last
    failure. `failed`: every failed attempt; empty in lists. `progress`: what the attempt last reported.
    """

    job_id: str
    command: str
    state: str
    owner: str
    submitted_at: float
    priority: int
    attempt: int = 0
    attempts: int = ATTEMPTS_COUNT_DEFAULT
    losses: int = 0
    run_at: float | None = None
    expires_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    removed_at: float | None = None
    worker_id: str | None = None
    reason: str | None = None
    code: str | None = None
    error: str | None = None
    key: str | None = None
    unique: str | None = None
    target: str | dict[str, str | list[str]] | None = None
    after: tuple[str, ...] = ()
    schedule: str | None = None
    data_size_bytes: int = 0
    result_size_bytes: int | None = None
    progress: Any = None
    failed: tuple[FailedAttempt, ...] = ()

    @property
    def has_ended(self) -> bool:
        """It is done, dead or cancelled."""
        return self.state in ENDED_STATES


ENDED_STATES = frozenset({"done", "dead", "cancelled"})


class ScheduleView(Struct, frozen=True):
    """What is known of a schedule. Times in seconds since 1970.

    `next`: the next times that it runs, at most five; none while it is paused. Exactly one of `cron`, `every` (seconds)
    and `at` is set. `skipped_count`: runs that were skipped because the one before had not ended.
    """

    name: str
    command: str
    owner: str
    next: tuple[float, ...] = ()
    cron: str | None = None
    every: float | None = None
    at: float | None = None
    time_zone: str = "UTC"
    overlap: str = "skip"
    catch_up: bool = True
    is_paused: bool = False
    last_at: float | None = None
    last_job_id: str | None = None
    skipped_count: int = 0


class JobAnswer(Struct, tag_field="type", tag="job"):
    """The answer to `job`."""

    request_id: str | None
    job: JobView


class Jobs(Struct, tag_field="type", tag="jobs"):
    """The answer to `list`. `cursor`: for the next page; None on the last."""

    request_id: str | None
    jobs: list[JobView]
    cursor: str | None = None


class Schedules(Struct, tag_field="type", tag="schedules"):
    """The answer to `schedule` and `schedules`. `job_id`: of the run that `run` began."""

    request_id: str | None
    schedules: list[ScheduleView]
    job_id: str | None = None


class Progress(Struct, tag_field="type", tag="progress"):
    """How far a request is, or a job that is followed."""

    sequence: int
    attempt: int
    data: Any
    request_id: str | None = None
    job_id: str | None = None


class Chunk(Struct, tag_field="type", tag="chunk"):
    """A part of what comes of a request, or of a job that is followed."""

    sequence: int
    attempt: int
    data: Any
    request_id: str | None = None
    job_id: str | None = None


class GatheredItem(Struct, frozen=True):
    """How a gather ended at one worker. `error`, `code`, `delivery`: of a failure, as of a Response."""

    worker_id: str
    success: bool
    data: Any = None
    error: str | None = None
    code: str | None = None
    delivery: str | None = None


class ItemAnswer(Struct, tag_field="type", tag="item", rename={"data": "item"}):
    """An item of a gather: a part of what comes of it, as a chunk is."""

    sequence: int
    data: GatheredItem
    request_id: str | None = None
    attempt: int = 1


class OwnMessage(Struct, tag_field="type", tag="custom", rename={"sender": "from"}):
    """A message of the user's own, from a worker or another connection."""

    kind: str
    data: Any
    sender: str


class Published(Struct, tag_field="type", tag="published", rename={"request_id": "id"}):
    """An event was published."""

    data: Offset
    request_id: str | None = None


class Fault(Struct, tag_field="type", tag="error", rename={"request_id": "id", "fault": "error"}):
    """What is wrong with a message about topics. Without a `fault`: what a broker's worker port says of a message that
    is no worker's."""

    request_id: str | None = None
    fault: TopicFault | None = None


Answer = Receipt | JobAnswer | Jobs | Changed | Schedules | Broadcasted | Sent | Published
"""The answer to a question, with its request_id."""

Streamed = Progress | Chunk | ItemAnswer | Reset
"""What comes of a request before its response."""

Unusual = (
    Answer | Streamed | OwnMessage | JobAssigned | JobEnded | Greeted | Expiring | LoggedIn | Pong | Fault
)
"""Every message of a broker that is not a response."""
