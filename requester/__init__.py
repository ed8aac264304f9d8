"""The requester SDK: an asynchronous client and a blocking, thread-safe one."""

from typing import TYPE_CHECKING

from ..protocol.errors import (
    AfterFailed,
    BadMessage,
    BadRequest,
    BrokerStopped,
    Cancelled,
    CannotConnect,
    ConnectionLost,
    DuplicateRequestId,
    Expired,
    Forbidden,
    HandlerError,
    JobIdConflict,
    JobsOff,
    JournalFailed,
    NoAvailableWorkers,
    NotRepresentable,
    NotUnique,
    Overloaded,
    RateLimited,
    ShuttingDown,
    TaskferryError,
    TooLarge,
    Unauthenticated,
    UnknownAssignment,
    UnknownCommand,
    UnknownJob,
    UnknownMessageType,
    UnknownReceiver,
    WorkerIdTaken,
    WorkerLost,
    WorkerStopping,
    WorkerTimeout,
    WrongState,
)

if TYPE_CHECKING:
    from ..program.own_messages import Message
    from .answers import FailedAttempt, GatheredItem, JobView, ScheduleView
    from .blocking import BlockingRequester
    from .blocking_stream import BlockingStream
    from .blocking_subscription import BlockingSubscription
    from .client import Requester
    from .gather import Gathered
    from .jobs.blocking_job import BlockingJob
    from .jobs.inbox import EndedJob
    from .jobs.job import Job
    from .jobs.questions import JobFilter, JobNotEnded
    from .jobs.receipts import JobChunk, JobReceipt
    from .jobs.submission import ScheduleOptions, SubmitOptions, Terms, UniqueTerms
    from .progress import Progress
    from .response import Response
    from .stream import Stream
    from .subscription import Subscription
    from .topic_events import Gap, TopicEvent

__all__ = [
    "AfterFailed",
    "BadMessage",
    "BadRequest",
    "BlockingJob",
    "BlockingRequester",
    "BlockingStream",
    "BlockingSubscription",
    "BrokerStopped",
    "Cancelled",
    "CannotConnect",
    "ConnectionLost",
    "DuplicateRequestId",
    "EndedJob",
    "Expired",
    "FailedAttempt",
    "Forbidden",
    "Gap",
    "Gathered",
    "GatheredItem",
    "HandlerError",
    "Job",
    "JobChunk",
    "JobFilter",
    "JobIdConflict",
    "JobNotEnded",
    "JobReceipt",
    "JobView",
    "JobsOff",
    "JournalFailed",
    "Message",
    "NoAvailableWorkers",
    "NotRepresentable",
    "NotUnique",
    "Overloaded",
    "Progress",
    "RateLimited",
    "Requester",
    "Response",
    "ScheduleOptions",
    "ScheduleView",
    "ShuttingDown",
    "Stream",
    "SubmitOptions",
    "Subscription",
    "TaskferryError",
    "Terms",
    "TooLarge",
    "TopicEvent",
    "Unauthenticated",
    "UniqueTerms",
    "UnknownAssignment",
    "UnknownCommand",
    "UnknownJob",
    "UnknownMessageType",
    "UnknownReceiver",
    "WorkerIdTaken",
    "WorkerLost",
    "WorkerStopping",
    "WorkerTimeout",
    "WrongState",
]

_HOMES = {
    "BlockingJob": "jobs.blocking_job",
    "BlockingRequester": "blocking",
    "BlockingStream": "blocking_stream",
    "BlockingSubscription": "blocking_subscription",
    "EndedJob": "jobs.inbox",
    "FailedAttempt": "answers",
    "Gap": "topic_events",
    "Gathered": "gather",
    "GatheredItem": "answers",
    "Job": "jobs.job",
    "JobFilter": "jobs.questions",
    "JobNotEnded": "jobs.questions",
    "JobChunk": "jobs.receipts",
    "JobReceipt": "jobs.receipts",
    "JobView": "answers",
    "Message": ".program.own_messages",
    "Requester": "client",
    "Progress": "progress",
    "Response": "response",
    "ScheduleOptions": "jobs.submission",
    "ScheduleView": "answers",
    "Stream": "stream",
    "SubmitOptions": "jobs.submission",
    "Subscription": "subscription",
    "Terms": "jobs.submission",
    "TopicEvent": "topic_events",
    "UniqueTerms": "jobs.submission",
}


def __getattr__(name: str) -> object:
    """Load the SDK when it is first used (PEP 562): `taskferry request --help` imports this module and needs none of
    it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only needed here

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
