"""One request between its call and its end, as its client keeps it."""

from typing import Any, Protocol

from msgspec import Struct

from ..protocol.errors import TaskferryError
from .response import failed_response


class Waiter(Protocol):
    """What waits for a request: an asyncio future, or a thread's place to wait. Notified once, in the event loop."""

    def done(self) -> bool:
        """It has been notified, or no longer waits."""

    def set_result(self, result: Any, /) -> None:
        """The request succeeded, or the whole response was wanted."""

    def set_exception(self, exception: BaseException, /) -> None:
        """The request failed."""


class InFlight(Struct, eq=False):
    """A request that has not ended.

    `deadline_s` is on the clock of `time.monotonic()`; at `ends_s` the client ends the request by itself. `number` is
    the link's number for the message, 0 while it is not sent. `may_have_run`: an earlier link broke after it was sent.
    `wants_response`: the caller wants the whole response, also of a failure. (A Struct because one is made for each
    call: that takes half the time of a class in Python.)
    """

    request_id: str
    payload: bytes
    waiter: Waiter
    deadline_s: float
    ends_s: float
    is_idempotent: bool
    wants_response: bool
    number: int = 0
    may_have_run: bool = False

    def fail(self, error: TaskferryError) -> None:
        """Give the caller an error that this side detected."""
        if self.waiter.done():
            return
        error.request_id = self.request_id
        if self.wants_response:
            self.waiter.set_result(failed_response(self.request_id, error))
        else:
            self.waiter.set_exception(error)
