"""An event loop in its own thread, and the ways into it from any other thread.

Many threads that call at the same time cost one wake-up of the loop, not one each: submissions go into a deque, and
only the first one after the loop has emptied it wakes the loop. How requests travel is in exchange.py.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Final, NamedTuple

from ..configuration.url import without_secrets
from ..program.loop import new_event_loop
from ..protocol.errors import NOT_DELIVERED, Cancelled
from ..protocol.job_messages import JobEnded
from ..transport.settings import LinkSettings
from .blocking_window import QueuedWaiter
from .client_arguments import Arguments
from .connection import Connection
from .exchange import Exchange, exchange_for
from .in_flight import InFlight
from .inlet import Inlet
from .jobs.feed import Feed
from .question import Question
from .wire import OutgoingRequest

STOP_S_MAX: Final = 5.0
"""How long `stop` waits for the thread: the closing handshake takes at most half of it."""


class ReadInbox(NamedTuple):
    """The next message of the inbox is wanted."""

    request_id: None = None


class ReadFeed(NamedTuple):
    """The next news of a job is wanted."""

    feed: Feed
    request_id: None = None


class BeginStream(NamedTuple):
    """A request is sent, of which an inlet gets all that comes."""

    message: OutgoingRequest
    inlet: Inlet
    request_id: None = None


class ReadInlet(NamedTuple):
    """What comes next of a request is wanted."""

    inlet: Inlet
    request_id: None = None


Wanted = OutgoingRequest | Question | ReadInbox | ReadFeed | BeginStream | ReadInlet
"""What a thread may wait for."""


class ThreadWaiter:
    """Where one thread waits for one request. A lock is the cheapest thing that a thread can sleep on."""

    __slots__ = ("_error", "_lock", "_result", "is_done", "request")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._result: Any = None
        self._error: BaseException | None = None
        self.is_done = False
        self.request: InFlight | None = None

    def done(self) -> bool:
        """The thread has been woken, or no longer waits."""
        return self.is_done

    def set_result(self, result: Any, /) -> None:
        """Wake the thread with a result."""
        self._result = result
        self.is_done = True
        self._lock.release()

    def set_exception(self, exception: BaseException, /) -> None:
        """Wake the thread with an error."""
        self._error = exception
        self.is_done = True
        self._lock.release()

    @property
    def result(self) -> Any:
        """What it was woken with; None if it was not, or with an error."""
        return self._result

    def wait(self) -> Any:
        """Sleep until the request ends, which its deadline bounds; then return its result or raise its error."""
        self._lock.acquire()
        if self._error is not None:
            raise self._error
        return self._result


AnyWaiter = ThreadWaiter | QueuedWaiter
"""Where a thread waits: for one call, or for any of many."""


class Background:
    """A thread, its event loop, and in it one exchange with its connection.

    Used from any thread, in the process that made it. A daemon thread: it never keeps an interpreter from exiting.
    """

    _exchange: Exchange
    _connection: Connection

    def __init__(self, arguments: Arguments) -> None:
        self.process_id = os.getpid()
        self.is_stopped = False
        self._loop = new_event_loop()
        self._submissions: deque[tuple[Wanted, bool, AnyWaiter]] = deque()
        self._is_wake_due = False
        self._is_ready = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(arguments,),
            name=f"taskferry requester {without_secrets(arguments.url)}",
            daemon=True,
        )
        try:
            self._thread.start()
        except BaseException:
            self._loop.close()
            raise
        self._is_ready.wait()

    def submit(self, message: Wanted, waiter: AnyWaiter, *, wants_response: bool = False) -> None:
        """Send a request, ask a question, or read the inbox or a feed; `waiter` gets the outcome in every case."""
        self._submissions.append((message, wants_response, waiter))
        if self.is_stopped:
            self._refuse_submissions()
        elif not self._is_wake_due:
            self._is_wake_due = True
            self._call(self._take_submissions)

    def abandon(self, waiter: AnyWaiter) -> None:
        """The thread no longer waits there: cancel the request."""
        self._call(self._abandon, waiter)

    def end_stream(self, inlet: Inlet) -> None:
        """Nothing more is wanted of its request: cancel it, if it has not ended."""
        self._call(self._end_stream, inlet)

    def acknowledge(self, number: int) -> None:
        """The messages of the inbox up to this one have been dealt with."""
        self._call(self._exchange.acknowledge, number)

    def open_feed(self, feed: Feed) -> None:
        """It gets the news of its job. Done before the answer to any question that is asked after this call."""
        self._call(self._exchange.feeds.add, feed)

    def close_feed(self, feed: Feed) -> None:
        """Nobody reads it any more."""
        self._call(self._exchange.feeds.remove, feed)

    def wait_for_link(self, timeout_s: float, *, retry: bool) -> None:
        """As Connection.wait, from another thread."""
        waiting = asyncio.run_coroutine_threadsafe(self._connection.wait(timeout_s, retry=retry), self._loop)
        try:
            waiting.result()
        except CancelledError:
            raise Cancelled("the requester was closed") from None
        except KeyboardInterrupt:
            waiting.cancel()
            raise

    def stop(self) -> None:
        """End all requests with Cancelled, then the link and the thread. May be called twice, and from any thread."""
        if os.getpid() != self.process_id:
            return  # a forked child has the object, but not the thread
        self._call(self._stopping.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(STOP_S_MAX)

    # --- in the thread ---

    def _run(self, arguments: Arguments) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve(arguments))
        finally:
            self.is_stopped = True
            self._is_ready.set()
            self._refuse_submissions()

    async def _serve(self, arguments: Arguments) -> None:
        self._exchange = exchange_for(arguments)
        self._connection = Connection(self._exchange, LinkSettings(), arguments.tokens, arguments.tls)
        self._is_ready.set()
        await self._stopping.wait()
        await self._connection.close()

    def _take_submissions(self) -> None:
        self._is_wake_due = False  # before the deque is emptied, so that nothing is left in it
        if self._stopping.is_set():
            self._refuse_submissions()
            return
        begin = self._exchange.begin
        submissions = self._submissions
        while submissions:
            message, wants_response, waiter = submissions.popleft()
            match message:
                case OutgoingRequest():
                    waiter.request = begin(message, waiter, wants_response=wants_response)
                case Question():
                    waiter.request = self._exchange.ask(message, waiter)
                case ReadInbox():
                    assert self._exchange.inbox is not None
                    self._exchange.inbox.read(waiter)
                case ReadFeed():
                    message.feed.read(waiter)
                case BeginStream():
                    self._exchange.begin_stream(message.message, message.inlet)
                    waiter.set_result(None)
                case ReadInlet():
                    message.inlet.read(waiter)

    def _abandon(self, waiter: AnyWaiter) -> None:
        self._take_submissions()  # its own may be among them: Ctrl-C may come before `submit` has woken the loop
        waiter.is_done = True
        if waiter.request is not None:
            self._exchange.abandon(waiter.request)
        elif isinstance(ended := waiter.result, JobEnded) and ended.number is not None:
            assert self._exchange.inbox is not None
            self._exchange.inbox.give_back(ended)

    def _end_stream(self, inlet: Inlet) -> None:
        self._take_submissions()  # it may be among them, as above
        inlet.is_over = True
        if inlet.request is not None:
            self._exchange.abandon(inlet.request)

    # --- in any thread ---

    def _call(self, callback: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop is closed: the thread has ended or is about to
            self._refuse_submissions()

    def _refuse_submissions(self) -> None:
        while self._submissions:
            try:
                message, wants_response, waiter = self._submissions.popleft()
            except IndexError:  # another thread was quicker
                return
            request_id = "" if isinstance(message, Question) else message.request_id or ""
            refused = InFlight(request_id, b"", waiter, 0.0, 0.0, False, wants_response)
            error = Cancelled("Request cancelled: the requester was closed; it was not sent")
            error.delivery = NOT_DELIVERED
            refused.fail(error)
