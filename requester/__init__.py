"""The requester SDK: an asynchronous client and a blocking, thread-safe one."""

from typing import TYPE_CHECKING

from ..protocol.errors import (
    BadMessage,
    BadRequest,
    BrokerStopped,
    Cancelled,
    CannotConnect,
    ConnectionLost,
    DuplicateRequestId,
    Forbidden,
    HandlerError,
    NoAvailableWorkers,
    NotRepresentable,
    Overloaded,
    RateLimited,
    ShuttingDown,
    TaskferryError,
    TooLarge,
    Unauthenticated,
    UnknownAssignment,
    UnknownCommand,
    WorkerIdTaken,
    WorkerLost,
    WorkerTimeout,
)

if TYPE_CHECKING:
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
    "Forbidden",
    "HandlerError",
    "NoAvailableWorkers",
    "NotRepresentable",
    "Overloaded",
    "RateLimited",
    "Requester",
    "Response",
    "ShuttingDown",
    "TaskferryError",
    "TooLarge",
    "Unauthenticated",
    "UnknownAssignment",
    "UnknownCommand",
    "WorkerIdTaken",
    "WorkerLost",
    "WorkerTimeout",
]

_HOMES = {"BlockingRequester": "blocking", "Requester": "client", "Response": "response"}


def __getattr__(name: str) -> object:
    """Load the SDK when it is first used (PEP 562): `taskferry request --help` imports this module and needs none of
    it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only needed here

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
