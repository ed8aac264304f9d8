"""What a handler can see of the assignment that it is running: a read-only view."""

import time
from collections.abc import Awaitable

from .assignment import Assignment
from .outlet import DONE, Outlet
from .progress import Reports, word_of
from .publishing import Publishes


class Context:
    """Given to a handler that has a parameter annotated `Context`, whatever its name.

    Attributes: `request_id` (the requester's), `command`, `worker_id` (the name under which the broker knows this
    worker), `trace` (W3C traceparent, or None), `deadline` (seconds, by `time.monotonic()`); of a job also `job_id`,
    `attempt` and `is_last_attempt`.
    """

    __slots__ = ("_assignment", "_outlet", "_publishes", "_reports", "worker_id")

    def __init__(
        self,
        assignment: Assignment,
        worker_id: str,
        reports: Reports,
        outlet: Outlet,
        publishes: Publishes,
    ) -> None:
        self._publishes = publishes
        self._assignment = assignment
        self._reports = reports
        self._outlet = outlet
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
    def job_id(self) -> str | None:
        """The job that this is an attempt of: the same at each attempt, so that a handler can find out what an earlier
        one has done. None for a request."""
        job = self._assignment.job
        return None if job is None else job.job_id

    @property
    def attempt(self) -> int:
        """How often the job has been tried, this time included: 1 the first time. A request has one attempt: 1."""
        job = self._assignment.job
        return 1 if job is None else job.attempt

    @property
    def is_last_attempt(self) -> bool:
        """If this attempt fails, the job is dead. True for a request, whose only attempt this is."""
        job = self._assignment.job
        return True if job is None else job.is_last

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, 0.0 once it has passed."""
        return max(0.0, self._assignment.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """The result is no longer needed: cancelled, past the deadline, or the worker stops; of a request also if the
        broker is lost. An attempt of a job goes on without a broker, and its result is kept for it.

        A coroutine is cancelled. A handler in a thread cannot be stopped from outside: one that runs for long checks
        this, or calls `raise_if_cancelled`, now and then.
        """
        if self._assignment.cancellation is None:
            return False
        self._assignment.is_told = True
        return True

    def raise_if_cancelled(self) -> None:
        """End the handler here if it was cancelled, by an exception that `except Exception` does not catch."""
        self._assignment.raise_if_cancelled()

    def progress(
        self,
        share: float | None = None,
        text: str | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
    ) -> Awaitable[None]:
        """Report how far the handler is: `share` of the work, from 0 to 1; `text`, such as "reading", of which at most
        256 characters are sent; and that `current` of `total` are done, which without a share gives it. The view of a
        job shows it, and a requester gets it that wants it.

        From coroutines, threads and processes, as often as you like: the latest word is sent, at most ten times a
        second, and the last one before the result. It waits for nothing; what it returns can be awaited or not. Raises
        TypeError if nothing is given.
        """
        self._reports.report(self._assignment, word_of(share, text, current, total))
        return DONE

    def publish(self, topic: str, data: object = None) -> Awaitable[None]:
        """Send `data`, anything that a result can be, to all that have subscribed to `topic`.

        From coroutines, threads and processes. It waits for nothing; what it returns can be awaited or not. News are
        worth nothing later: without a connection they are dropped. Raises CommandError if the data cannot be written,
        or is over 64 KiB; ValueError for a topic over 160 characters, or with a `*`. A topic that is the broker's own,
        or not this worker's to publish to, is refused by the broker, which the worker's log says.
        """
        self._publishes.publish(topic, data)
        return DONE

    def send(self, chunk: object) -> Awaitable[None]:
        """Send a part of what comes of it: anything that a result can be, of at most the size of one.

        Await it in a coroutine. Elsewhere it blocks. It takes until the requester, or a broker on its way, has room: 64
        chunks and 256 KiB may be on their way. If the requester has not asked for a stream, the chunk is dropped.

        Raises CommandError if the chunk cannot be written, or is too large; RuntimeError once the handler has ended. A
        cancelled handler gets ContextCancelled here, unless it is a coroutine, which gets CancelledError wherever it
        waits.
        """
        return self._outlet.send(chunk)
