"""The record of one assignment while it runs."""

import asyncio
import time
from concurrent.futures import Future

from msgspec import Struct

from .process_pool import ProcessReport


class Assignment(Struct, eq=False):
    """One assignment from its arrival to its response.

    `deadline` is in seconds by `time.monotonic()`. `cancel_reason` is set, once, when its result is no longer needed.
    `is_started` says that the handler's own code has started. `task` runs a coroutine handler, `future` stands for
    one in a process. (A Struct because one is made for each request: that takes a third of the time of a class.)
    """

    msg_id: str
    request_id: str
    command: str
    trace: str | None
    deadline: float
    cancel_reason: str | None = None
    is_started: bool = False
    task: asyncio.Task[None] | None = None
    future: Future[ProcessReport] | None = None

    def is_wanted(self) -> bool:
        """Its result may still be needed: it is not cancelled, and its deadline has not passed. From any thread."""
        return self.cancel_reason is None and time.monotonic() < self.deadline
