"""Every message of the wire as a typed structure, with the bound of each field.

Knows shapes and bounds; knows neither how they are written (codec.py) nor what is done with them. `data`, `params`
and results stay raw bytes in the sender's encoding: the broker carries them and never looks inside. Unknown fields
are ignored, so that a newer peer can talk to an older one. PROTOCOL.md says what each message means.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from . import limits

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:@/-]*\Z"
NAME_RULE: Final = "only letters, digits and _ . : @ / - may be used, a letter or digit first"
"""NAME_PATTERN for people."""

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
"""When a second copy is sent: after so many seconds, or once a request has taken longer than that percentile of the
command's (`p1` to `p99`)."""


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
    """Requester to broker: give up a request in flight. It is answered with code `cancelled`."""

    request_id: RequestId


class Ping(Struct, tag_field="type", tag="ping"):
    """Requester to broker: are you there?"""

    request_id: RequestId | None = None


class Pong(Struct, tag_field="type", tag="pong"):
    """Broker to requester: yes."""

    request_id: str | None = None


class Response(Struct, gc=False):
    """Broker to requester: a request's one outcome, when it succeeded."""

    request_id: str
    success: bool
    data: Raw
    error: None
    processed_by: str | None


class Failure(Struct, gc=False):
    """Broker to requester: a request's one outcome, when it failed. `request_id` is null where none could be read."""

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
    """A response of either kind as a requester reads it."""

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
    """What a worker says of itself in `connect`."""

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
    """Worker to broker: assign nothing more; I finish what I have and leave. Broker to worker: so be it (the answer,
    after which no assignment follows), or, unasked, the broker itself is going away."""

    data: Reason = Reason()
    msg_id: MessageId | None = None
    timestamp: float | None = None


class Heartbeat(Struct, tag_field="type", tag="heartbeat"):
    """Either way on the worker port; the broker answers a worker's with the same msg_id."""

    msg_id: MessageId | None = None
    timestamp: float | None = None


class Result(Struct, gc=False, omit_defaults=True):
    """How an assignment ended: `result` when it succeeded, else `error` and perhaps `code`."""

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
    """Either way on the worker port: your message (`msg_id`, where it could be read) was not understood."""

    data: Fault
    msg_id: str | None = None
    timestamp: float | None = None


class Notification(Struct, tag_field="type", tag="notification"):
    """Worker to broker: progress of an assignment. Accepted; carried nowhere in this version."""

    msg_id: MessageId | None = None


class Custom(Struct, tag_field="type", tag="custom"):
    """Worker to broker: a message of the user's own. Accepted; carried nowhere in this version."""

    msg_id: MessageId | None = None


FromWorker = WorkerConnect | Disconnect | Heartbeat | WorkerResponse | ErrorMessage | Notification | Custom


# --- worker port: from the broker -----------------------------------------------------------------------------------


class Welcome(Struct):
    """What the broker tells a worker that it has taken in. Seconds and bytes."""

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


class Call(Struct, gc=False, omit_defaults=True):
    """What is to be run, and the seconds that are left for it."""

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
    """Broker to worker: nobody waits for this assignment any more. It still ends with a `response`, which frees its
    slot."""

    msg_id: str
    data: Reason = Reason()
    timestamp: float | None = None


FromBroker = Connected | AssignmentMessage | CancelAssignment | Disconnect | Heartbeat | ErrorMessage


class AnyId(Struct):
    """The ids of a message that did not decode otherwise, of whatever type: for addressing its error."""

    request_id: object = None
    msg_id: object = None
    type: object = None


def text_or_none(value: object) -> str | None:
    """`value` when it is a text that an error may be addressed with (at most 128 characters), else None."""
    return value if isinstance(value, str) and len(value) <= limits.REQUEST_ID_LENGTH_MAX else None
