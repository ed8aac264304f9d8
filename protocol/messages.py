"""Every message of the wire as a typed structure, with the bound of each field; those about jobs: job_messages.py;
those of streams and topics: stream_messages.py, topic_messages.py; gathers, and messages of the user's own:
gather_messages.py.

`data`, `params` and results stay raw bytes in the sender's encoding: the broker passes them on and never looks inside.
Unknown fields are ignored, so that a newer peer can talk to an older one. PROTOCOL.md says what each message means.
"""

from typing import Annotated, Final, Literal, get_args

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from . import limits
from .field_types import (
    Affinity,
    Attempts,
    Backoff,
    Backoffs,
    CommandName,
    Device,
    Hedge,
    JobId,
    JobTimeout,
    Label,
    Labels,
    MessageId,
    Name,
    Priority,
    RequestId,
    Target,
    Timeout,
    Token,
    Trace,
)
from .gather_messages import Broadcast, Broadcasted, Custom, Delivered, Gather, ItemMessage, Send, Sent
from .job_messages import (
    Ack,
    Await,
    Changed,
    Filter,
    Greeted,
    Greeting,
    Job,
    JobAnswer,
    JobAssigned,
    JobEnded,
    Jobs,
    ListJobs,
    Receipt,
    Remove,
    Retry,
    Schedule,
    ScheduleAction,
    Schedules,
    Submit,
)
from .stream_messages import Chunk, Credit, Progress, Reset, Stream, WorkerChunk, WorkerCredit
from .topic_messages import (
    BatchMessage,
    FromSubscriber,
    GapMessage,
    Publish,
    Published,
    Subscribe,
    Subscribed,
    TopicError,
    Unsubscribe,
    Unsubscribed,
    WorkerPublish,
)

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
    stream: Stream = False
    gather: Gather | None = None
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
    | Credit
    | Ping
    | Broadcast
    | Send
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
    | Subscribe
    | Unsubscribe
    | Publish
)
"""Requester to broker: what is not a request."""

WITH_COMMAND: Final = frozenset(str(kind.__struct_config__.tag) for kind in (Submit, Schedule))
"""The types of messages that have a command and are no requests."""

ABOUT_JOBS: Final = frozenset(
    str(kind.__struct_config__.tag)
    for kind in get_args(RequesterControl)
    if kind not in (Auth, Cancel, Credit, Ping, Broadcast, Send, *get_args(FromSubscriber))
)
"""The types of messages about jobs. Their failures are addressed as those of requests are."""

ABOUT_TOPICS: Final = frozenset(str(kind.__struct_config__.tag) for kind in get_args(FromSubscriber))
"""The types of messages about topics. Their errors are addressed by their `id`."""

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
    | Progress
    | Chunk
    | Reset
    | Subscribed
    | Unsubscribed
    | Published
    | BatchMessage
    | GapMessage
    | TopicError
    | ItemMessage
    | Broadcasted
    | Sent
    | Delivered
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
    places: "Places | None" = None
    sdk: Annotated[str, Meta(max_length=limits.NAME_LENGTH_MAX)] | None = None
    device: Device = {}


class Places(Struct, gc=False):
    """Some of a worker's commands take a place besides a slot, and there are so many."""

    commands: Annotated[list[Name], Meta(min_length=1, max_length=limits.COMMANDS_COUNT_MAX)]
    count: Annotated[int, Meta(ge=1, le=limits.CONCURRENCY_MAX)]


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
    """What was wrong with a message: a code of the registry and a text for people; and if it is only too early, after
    how many seconds the same may succeed."""

    code: str
    error: str
    retry_after: float | UnsetType = UNSET


class ErrorMessage(Struct, tag_field="type", tag="error"):
    """In both directions on the worker port: your message (`msg_id`, if it could be read) was not understood."""

    data: Fault
    msg_id: str | None = None
    timestamp: float | None = None


class Notification(Struct, tag_field="type", tag="notification"):
    """Worker to broker: the progress of an assignment. It is passed on to a requester that wants it, and the view of a
    job shows that of its attempt."""

    msg_id: MessageId | None = None
    data: Raw | UnsetType = UNSET


FromWorker = (
    WorkerConnect
    | WorkerAuth
    | Disconnect
    | Heartbeat
    | WorkerResponse
    | ErrorMessage
    | Notification
    | WorkerChunk
    | WorkerPublish
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
    """What is to run, and the seconds left for it. `stream`: its chunks are wanted."""

    action: str
    params: Raw
    timeout: float
    request_id: str
    trace: str | None = None
    job: "AttemptOf | None" = None
    stream: bool = False


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
    | WorkerCredit
    | Settled
    | Delivered
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
    id: object = None
    type: object = None


def text_or_none(value: object) -> str | None:
    """`value` if it is a text that an error may be addressed with (at most 128 characters), else None."""
    return value if isinstance(value, str) and len(value) <= limits.REQUEST_ID_LENGTH_MAX else None
