"""The requester SDK: an asynchronous client and a blocking, thread-safe one.

Knows how to send a request and to end each call by its deadline. Must not know the broker's insides, nor the worker.
"""

from ..protocol.errors import (
    BadMessage,
    BadRequest,
    BrokerStopped,
    Cancelled,
    CannotConnect,
    ConnectionLost,
    DuplicateRequestId,
    HandlerError,
    NoAvailableWorkers,
    NotRepresentable,
    Overloaded,
    ShuttingDown,
    TaskferryError,
    TooLarge,
    UnknownAssignment,
    UnknownCommand,
    WorkerIdTaken,
    WorkerLost,
    WorkerTimeout,
)
from .blocking import BlockingRequester
from .client import Requester
from .response import Response

__all__ = [
    "BadMessage",
    "BadRequest",
    "BlockingRequester",
    "BrokerStopped",
    "Cancelled",
    "CannotConnect",
    "ConnectionLost",
    "DuplicateRequestId",
    "HandlerError",
    "NoAvailableWorkers",
    "NotRepresentable",
    "Overloaded",
    "Requester",
    "Response",
    "ShuttingDown",
    "TaskferryError",
    "TooLarge",
    "UnknownAssignment",
    "UnknownCommand",
    "WorkerIdTaken",
    "WorkerLost",
    "WorkerTimeout",
]
