"""The record of one assignment while it runs, and why its result may no longer be needed."""

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from ..protocol import errors
from ..protocol.messages import AttemptOf
from .failure import ContextCancelled

if TYPE_CHECKING:
    from .process_outlet import Setting
    from .process_pool import RunningCall
    from .steps import Steps
    from .stream import Stream


class Cancellation(NamedTuple):
    """Why an assignment's result is no longer needed, and the code of the response that says so."""

    reason: str
    code: str = errors.Cancelled.code


DEADLINE_PASSED: Final = Cancellation("deadline passed")
"""The worker itself cancels it."""

WORKER_STOPPING: Final = Cancellation("the worker is stopping")
GIVEN_BACK: Final = Cancellation("the worker is stopping", errors.WorkerStopping.code)
"""The same, of an attempt of a job: the broker may assign it elsewhere once it has ended here."""

SETTLED: Final = Cancellation("the broker no longer wants this attempt")
UNCLAIMED: Final = Cancellation("there are too many attempts to claim")
LINK_LOST: Final = Cancellation("the connection to the broker is lost")


class Assignment(Struct, eq=False):
    """One assignment from its arrival to its response.

    `deadline` is in seconds by `time.monotonic()`. `job`: the attempt of a job that it is. `steps`: the listener of the
    link on which it came. `cancellation` is set, once, when its result is no longer needed; `is_told`: the handler has
    noticed, or may have. `is_abandoned`: its handler may still be cleaning up, but it has no slot any more, and gets no
    response. `is_started` says that the handler's own code has started. `task` runs a coroutine handler, `call` is
    that of one in a process. `stream` has its chunks, if they are wanted and it may send any; `setting` is what a
    process needs to know of it for that, and for its context. (A Struct because one is made for each request: that
    takes a third of the time of a class.)
    """

    msg_id: str
    request_id: str
    command: str
    trace: str | None
    deadline: float
    job: AttemptOf | None = None
    steps: "Steps | None" = None
    cancellation: Cancellation | None = None
    is_told: bool = False
    is_abandoned: bool = False
    is_started: bool = False
    task: asyncio.Task[None] | None = None
    call: "RunningCall | None" = None
    stream: "Stream | None" = None
    setting: "Setting | None" = None

    def is_wanted(self) -> bool:
        """Its result may still be needed: it is not cancelled, and its deadline has not passed. From any thread."""
        return self.cancellation is None and time.monotonic() < self.deadline

    def raise_if_cancelled(self) -> None:
        """Raise ContextCancelled if its result is no longer needed. From any thread."""
        if self.cancellation is not None:
            self.is_told = True
            raise ContextCancelled(self.cancellation.reason)

    def cancel(self, cancellation: Cancellation) -> None:
        """End its handler as far as that is possible from outside. Does nothing if it is cancelled already."""
        if self.cancellation is not None:
            return
        self.cancellation = cancellation
        if self.task is not None and self.is_started:
            # A task that has not started must not be cancelled: its coroutine would end before it could respond.
            self.task.cancel(cancellation.reason)
            self.is_told = True
        elif self.call is not None:
            self.call.cancel()
            self.is_told = True
        if self.stream is not None:
            self.stream.wake()
