"""Every message of the wire as a typed structure, with the bound of each field.

`data`, `params` and results stay raw bytes in the sender's encoding: the broker passes them on and never looks inside.
Unknown fields are ignored, so that a newer peer can talk to an older one. PROTOCOL.md says what each message means.
"""

from typing import Annotated, Final

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
    type: str | UnsetType = UNSET


class Cancel(Struct, tag_field="type", tag="cancel"):
    """Requester to broker: cancel a request in flight. Its response has the code `cancelled`."""

    request_id: RequestId


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


# --- worker port: from the worker -----------------------------------------------------------------------------------


class Hello(Struct, gc=False):
    """What a worker declares in `connect`."""

    commands: Annotated[list[Name], Meta(min_length=1, max_length=limits.COMMANDS_COUNT_MAX)]
    name: Name | None = None
    instance: Annotated[str, Meta(max_length=limits.NAME_LENGTH_MAX)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=limits.CONCURRENCY_MAX)] = limits.CONCURRENCY_DEFAULT
    weight: Annotated[float, Meta(ge=limits.WEIGHT_MIN, le=limits.WEIGHT_MAX)] = limits.WEIGHT_DEFAULT
    labels: Labels = {}
    canary: Name | None = None
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
    """How an assignment ended: `result` if it succeeded, else `error` and perhaps `code`."""

    success: bool
    result: Raw | UnsetType = UNSET
    error: str | None = None
    code: str | None = None


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
    """Worker to broker: progress of an assignment. Accepted, and not passed on in this version."""

    msg_id: MessageId | None = None


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


FromBroker = (
    Connected
    | AssignmentMessage
    | CancelAssignment
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
