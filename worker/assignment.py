"""The record of one assignment while it runs. Knows when it must end; knows nothing of how it is run."""

import asyncio
import time
from concurrent.futures import Future

from msgspec import Struct

from .process_pool import ProcessReport


class Assignment(Struct, eq=False):
    """One assignment from its arrival to its response.

    `deadline` is in seconds by `time.monotonic()`. `cancel_reason` is set, once, when nobody waits for it any more.
    `is_started` says that the handler's own code has begun. `task` runs a coroutine handler, `future` stands for
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
        """Somebody may still wait for it: it is not cancelled, and its deadline has not passed. From any thread."""
        return self.cancel_reason is None and time.monotonic() < self.deadline
