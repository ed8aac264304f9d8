"""What a handler can see of the assignment that it is running: a read-only view."""

import time

from .assignment import Assignment
from .failure import ContextCancelled


class Context:
    """Given to a handler that has a parameter annotated `Context`, whatever its name.

    Attributes: `request_id` (the requester's), `command`, `worker_id` (the name under which the broker knows this
    worker), `trace` (W3C traceparent, or None), `deadline` (seconds, by `time.monotonic()`).
    """

    __slots__ = ("_assignment", "worker_id")

    def __init__(self, assignment: Assignment, worker_id: str) -> None:
        self._assignment = assignment
        self.worker_id = worker_id

    @property
    def request_id(self) -> str:
        return self._assignment.request_id

    @property
    def command(self) -> str:
        return self._assignment.command

    @property
    def trace(self) -> str | None:
        return self._assignment.trace

    @property
    def deadline(self) -> float:
        return self._assignment.deadline

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, 0.0 once it has passed."""
        return max(0.0, self._assignment.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """The result is no longer needed: cancelled, past the deadline, or the broker is lost.

        A coroutine is cancelled. A handler in a thread cannot be stopped from outside: one that runs for long checks
        this, or calls `raise_if_cancelled`, now and then.
        """
        return self._assignment.cancel_reason is not None

    def raise_if_cancelled(self) -> None:
        """End the handler here if it was cancelled, by an exception that `except Exception` does not catch."""
        if self._assignment.cancel_reason is not None:
            raise ContextCancelled(self._assignment.cancel_reason)
