"""The record of one assignment while it runs. Knows when it must end; knows nothing of how it is run."""

import asyncio
import time
from concurrent.futures import Future

from ..protocol.messages import AssignmentMessage
from .process_pool import ProcessReport


class Assignment:
    """One assignment from its arrival to its response.

    `deadline` is in seconds by `time.monotonic()`. `cancel_reason` is set, once, when nobody waits for it any more.
    `is_started` says that the handler's own code has begun. `task` runs a coroutine handler, `future` stands for
    one in a process.
    """

    __slots__ = (
        "cancel_reason",
        "command",
        "deadline",
        "future",
        "is_started",
        "msg_id",
        "request_id",
        "task",
        "trace",
    )

    def __init__(self, message: AssignmentMessage, received_at: float) -> None:
        call = message.data
        self.msg_id = message.msg_id
        self.request_id = call.request_id
        self.command = call.action
        self.trace = call.trace
        self.deadline = received_at + call.timeout
        self.cancel_reason: str | None = None
        self.is_started = False
        self.task: asyncio.Task[None] | None = None
        self.future: Future[ProcessReport] | None = None

    def is_wanted(self) -> bool:
        """Somebody may still wait for it: it is not cancelled, and its deadline has not passed. From any thread."""
        return self.cancel_reason is None and time.monotonic() < self.deadline
