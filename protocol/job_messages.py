"""The messages about jobs on the requester port, as typed structures: see messages.py.

Times are seconds since 1970.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from . import limits
from .field_types import (
    Affinity,
    Attempts,
    Backoff,
    Backoffs,
    CommandName,
    Device,
    JobId,
    JobTimeout,
    Label,
    ListCount,
    Priority,
    RequestId,
    Seconds,
    Target,
    Trace,
)


class Unique(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """At most one open job of this command and `key`: `until` its first attempt starts, or it has ended; or for so many
    seconds from its submission, if that is longer. `conflict`: what a second submission gets."""

    key: JobId
    until: Literal["started", "ended"] = "ended"
    seconds: Seconds = 0.0
    conflict: Literal["existing", "replace", "reject"] = "existing"


class Terms(Struct, kw_only=True, omit_defaults=True):
    """Under which terms a job runs: what `submit` and a schedule have in common. `run_at`, `expires_at`: seconds since
    1970. What is null is the worker's declared default, or else the broker's."""

    priority: Priority | None = None
    attempts: Attempts | None = None
    backoff: Backoff | Backoffs | None = None
    timeout: JobTimeout | None = None
    target: Label | Target | None = None
    affinity: Affinity | None = None
    trace: Trace | None = None
    key: JobId | None = None
    key_limit: Annotated[int, Meta(ge=1, le=limits.KEY_LIMIT_MAX)] = 1
    keep: Annotated[float, Meta(ge=0, le=limits.KEEP_S_MAX)] | None = None
    at_most_once: bool = False
    unique: JobId | Unique | None = None


class Submit(Terms, tag_field="type", tag="submit", kw_only=True):
    """Requester to broker: keep this work until it has ended. Answered by `receipt`, or by a failure."""

    command: CommandName
    request_id: RequestId | None = None
    data: Raw | UnsetType = UNSET
    job_id: JobId | None = None
    delay: Seconds | None = None
    run_at: float | None = None
    expires_at: float | None = None
    after: Annotated[list[JobId], Meta(max_length=limits.AFTER_COUNT_MAX)] = []
    receipts: bool = False


class Receipt(Struct, tag_field="type", tag="receipt"):
    """Broker to requester: the job is on disk. `duplicate`: it was already, under this job_id or `unique` key."""

    request_id: str | None
    job_id: str
    state: str
    duplicate: bool = False


JobStateName = Literal["accepted", "held", "assigned", "done", "dead", "cancelled"]


class Filter(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which jobs: all that match every field that is given. `job_ids`, `states`: any of these. Times: seconds since
    1970, of submission."""

    job_ids: Annotated[list[JobId], Meta(min_length=1, max_length=limits.LIST_COUNT_MAX)] | None = None
    states: Annotated[list[JobStateName], Meta(min_length=1)] | None = None
    command: CommandName | None = None
    owner: JobId | None = None
    key: JobId | None = None
    code: JobId | None = None
    since: float | None = None
    until: float | None = None


class Job(Struct, tag_field="type", tag="job", omit_defaults=True):
    """Requester to broker: what is known of this job? Answered by `job`. With `receipts`, `assigned` and `ended` come
    from here on, as it does them."""

    job_id: JobId
    request_id: RequestId | None = None
    receipts: bool = False


class Await(Struct, tag_field="type", tag="await", omit_defaults=True):
    """Requester to broker: the response of this job, once it has ended. With `timeout` at most after so long; then the
    failure `timeout`, and the job goes on."""

    job_id: JobId
    request_id: RequestId | None = None
    timeout: Annotated[float, Meta(ge=0, le=limits.JOB_TIMEOUT_S_MAX)] | None = None


class Retry(Struct, tag_field="type", tag="retry", omit_defaults=True):
    """Requester to broker: run dead or cancelled jobs again, with a fresh budget. Answered by `changed`."""

    request_id: RequestId | None = None
    job_id: JobId | None = None
    filter: Filter | None = None
    dry_run: bool = False


class Remove(Struct, tag_field="type", tag="remove", omit_defaults=True):
    """Requester to broker: forget ended jobs and their results. Answered by `changed`."""

    request_id: RequestId | None = None
    job_id: JobId | None = None
    filter: Filter | None = None
    dry_run: bool = False


class Changed(Struct, tag_field="type", tag="changed"):
    """Broker to requester: so many jobs were, or with `dry_run` would be, changed."""

    request_id: str | None
    count: int
    dry_run: bool = False


class ListJobs(Struct, tag_field="type", tag="list", omit_defaults=True):
    """Requester to broker: the jobs that match, newest first, `count` at a time. Answered by `jobs`."""

    request_id: RequestId | None = None
    filter: Filter | None = None
    cursor: str | None = None
    count: ListCount = limits.LIST_COUNT_DEFAULT


class FailedAttempt(Struct):
    """One attempt that failed. Seconds since 1970."""

    attempt: int
    worker_id: str | None
    started_at: float | None
    ended_at: float
    code: str
    error: str


class JobView(Struct, omit_defaults=True):
    """A job as requesters see it. Times in seconds since 1970. `reason`: why it is held or waits, for people.
    `attempt`: the number of the last one, 0 before the first; `attempts`: at most so many. `code`, `error`: of its last
    failure. `failed`: all failed attempts; only in the answer to `job`, not in lists. `progress`: what the running
    attempt last reported."""

    job_id: str
    command: str
    state: str
    owner: str
    submitted_at: float
    priority: int
    attempt: int = 0
    attempts: int = limits.ATTEMPTS_COUNT_DEFAULT
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
    target: Label | Target | None = None
    after: list[str] = []
    schedule: str | None = None
    data_size_bytes: int = 0
    result_size_bytes: int | None = None
    progress: Raw | UnsetType = UNSET
    failed: list[FailedAttempt] = []


class JobAnswer(Struct, tag_field="type", tag="job"):
    """Broker to requester: the answer to `job`."""

    request_id: str | None
    job: JobView


class Jobs(Struct, tag_field="type", tag="jobs"):
    """Broker to requester: the answer to `list`. `cursor`: for the next page; null on the last."""

    request_id: str | None
    jobs: list[JobView]
    cursor: str | None


class Schedule(Terms, tag_field="type", tag="schedule", kw_only=True):
    """Requester to broker: add a schedule, or replace the one of this name. Exactly one of `cron` (five fields),
    `every` (seconds) and `at` (seconds since 1970, once). `time_zone`: an IANA name, of `cron`. `overlap`: what happens
    if the run before has not ended. Answered by `schedules`."""

    name: JobId
    command: CommandName
    request_id: RequestId | None = None
    data: Raw | UnsetType = UNSET
    cron: Annotated[str, Meta(max_length=256)] | None = None
    every: Annotated[float, Meta(ge=1, le=limits.DELAY_S_MAX)] | None = None
    at: float | None = None
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    overlap: Literal["skip", "queue"] = "skip"
    catch_up: bool = True


class ScheduleAction(Struct, tag_field="type", tag="schedules", omit_defaults=True):
    """Requester to broker: list schedules (one, with `name`), or do something with the one of that name. Answered by
    `schedules`."""

    request_id: RequestId | None = None
    action: Literal["list", "pause", "resume", "run", "remove"] = "list"
    name: JobId | None = None


class ScheduleView(Struct, omit_defaults=True):
    """A schedule as requesters see it. `next`: the next times that it runs, at most five; none while it is paused."""

    name: str
    command: str
    owner: str
    next: list[float]
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


class Schedules(Struct, tag_field="type", tag="schedules"):
    """Broker to requester: the schedules that were asked about, or changed. `job_id`: of the run that `run` began."""

    request_id: str | None
    schedules: list[ScheduleView]
    job_id: str | None = None


class Greeting(Struct, tag_field="type", tag="hello", omit_defaults=True):
    """Requester to broker: this is who connects, for those who look at the broker's connections. Answered by `hello`.
    With a `client_id` also: send what of its jobs has ended."""

    client_id: JobId | None = None
    request_id: RequestId | None = None
    device: Device = {}


class Greeted(Struct, tag_field="type", tag="hello"):
    """Broker to requester: the answer. `waiting`: messages in its inbox. `dropped`: older ones that there was no room
    for, since it last acknowledged one. Without a `client_id` there is no inbox."""

    request_id: str | None
    client_id: str | None = None
    waiting: int = 0
    dropped: int = 0


class Ack(Struct, tag_field="type", tag="ack"):
    """Requester to broker: the inbox's messages up to this number have been dealt with."""

    number: Annotated[int, Meta(ge=0)]


class JobAssigned(Struct, tag_field="type", tag="assigned"):
    """Broker to requester, for a job that is followed by `receipts`: an attempt has begun."""

    job_id: str
    attempt: int
    worker_id: str


class JobEnded(Struct, tag_field="type", tag="ended", omit_defaults=True):
    """Broker to requester: a job has ended. For one followed by `receipts`; or from an inbox, then with `number`,
    and with `dropped` if messages before it were lost for lack of room."""

    job_id: str
    state: str
    number: int | None = None
    code: str | None = None
    error: str | None = None
    dropped: int = 0
