"""Where what comes of one request arrives, and waits to be taken: its chunks, its progress, and how it ended.

Used in the event loop of the link alone. Chunks wait within the window of the stream, and the broker is told which were
taken. Of progress only the latest waits, and goes before the chunks. When the request begins again, what came of it and
was not taken is dropped.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..protocol.errors import TaskferryError
from ..protocol.limits import STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX
from .answers import Chunk, ItemAnswer
from .in_flight import InFlight, Waiter
from .progress import Progress, progress_of
from .response import Response, failed_response

CREDIT_COUNT: Final = STREAM_CHUNKS_COUNT_MAX // 4
CREDIT_SIZE_BYTES: Final = STREAM_SIZE_BYTES_MAX // 4
"""So many chunks, or bytes, are granted together while more wait: the sender has the rest of its window meanwhile."""


class Began(NamedTuple):
    """The request runs again, as this attempt: chunks taken before count no more."""

    attempt: int


class Part(NamedTuple):
    """A chunk."""

    data: Any


Arrived = Part | Progress | Began | Response
"""What a reader gets; the response comes last."""


class Inlet:
    """Of one request. It is what waits for the response, as a future is for other requests (`Waiter`).

    `grant`: called with the attempt and the sequence up to which its chunks were taken. `attempt`: which one is running
    or was the last, from 1. `request`: once it has begun. `then`: called with the outcome when it comes.
    """

    __slots__ = (
        "_attempts_before",
        "_brokers_attempt",
        "_chunks",
        "_has_come",
        "_has_taken",
        "_outcome",
        "_progress",
        "_reader",
        "_taken_count",
        "_taken_size_bytes",
        "attempt",
        "began_again",
        "grant",
        "is_over",
        "request",
        "then",
    )

    def __init__(self) -> None:
        self.grant: Callable[[int, int], None] = lambda attempt, sequence: None
        self.then: Callable[[object], None] = lambda outcome: None
        self.request: InFlight | None = None
        self.attempt = 1
        self.is_over = False
        """It was abandoned: nothing more is wanted."""
        self.began_again = False
        self._attempts_before = 0
        """Those over earlier links, each of whose brokers counts from 1."""
        self._brokers_attempt = 1
        self._has_come = False
        self._has_taken = False
        self._chunks: deque[tuple[int, int, Any]] = deque()
        self._progress: Progress | None = None
        self._outcome: Response | None = None
        self._reader: Waiter | None = None
        self._taken_count = 0
        self._taken_size_bytes = 0

    # --- from the link ---

    def done(self) -> bool:
        """It has its response, or none is wanted any more."""
        return self.is_over or self._outcome is not None

    def set_result(self, result: Response, /) -> None:
        """The response has come."""
        self._outcome = result
        self.then(result)
        self._wake()

    def set_exception(self, exception: BaseException, /) -> None:
        """It has failed on this side."""
        assert isinstance(exception, TaskferryError)
        self.set_result(failed_response("", exception))

    def chunk(self, message: Chunk | ItemAnswer, size_bytes: int) -> None:
        """A chunk has come, in a message of this size."""
        self._came(message.attempt)
        self._chunks.append((message.sequence, size_bytes, message.data))
        self._wake()

    def progress(self, attempt: int, data: Any) -> None:
        """Progress has come."""
        self._came(attempt)
        self._progress = progress_of(data, self.attempt)
        self._wake()

    def reset(self, attempt: int) -> None:
        """The broker has lost the worker, and another one begins."""
        self._brokers_attempt = attempt
        self._begin(self._attempts_before + attempt)

    def sent(self) -> None:
        """The request was sent; again, if it was before."""
        if self._has_come:
            self._attempts_before = self.attempt
            self._brokers_attempt = 1
            self._begin(self.attempt + 1)

    # --- from the reader ---

    def take(self) -> Arrived | None:
        """What comes next; None if nothing has come."""
        if self.began_again:
            self.began_again = False
            self._has_taken = False
            return Began(self.attempt)
        if self._progress is not None:
            progress, self._progress = self._progress, None
            return progress
        if self._chunks:
            sequence, size_bytes, data = self._chunks.popleft()
            self._has_taken = True
            self._grant(sequence, size_bytes)
            return Part(data)
        return self._outcome

    def read(self, reader: Waiter) -> None:
        """`reader` gets what comes next."""
        arrived = self.take()
        if arrived is None:
            self._reader = reader
        else:
            reader.set_result(arrived)

    # --- inside ---

    def _came(self, attempt: int) -> None:
        self._has_come = True
        self._brokers_attempt = attempt
        self.attempt = self._attempts_before + attempt

    def _begin(self, attempt: int) -> None:
        self.attempt = attempt
        self._has_come = False
        self._chunks.clear()
        self._progress = None
        self._taken_count = self._taken_size_bytes = 0
        if self._has_taken:
            self.began_again = True
            self._wake()

    def _grant(self, sequence: int, size_bytes: int) -> None:
        self._taken_count += 1
        self._taken_size_bytes += size_bytes
        is_due = self._taken_count >= CREDIT_COUNT or self._taken_size_bytes >= CREDIT_SIZE_BYTES
        if (is_due or not self._chunks) and self._outcome is None:
            self._taken_count = self._taken_size_bytes = 0
            self.grant(self._brokers_attempt, sequence)

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            arrived = self.take()
            assert arrived is not None, "something has come"
            reader.set_result(arrived)
