"""The error registry: every way in which a request, or a message, can fail.

One class per code. The `code` field of the wire, the exceptions that both SDKs raise, the `outcome` label of the
metrics and the table in PROTOCOL.md all come from here; tests compare them.
"""

import re
from typing import ClassVar, Final, Literal

from .limits import CODE_LENGTH_MAX, ENVELOPE_SIZE_BYTES_MAX

Blame = Literal["requester", "worker", "broker"]

NOT_DELIVERED: Final = "not_delivered"
MAY_HAVE_RUN: Final = "may_have_run"
"""The values of `delivery`."""


class TaskferryError(Exception):
    """Base of all errors of the registry; only its subclasses are raised.

    `code` is what programs compare; `message` is the default text; `retryable` says that the command certainly did not
    run and that sending the request again may succeed; `blame` names the side that can fix it.

    Of one failure: `delivery` is `not_delivered` if no worker can have started it, `may_have_run` if one may have, None
    if its handler answered or it is unknown. `queue_wait_s` is how long it waited for a free slot, `retry_after_s` how
    long to wait before sending it again; both None if unknown.
    """

    code: str
    message: ClassVar[str]
    retryable: bool = False
    blame: ClassVar[Blame]
    delivery: str | None = None
    queue_wait_s: float | None = None
    retry_after_s: float | None = None

    def __init__(
        self, text: str | None = None, *, request_id: str | None = None, processed_by: str | None = None
    ) -> None:
        self.text = text or self.message
        self.request_id = request_id
        self.processed_by = processed_by
        super().__init__(self.text)


class NoAvailableWorkers(TaskferryError):
    """No connected worker serves the command, or none that matches the request's target."""

    code = "no_available_workers"
    message = "No available workers"
    retryable = True
    blame = "worker"


class WorkerTimeout(TaskferryError):
    """The deadline passed first. The command may have run, or still be running; its worker was asked to cancel it."""

    code = "timeout"
    message = "Worker response timeout"
    blame = "worker"


class WorkerLost(TaskferryError):
    """The worker's link broke after the request had been written to it."""

    code = "worker_lost"
    message = "Worker lost: the command may have run"
    blame = "worker"


class HandlerError(TaskferryError):
    """The command ran and failed. A handler may give its own code, which is passed on unchanged."""

    code = "handler_error"
    message = "Handler failed"
    blame = "worker"


class UnknownCommand(TaskferryError):
    """The worker was assigned a command that it does not serve."""

    code = "unknown_command"
    message = "Worker does not serve this command"
    retryable = True
    blame = "worker"


class BadRequest(TaskferryError):
    """A message from a requester that breaks the protocol, or `data` that does not fit the handler's parameters."""

    code = "bad_request"
    message = "Bad request"
    blame = "requester"


class DuplicateRequestId(TaskferryError):
    """A request_id that is already in flight on the same connection. The first request continues."""

    code = "duplicate_request_id"
    message = "request_id is already in flight on this connection"
    blame = "requester"


class TooLarge(TaskferryError):
    """`data` or a result over its size bound."""

    code = "too_large"
    message = "Too large"
    blame = "requester"


def size_fault(what: str, size_bytes: int, size_bytes_max: int) -> str:
    """The text of a TooLarge for a broker's bound on data and results, which names the setting."""
    bound = f"message_size_bytes_max of the broker less {ENVELOPE_SIZE_BYTES_MAX}"
    return f"{what}: {size_bytes} bytes, at most {size_bytes_max} ({bound})"


class NotRepresentable(TaskferryError):
    """A value that the other side's encoding cannot hold, such as an integer over 64 bits in MessagePack."""

    code = "not_representable"
    message = "Value cannot be represented in the receiver's encoding"
    blame = "requester"


class Overloaded(TaskferryError):
    """A bound on waiting or in-flight requests has been reached."""

    code = "overloaded"
    message = "Broker overloaded"
    retryable = True
    blame = "broker"


class RateLimited(TaskferryError):
    """More messages or bytes in a second than this identity, or this address, may send."""

    code = "rate_limited"
    message = "Rate limited"
    retryable = True
    blame = "requester"


class Unauthenticated(TaskferryError):
    """The broker does not know who this is: no token, a wrong one, or one that has run out or was revoked."""

    code = "unauthenticated"
    message = "Not authenticated"
    blame = "requester"
    delivery = NOT_DELIVERED


class Forbidden(TaskferryError):
    """This identity may not do that."""

    code = "forbidden"
    message = "Forbidden"
    blame = "requester"
    delivery = NOT_DELIVERED


class Cancelled(TaskferryError):
    """The requester cancelled the request. The command may have run partly."""

    code = "cancelled"
    message = "Request cancelled"
    blame = "requester"


class ShuttingDown(TaskferryError):
    """The broker is draining and accepts no new requests."""

    code = "shutting_down"
    message = "Broker is shutting down"
    retryable = True
    blame = "broker"


class BrokerStopped(TaskferryError):
    """The broker's drain grace ended before the worker responded. The command may have run."""

    code = "broker_stopped"
    message = "Broker stopped before the worker answered: the command may have run"
    blame = "broker"


class BadMessage(TaskferryError):
    """A message from a worker that breaks the protocol."""

    code = "bad_message"
    message = "Bad message"
    blame = "worker"


class UnknownAssignment(TaskferryError):
    """A worker responded to a msg_id that it does not hold: already ended, another worker's, or never assigned."""

    code = "unknown_assignment"
    message = "No such assignment at this worker"
    blame = "worker"


class WorkerIdTaken(TaskferryError):
    """A worker asked for a name under which another one is connected."""

    code = "worker_id_taken"
    message = "Another worker is connected under this name"
    blame = "worker"


class JobIdConflict(TaskferryError):
    """The job_id belongs to a job with another command, other data or other options."""

    code = "job_id_conflict"
    message = "Another job has this job_id"
    blame = "requester"
    delivery = NOT_DELIVERED


class NotUnique(TaskferryError):
    """A job with the same `unique` key is open, and this submission is rejected for it."""

    code = "not_unique"
    message = "A job with the same unique key is open"
    blame = "requester"
    delivery = NOT_DELIVERED


class UnknownJob(TaskferryError):
    """No job or schedule has this name, or it is not one that this identity may see. Perhaps it was removed after its
    time."""

    code = "unknown_job"
    message = "No such job"
    blame = "requester"


class WrongState(TaskferryError):
    """The job's state does not allow this: only an open job is cancelled, a dead or cancelled one retried, an ended one
    removed."""

    code = "wrong_state"
    message = "The job's state does not allow this"
    blame = "requester"


class AfterFailed(TaskferryError):
    """A job that had to be done first has ended otherwise."""

    code = "after_failed"
    message = "A job that had to be done first was not"
    blame = "requester"
    delivery = NOT_DELIVERED


class Expired(TaskferryError):
    """The job's `expires_at` has passed before an attempt began, or between two."""

    code = "expired"
    message = "Expired before it was done"
    blame = "worker"


class WorkerStopping(TaskferryError):
    """The worker stops in an orderly way and gives back an attempt that it has not finished. It costs the job
    nothing."""

    code = "worker_stopping"
    message = "The worker is stopping and has given the attempt back"
    blame = "worker"


class JournalFailed(TaskferryError):
    """The journal cannot be written: a full disk, or one that fails. Nothing was accepted."""

    code = "journal_failed"
    message = "The broker cannot write its journal"
    retryable = True
    blame = "broker"
    delivery = NOT_DELIVERED


class JobsOff(TaskferryError):
    """This broker keeps no jobs: it was started without a journal, or another broker has the journal."""

    code = "jobs_off"
    message = "This broker keeps no jobs"
    blame = "broker"
    delivery = NOT_DELIVERED


class UnknownMessageType(TaskferryError):
    """A message of the user's own that nobody at the broker handles: no plugin has its kind."""

    code = "unknown_message_type"
    message = "No plugin of the broker handles messages of this kind"
    blame = "requester"


class UnknownReceiver(TaskferryError):
    """A message of the user's own to a worker or connection that is not there."""

    code = "unknown_receiver"
    message = "No such worker or connection"
    blame = "requester"


class CannotConnect(TaskferryError):
    """Raised by SDKs only: there was no link to a broker before the deadline. Nothing was sent."""

    code = "cannot_connect"
    message = "Cannot connect to the broker"
    retryable = True
    blame = "broker"
    delivery = NOT_DELIVERED


class ConnectionLost(TaskferryError):
    """Raised by SDKs only: the link to the broker broke after the request was sent. The command may have run."""

    code = "connection_lost"
    message = "Connection to the broker lost: the command may have run"
    blame = "broker"
    delivery = MAY_HAVE_RUN


REGISTRY: Final[dict[str, type[TaskferryError]]] = {
    error.code: error
    for error in (
        NoAvailableWorkers,
        WorkerTimeout,
        WorkerLost,
        HandlerError,
        UnknownCommand,
        BadRequest,
        DuplicateRequestId,
        TooLarge,
        NotRepresentable,
        Overloaded,
        RateLimited,
        Unauthenticated,
        Forbidden,
        Cancelled,
        ShuttingDown,
        BrokerStopped,
        BadMessage,
        UnknownAssignment,
        WorkerIdTaken,
        JobIdConflict,
        NotUnique,
        UnknownJob,
        WrongState,
        AfterFailed,
        Expired,
        WorkerStopping,
        JournalFailed,
        JobsOff,
        UnknownMessageType,
        UnknownReceiver,
        CannotConnect,
        ConnectionLost,
    )
}
"""Every code of the registry and its class, in the order of PROTOCOL.md's table."""

WORKER_CODES: Final = frozenset(
    error.code
    for error in (
        HandlerError,
        UnknownCommand,
        BadRequest,
        TooLarge,
        Cancelled,
        NotRepresentable,
        WorkerStopping,
        WorkerLost,
    )
)
"""The codes of the registry that a worker may send in a response. It cannot claim what only the broker can know, such
as `timeout`."""

REQUESTER_CODES: Final = frozenset(code for code in WORKER_CODES if REGISTRY[code].blame == "requester")
"""Those of them that are not the worker's fault."""

_CODE_SHAPE: Final = re.compile(rf"[a-z][a-z0-9_]{{0,{CODE_LENGTH_MAX - 1}}}")


def worker_code(code: str | None) -> str:
    """The code that the requester gets for a failure to which a worker gave `code`.

    A handler's own code is passed on if it matches `[a-z][a-z0-9_]*`, has at most 64 characters, and is not one that
    only the broker may give; anything else becomes `handler_error`.
    """
    if code is None:
        return HandlerError.code
    if code in REGISTRY:
        return code if code in WORKER_CODES else HandlerError.code
    return code if _CODE_SHAPE.fullmatch(code) else HandlerError.code


def outcome_label(code: str) -> str:
    """The metric label for an error code: the code if registered, else `handler_error`, which bounds the labels."""
    return code if code in REGISTRY else HandlerError.code


def error_from_wire(
    code: str,
    text: str,
    *,
    request_id: str | None = None,
    processed_by: str | None = None,
    delivery: str | None = None,
    queue_wait_s: float | None = None,
    retry_after_s: float | None = None,
) -> TaskferryError:
    """The exception for a failed response: the registry's class, or HandlerError with a handler's own code.

    `delivery` is what the response says, None if it says nothing. What may have run is never `retryable`.
    """
    error = REGISTRY.get(code, HandlerError)(text, request_id=request_id, processed_by=processed_by)
    error.code = code
    error.delivery = delivery
    error.retryable = error.retryable and delivery != MAY_HAVE_RUN
    error.queue_wait_s = queue_wait_s
    error.retry_after_s = retry_after_s
    return error
