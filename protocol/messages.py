"""Every message of the wire as a typed structure, with the bound of each field.

`data`, `params` and results stay raw bytes in the sender's encoding: the broker passes them on and never looks inside.
Unknown fields are ignored, so that a newer peer can talk to an older one. PROTOCOL.md says what each message means.
"""

from typing import Annotated, Final, Literal, get_args

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from . import limits

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:@/-]*\Z"
NAME_RULE: Final = "only letters, digits and _ . : @ / - may be used, a letter or digit first"
"""NAME_PATTERN for people."""

Token = Annotated[str, Meta(min_length=1, max_length=limits.TOKEN_LENGTH_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX, pattern=NAME_PATTERN)]
CommandName = Annotated[str, Meta(min_length=1, max_length=limits.NAME_LENGTH_MAX)]
RequestId = Annotated[str, Meta(min_length=1, max_length=limits.REQUEST_ID_LENGTH_MAX)]
MessageId = Annotated[str, Meta(max_length=limits.REQUEST_ID_LENGTH_MAX)]
Timeout = Annotated[float, Meta(gt=0, le=limits.TIMEOUT_S_MAX)]
Priority = Annotated[int, Meta(ge=0, le=limits.PRIORITY_MAX)]
Affinity = Annotated[str, Meta(max_length=limits.AFFINITY_LENGTH_MAX)]
Trace = Annotated[str, Meta(max_length=limits.TRACE_LENGTH_MAX)]
Label = Annotated[str, Meta(max_length=limits.LABEL_LENGTH_MAX)]
Labels = Annotated[dict[Label, Label], Meta(max_length=limits.LABELS_COUNT_MAX)]
LabelValues = Annotated[list[Label], Meta(min_length=1, max_length=limits.LABEL_VALUES_COUNT_MAX)]
Target = Annotated[dict[Label, Label | LabelValues], Meta(min_length=1, max_length=limits.LABELS_COUNT_MAX)]
"""Labels that a worker must have: every key, with the value or any one of the values."""
HEDGE_PATTERN: Final = r"^p[1-9][0-9]?\Z"
HEDGE_RULE: Final = "a number of seconds, or a percentile: p1 to p99"
"""HEDGE_PATTERN for people."""

Hedge = (
    Annotated[float, Meta(ge=limits.HEDGE_S_MIN, le=limits.TIMEOUT_S_MAX)]
    | Annotated[str, Meta(pattern=HEDGE_PATTERN)]
)
"""When a request is hedged: after this many seconds, or once it has taken longer than that percentile of the command's
requests (`p1` to `p99`)."""


JobId = Annotated[str, Meta(min_length=1, max_length=limits.JOB_ID_LENGTH_MAX)]
Seconds = Annotated[float, Meta(ge=0, le=limits.DELAY_S_MAX)]
Backoff = Annotated[float, Meta(ge=0, le=limits.JOB_TIMEOUT_S_MAX)]
Backoffs = Annotated[list[Backoff], Meta(min_length=1, max_length=limits.BACKOFF_COUNT_MAX)]
Attempts = Annotated[int, Meta(ge=1, le=limits.ATTEMPTS_COUNT_MAX)]
JobTimeout = Annotated[float, Meta(gt=0, le=limits.JOB_TIMEOUT_S_MAX)]
ListCount = Annotated[int, Meta(ge=1, le=limits.LIST_COUNT_MAX)]


# --- requester port -------------------------------------------------------------------------------------------------


class Request(Struct, gc=False):
    """Requester to broker: run a command. Without `command`, and with `type`, it is one of the messages below."""

    command: CommandName | UnsetType = UNSET
    request_id: RequestId | None = None
    data: Raw | UnsetType = UNSET
    timeout: Timeout | None = None
    idempotent: bool = False
    priority: Priority | None = None
    affinity: Affinity | None = None
    trace: Trace | None = None
    target: Label | Target | None = None
    hedge: Hedge | None = None
    otherwise: Literal["submit"] | None = None
    type: str | UnsetType = UNSET


class Cancel(Struct, tag_field="type", tag="cancel", omit_defaults=True):
    """Requester to broker: cancel a request in flight, whose response then has the code `cancelled`; or, with `job_id`
    or `filter`, open jobs, which is answered by `changed`."""

    request_id: RequestId
    job_id: JobId | None = None
    filter: "Filter | None" = None
    dry_run: bool = False


def is_about_jobs(message: Cancel) -> bool:
    """It cancels jobs, and not a request in flight."""
    return message.job_id is not None or message.filter is not None


class Ping(Struct, tag_field="type", tag="ping"):
    """Requester to broker: are you there?"""

    request_id: RequestId | None = None


class Pong(Struct, tag_field="type", tag="pong"):
    """Broker to requester: yes."""

    request_id: str | None = None


class Auth(Struct, tag_field="type", tag="auth"):
    """Requester to broker: a fresh token for this connection, of the same identity."""

    token: Token
    request_id: RequestId | None = None


class LoggedIn(Struct, tag_field="type", tag="auth", omit_defaults=True):
    """Broker to requester: the answer to `auth`. `expires_in`: seconds until the login runs out, null for never. If it
    failed, the earlier login holds for as long as it would have, and `code` and `error` say why."""

    success: bool
    request_id: str | None = None
    identity: str | None = None
    expires_in: float | None = None
    code: str | None = None
    error: str | None = None


class Expiring(Struct, tag_field="type", tag="expiring"):
    """Broker to requester: the login of this connection runs out in `expires_in` seconds."""

    expires_in: float


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
    """Requester to broker: what is known of this job? Answered by `job`."""

    job_id: JobId
    request_id: RequestId | None = None


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


class Greeting(Struct, tag_field="type", tag="hello"):
    """Requester to broker: this is `client_id`; send what of its jobs has ended. Answered by `hello`."""

    client_id: JobId
    request_id: RequestId | None = None


class Greeted(Struct, tag_field="type", tag="hello"):
    """Broker to requester: the answer. `waiting`: messages in its inbox. `dropped`: older ones that there was no room
    for, since it last acknowledged one."""

    request_id: str | None
    client_id: str
    waiting: int
    dropped: int = 0


class Ack(Struct, tag_field="type", tag="ack"):
    """Requester to broker: the inbox's messages up to this number have been dealt with."""

    number: Annotated[int, Meta(ge=0)]


class JobAssigned(Struct, tag_field="type", tag="assigned"):
    """Broker to requester, for a job submitted with `receipts`: an attempt has begun."""

    job_id: str
    attempt: int
    worker_id: str


class JobEnded(Struct, tag_field="type", tag="ended", omit_defaults=True):
    """Broker to requester: a job has ended. For one submitted with `receipts`; or from an inbox, then with `number`,
    and with `dropped` if messages before it were lost for lack of room."""

    job_id: str
    state: str
    number: int | None = None
    code: str | None = None
    error: str | None = None
    dropped: int = 0


class Response(Struct, gc=False):
    """Broker to requester: the one outcome of a request that succeeded."""

    request_id: str
    success: bool
    data: Raw
    error: None
    processed_by: str | None


class Failure(Struct, gc=False):
    """Broker to requester: the one outcome of a request that failed. `request_id` is null if none could be read."""

    request_id: str | None
    success: bool
    data: None
    error: str
    processed_by: str | None
    code: str
    delivery: str | UnsetType = UNSET
    queue_wait: float | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


class Outcome(Struct, gc=False):
    """A response of either kind, as a requester decodes it."""

    request_id: str | None = None
    success: bool = False
    data: Raw | UnsetType = UNSET
    error: str | None = None
    processed_by: str | None = None
    code: str | None = None
    delivery: str | None = None
    queue_wait: float | None = None
    retry_after: float | None = None
    type: str | UnsetType = UNSET


RequesterControl = (
    Auth
    | Cancel
    | Ping
    | Submit
    | Job
    | Await
    | Retry
    | Remove
    | ListJobs
    | Schedule
    | ScheduleAction
    | Greeting
    | Ack
)
"""Requester to broker: what is not a request."""

WITH_COMMAND: Final = frozenset(str(kind.__struct_config__.tag) for kind in (Submit, Schedule))
"""The types of messages that have a command and are no requests."""

ABOUT_JOBS: Final = frozenset(
    str(kind.__struct_config__.tag) for kind in get_args(RequesterControl) if kind not in (Auth, Cancel, Ping)
)
"""The types of messages about jobs. Their failures are addressed as those of requests are."""

BrokerControl = (
    Expiring
    | LoggedIn
    | Pong
    | Receipt
    | Changed
    | JobAnswer
    | Jobs
    | Schedules
    | Greeted
    | JobAssigned
    | JobEnded
)
"""Broker to requester: what is neither a response nor a failure."""


# --- worker port: from the worker -----------------------------------------------------------------------------------


class Claim(Struct, gc=False):
    """An attempt that a worker was given over an earlier connection, and runs or has ended without being told
    `settled`."""

    msg_id: MessageId
    job_id: JobId
    attempt: Annotated[int, Meta(ge=1)]


class Defaults(Struct, gc=False, omit_defaults=True):
    """What a handler declares for jobs of its command; the submitter's options come first."""

    attempts: Attempts | None = None
    backoff: Backoff | Backoffs | None = None
    timeout: JobTimeout | None = None


class Hello(Struct, gc=False):
    """What a worker declares in `connect`."""

    commands: Annotated[list[Name], Meta(min_length=1, max_length=limits.COMMANDS_COUNT_MAX)]
    name: Name | None = None
    instance: Annotated[str, Meta(max_length=limits.NAME_LENGTH_MAX)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=limits.CONCURRENCY_MAX)] = limits.CONCURRENCY_DEFAULT
    weight: Annotated[float, Meta(ge=limits.WEIGHT_MIN, le=limits.WEIGHT_MAX)] = limits.WEIGHT_DEFAULT
    labels: Labels = {}
    canary: Name | None = None
    running: Annotated[list["Claim"], Meta(max_length=limits.RUNNING_COUNT_MAX)] = []
    defaults: dict[Name, "Defaults"] = {}
    sdk: Annotated[str, Meta(max_length=limits.NAME_LENGTH_MAX)] | None = None


class WorkerConnect(Struct, tag_field="type", tag="connect"):
    """Worker to broker: the first message of a connection."""

    data: Hello
    msg_id: MessageId | None = None
    timestamp: float | None = None


class Reason(Struct, frozen=True):
    """Why something ends, for people."""

    reason: str | None = None


class Disconnect(Struct, tag_field="type", tag="disconnect"):
    """Worker to broker: assign nothing more; I finish what I have and leave. Broker to worker: agreed (no assignment
    follows this answer), or, unasked, the broker itself is stopping."""

    data: Reason = Reason()
    msg_id: MessageId | None = None
    timestamp: float | None = None


class Heartbeat(Struct, tag_field="type", tag="heartbeat"):
    """In both directions on the worker port; the broker answers a worker's with the same msg_id."""

    msg_id: MessageId | None = None
    timestamp: float | None = None


class Credential(Struct):
    """What proves an identity."""

    token: Token


class WorkerAuth(Struct, tag_field="type", tag="auth"):
    """Worker to broker: a fresh token for this connection, of the same identity."""

    data: Credential
    msg_id: MessageId | None = None
    timestamp: float | None = None


class Result(Struct, gc=False, omit_defaults=True):
    """How an assignment ended: `result` if it succeeded, else `error` and perhaps `code`. `retry`, of an attempt that
    failed: after so many seconds; true: as the job's terms say; false: never."""

    success: bool
    result: Raw | UnsetType = UNSET
    error: str | None = None
    code: str | None = None
    retry: bool | Annotated[float, Meta(ge=0, le=limits.DELAY_S_MAX)] | None = None


class WorkerResponse(Struct, tag_field="type", tag="response", gc=False, omit_defaults=True):
    """Worker to broker: the end of the assignment with this msg_id."""

    msg_id: MessageId
    data: Result
    timestamp: float | None = None


class Fault(Struct):
    """What was wrong with a message: a code of the registry and a text for people."""

    code: str
    error: str


class ErrorMessage(Struct, tag_field="type", tag="error"):
    """In both directions on the worker port: your message (`msg_id`, if it could be read) was not understood."""

    data: Fault
    msg_id: str | None = None
    timestamp: float | None = None


class Notification(Struct, tag_field="type", tag="notification"):
    """Worker to broker: the progress of an attempt, which the view of its job shows; of other assignments it is
    accepted and not passed on in this version."""

    msg_id: MessageId | None = None
    data: Raw | UnsetType = UNSET


class Custom(Struct, tag_field="type", tag="custom"):
    """Worker to broker: a message of the user's own. Accepted, and not passed on in this version."""

    msg_id: MessageId | None = None


FromWorker = (
    WorkerConnect
    | WorkerAuth
    | Disconnect
    | Heartbeat
    | WorkerResponse
    | ErrorMessage
    | Notification
    | Custom
)


# --- worker port: from the broker -----------------------------------------------------------------------------------


class Welcome(Struct):
    """What the broker sends to a worker that it has registered. Seconds and bytes."""

    worker_id: str
    heartbeat_interval: float = limits.HEARTBEAT_INTERVAL_S
    silence_max: float = limits.SILENCE_S_MAX
    message_size_bytes_max: int = limits.MESSAGE_SIZE_BYTES_MAX
    broker: str = ""


class Connected(Struct, tag_field="type", tag="connect"):
    """Broker to worker: the answer to `connect`."""

    data: Welcome
    msg_id: str | None = None
    timestamp: float | None = None


class Login(Struct, omit_defaults=True):
    """How `auth` ended; see LoggedIn."""

    success: bool
    identity: str | None = None
    expires_in: float | None = None
    code: str | None = None
    error: str | None = None


class WorkerLoggedIn(Struct, tag_field="type", tag="auth"):
    """Broker to worker: the answer to `auth`."""

    data: Login
    msg_id: str | None = None
    timestamp: float | None = None


class Expiry(Struct):
    """When a login runs out, in seconds from now."""

    expires_in: float


class WorkerExpiring(Struct, tag_field="type", tag="expiring"):
    """Broker to worker: the login of this connection runs out."""

    data: Expiry
    timestamp: float | None = None


class Call(Struct, gc=False, omit_defaults=True):
    """What is to run, and the seconds left for it."""

    action: str
    params: Raw
    timeout: float
    request_id: str
    trace: str | None = None
    job: "AttemptOf | None" = None


class AttemptOf(Struct, gc=False):
    """Which attempt of which job an assignment is. It is kept through a lost connection: claim it in `connect`, and
    send its response again until `settled` arrives."""

    job_id: str
    attempt: int
    is_last: bool


class AssignmentMessage(Struct, tag_field="type", tag="request", gc=False):
    """Broker to worker: run this. Answered by one `response` with the same msg_id."""

    msg_id: str
    timestamp: float
    data: Call


class CancelAssignment(Struct, tag_field="type", tag="cancel"):
    """Broker to worker: the result of this assignment is no longer needed. It still ends with a `response`, which frees
    its slot."""

    msg_id: str
    data: Reason = Reason()
    timestamp: float | None = None


class Settled(Struct, tag_field="type", tag="settled", gc=False):
    """Broker to worker: this attempt is over. Its response is on disk, or is not wanted: stop it if it still runs, and
    forget it; it has no slot any more."""

    msg_id: str
    timestamp: float | None = None


FromBroker = (
    Connected
    | AssignmentMessage
    | CancelAssignment
    | Settled
    | Disconnect
    | Heartbeat
    | ErrorMessage
    | WorkerLoggedIn
    | WorkerExpiring
)


class AnyId(Struct):
    """The ids of a message that could not be decoded, whatever its type: its error is addressed by them."""

    request_id: object = None
    msg_id: object = None
    type: object = None


def text_or_none(value: object) -> str | None:
    """`value` if it is a text that an error may be addressed with (at most 128 characters), else None."""
    return value if isinstance(value, str) and len(value) <= limits.REQUEST_ID_LENGTH_MAX else None
