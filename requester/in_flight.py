"""What has been asked of a broker and not yet answered, as its client keeps it: each request, and the line they are in.

A request is a live request, or a question (question.py): both end in the same ways.
"""

from collections import OrderedDict
from typing import Any, Protocol

from msgspec import Struct

from ..protocol.errors import TaskferryError
from .question import Question
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
    `is_left`: the broker at the other end is shutting down, and it waits for the next one. `retries_count`: how
    often it was sent again after a refusal. `wants_response`: the caller wants the whole response, also of a failure.
    `question`: None for a live request. (A Struct because one is made for
    each call: that takes half the time of a class in Python.)
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
    is_left: bool = False
    retries_count: int = 0
    question: Question | None = None

    @property
    def was_sent(self) -> bool:
        """The broker may have it."""
        return bool(self.number) or self.may_have_run

    @property
    def what_may_be(self) -> str:
        """What may have become of it if the broker has it, for people."""
        return "the command may have run" if self.question is None else self.question.what_may_be

    def fail(self, error: TaskferryError) -> None:
        """Give the caller an error that this side detected."""
        if self.waiter.done():
            return
        error.request_id = self.request_id
        if self.wants_response:
            self.waiter.set_result(failed_response(self.request_id, error))
        else:
            self.waiter.set_exception(error)


class Line:
    """Requests that have not ended: those in flight, at most `count_max` and `size_bytes_max` of them, and those that
    wait for room, in order."""

    __slots__ = ("count_max", "in_flight", "size_bytes", "size_bytes_max", "waiting")

    def __init__(self, count_max: int, size_bytes_max: int) -> None:
        self.in_flight: dict[str, InFlight] = {}
        # Ordered, because a dict used as a queue finds its first entry ever more slowly.
        self.waiting: OrderedDict[str, InFlight] = OrderedDict()
        self.count_max = count_max
        self.size_bytes = 0
        """Of what is in flight."""
        self.size_bytes_max = size_bytes_max

    def __len__(self) -> int:
        return len(self.in_flight) + len(self.waiting)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self.in_flight or request_id in self.waiting

    def add(self, request: InFlight) -> bool:
        """Put it in flight if there is room and none waits. Returns whether there was."""
        in_flight = self.in_flight
        size_bytes = self.size_bytes + len(request.payload)
        if self.waiting or len(in_flight) >= self.count_max or size_bytes > self.size_bytes_max:
            self.waiting[request.request_id] = request
            return False
        in_flight[request.request_id] = request
        self.size_bytes = size_bytes
        return True

    def admit_next(self) -> InFlight | None:
        """Put the first that waits in flight, if there is room for it."""
        if not self.waiting:
            return None
        request = next(iter(self.waiting.values()))
        size_bytes = self.size_bytes + len(request.payload)
        if len(self.in_flight) >= self.count_max or size_bytes > self.size_bytes_max:
            return None
        del self.waiting[request.request_id]
        self.in_flight[request.request_id] = request
        self.size_bytes = size_bytes
        return request

    def put_back(self, request: InFlight) -> None:
        """It was in flight a moment ago, and its answer did not end it."""
        self.in_flight[request.request_id] = request
        self.size_bytes += len(request.payload)

    def remove(self, request: InFlight) -> None:
        """It has ended, in flight."""
        del self.in_flight[request.request_id]
        self.size_bytes -= len(request.payload)

    def requests(self) -> list[InFlight]:
        """All, in order."""
        return [*self.in_flight.values(), *self.waiting.values()]

    def clear(self) -> list[InFlight]:
        """Remove all. Returns them."""
        requests = self.requests()
        self.in_flight.clear()
        self.waiting.clear()
        self.size_bytes = 0
        return requests
