"""The closed loop of a load: how many requests are still to be sent, which are in flight, how long each took.

Independent of sockets and wires.
"""

import asyncio
import sys
from collections.abc import Callable
from time import perf_counter


class LoadFailed(Exception):
    """The load could not be finished. The text is one line for the user."""


class RequestStream:
    """Requests shared by all requester connections of a load: each answer lets one more request out.

    `unsent_count` more may be sent; the stream ends after `unanswered_count` more answers.
    """

    __slots__ = ("_failure", "_settled", "latencies_s", "unanswered_count", "unsent_count")

    def __init__(self) -> None:
        self.unsent_count = 0
        self.unanswered_count = 0
        self.latencies_s: list[float] = []
        self._failure: str | None = None
        self._settled = asyncio.Event()

    def begin(self, request_count: int) -> None:
        """Allow `request_count` (one or more) further requests and drop the latencies of earlier ones."""
        self.unsent_count = request_count
        self.await_more(request_count)

    def begin_endless(self) -> None:
        """Allow any number of requests; `await_more` says how many answers the stream waits for."""
        self.begin(sys.maxsize)

    def await_more(self, answer_count: int) -> None:
        """Make `until_ended` wait for `answer_count` more answers, and drop the latencies of earlier ones."""
        self.unanswered_count = answer_count
        self.latencies_s = []
        if self._failure is None:
            self._settled.clear()

    def end(self) -> None:
        """The last awaited answer is in."""
        self._settled.set()

    def fail(self, reason: str) -> None:
        """No more answers will come; the first reason counts."""
        if self._failure is None:
            self._failure = reason
        self._settled.set()

    def check(self) -> None:
        """Raises LoadFailed with the reason of `fail`, if there was one."""
        if self._failure is not None:
            raise LoadFailed(self._failure)

    async def until_ended(self, timeout_s: float) -> None:
        """Raises LoadFailed with the reason of `fail`, or when `timeout_s` passes first."""
        try:
            await asyncio.wait_for(self._settled.wait(), timeout_s)
        except TimeoutError:
            raise LoadFailed(
                f"{self.unanswered_count} requests had no answer after {timeout_s:g} s"
            ) from None
        self.check()


class Lanes:
    """The places for in-flight requests on one connection.

    A lane sends its one prepared message again and again, each time after the answer to the last: so no request id is
    ever in flight twice, and no time is spent on making messages.
    """

    __slots__ = ("_messages", "_next", "_sent_at", "_stream")

    def __init__(self, messages: list[bytes], stream: RequestStream) -> None:
        self._messages = messages
        self._next = 0
        self._sent_at = [0.0] * len(messages)
        self._stream = stream

    def start(self, send: Callable[[bytes], object]) -> None:
        """Send the first request of the stream on every lane, as far as the stream allows."""
        for lane, message in enumerate(self._messages):
            if self._stream.unsent_count == 0:
                return
            self._stream.unsent_count -= 1
            self._sent_at[lane] = perf_counter()
            send(message)

    def send_next(self, send: Callable[[bytes], object]) -> None:
        """Send a request on the next lane in turn, whatever the stream has left. Its last one must be answered."""
        lane = self._next
        self._next = (lane + 1) % len(self._messages)
        self._sent_at[lane] = perf_counter()
        send(self._messages[lane])

    def answered(self, lane: int) -> bytes | None:
        """Record the answer of `lane`; returns the message to send next, None if the stream has no more to send."""
        stream = self._stream
        now = perf_counter()
        stream.latencies_s.append(now - self._sent_at[lane])
        stream.unanswered_count -= 1
        if stream.unanswered_count == 0:
            stream.end()
        if stream.unsent_count > 0:
            stream.unsent_count -= 1
            self._sent_at[lane] = now
            return self._messages[lane]
        return None
