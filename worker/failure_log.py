"""What a worker logs of handlers that fail: where, and the exception's type. Its words, which may hold data of a
request, only if the operator wants them. Without the frames of this package, which called the handler.
"""

import logging

from ..log.event import log_event
from . import events
from .assignment import Assignment
from .failure import describe_exception, outside

logger = logging.getLogger(__name__)


class FailureLog:
    """Logs each failure once. `keeps_words`: with the exception's message."""

    __slots__ = ("_keeps_words",)

    def __init__(self, *, keeps_words: bool) -> None:
        self._keeps_words = keeps_words

    def raised(self, assignment: Assignment, error: BaseException) -> None:
        """The handler raised `error`, in this process."""
        name = describe_exception(error) if self._keeps_words else type(error).__name__
        event = events.HandlerFailed(assignment.command, assignment.request_id, name)
        log_event(logger, event, error=outside(error))

    def raised_elsewhere(self, assignment: Assignment, described: str, traceback: str) -> None:
        """It raised in another process what `describe_exception` has described."""
        name = described if self._keeps_words else described.partition(":")[0]
        log_event(logger, events.HandlerFailed(assignment.command, assignment.request_id, name, traceback))

    def raised_while_cancelled(self, assignment: Assignment, error: BaseException) -> None:
        """It raised `error` instead of ending."""
        log_event(logger, events.CancelledHandlerFailed(assignment.command), error=outside(error))
