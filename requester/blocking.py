"""The blocking requester: what programs without an event loop call. The thread behind it is in background.py."""

import os
import ssl
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from msgspec import UNSET

from ..configuration.url import without_secrets
from ..credentials.source import Tokens, TokenSource
from ..program.own_messages import MessageHandlers
from ..program.threads import check_threads
from ..protocol.encodings import Encoding
from ..protocol.errors import TaskferryError
from ..protocol.job_messages import Receipt, Submit
from ..protocol.limits import IN_FLIGHT_COUNT_MAX, TIMEOUT_S_DEFAULT
from ..tracing.switch import SWITCH
from .answers import Published
from .background import Background, BeginStream, ReadFeed, ReadInbox, ReadInlet, ThreadWaiter, Wanted
from .blocking_gather import BlockingGatherCalls
from .blocking_stream import BlockingStream
from .blocking_subscription import BlockingSubscription
from .blocking_window import QueuedWaiter, outcomes_of
from .call_options import CallOptions, MapOptions, StreamOptions
from .client_arguments import checked_arguments
from .connection import CONNECT_TIMEOUT_S_DEFAULT
from .inlet import Arrived, Inlet
from .jobs.blocking_calls import BlockingJobCalls
from .jobs.feed import Feed, News
from .jobs.inbox import EndedJob, ended_job
from .options import BROKER_URL_DEFAULT, CONCURRENCY_DEFAULT
from .progress import OnProgress
from .publishing import publication
from .question import Question
from .response import Response, response_error
from .stream import BY_CREDIT, ONLY_PROGRESS, OnReset, progress_reported
from .window import check_concurrency
from .wire import WIRES, OutgoingRequest, Target, Wire

T = TypeVar("T")


class BlockingRequester(BlockingJobCalls, BlockingGatherCalls):
    """A connection to a broker that any number of threads use concurrently.

    ```python
    with BlockingRequester("ws://broker:8766") as requester:
        thumbnail = requester.call("resize", {"url": url}, timeout=5)
    ```

    It connects in the background, in its own thread, and keeps reconnecting; the arguments are those of Requester. A
    function as `token` must not call this requester: it would wait for the connection that needs it.
    Ctrl-C in a waiting call cancels the request. If it is not closed it ends with the interpreter, or with its last
    reference.

    Raises ValueError if an argument is invalid, and RuntimeError if it is used after `close`, in a process forked from
    the one that made it, or in one in which gevent or eventlet has replaced threads.
    """

    def __init__(
        self,
        url: str = BROKER_URL_DEFAULT,
        *,
        encoding: Encoding | str = Encoding.JSON,
        in_flight_count_max: int = IN_FLIGHT_COUNT_MAX,
        token: Tokens = None,
        tls: ssl.SSLContext | None = None,
        client_id: str | None = None,
        device: Mapping[str, str] | None = None,
        retries: int = 0,
    ) -> None:
        tokens = TokenSource(token)
        del token  # so that no traceback shows it
        self.url = url
        self._arguments = checked_arguments(
            url,
            encoding,
            in_flight_count_max,
            tokens,
            tls,
            client_id=client_id,
            device=device,
            retries=retries,
        )
        check_threads(type(self).__name__)
        self._background = Background(self._arguments)
        self._stop = weakref.finalize(self, self._background.stop)

    def __repr__(self) -> str:
        background = vars(self).get("_background")  # none yet, if an argument is invalid
        state = "closed" if background is None or background.is_stopped else "open"
        return f"<{type(self).__name__} {without_secrets(self.url)} {state}>"

    def __enter__(self) -> Self:
        self._check_usable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def connect(self, *, timeout: float = CONNECT_TIMEOUT_S_DEFAULT, retry: bool = True) -> None:
        """As Requester.connect: wait until there is a link. Raises what that raises."""
        self._check_usable()
        self._background.wait_for_link(timeout, retry=retry)

    @overload
    def call(
        self, command: str, data: object = UNSET, *, type: type[T], **options: Unpack[CallOptions]
    ) -> T: ...

    @overload
    def call(
        self,
        command: str,
        data: object = UNSET,
        *,
        type: Any = None,
        otherwise: Literal["submit"] | None = None,
        **options: Unpack[CallOptions],
    ) -> Any: ...

    def call(
        self,
        command: str,
        data: object = UNSET,
        *,
        timeout: float = TIMEOUT_S_DEFAULT,
        type: Any = None,
        idempotent: bool = False,
        priority: int | None = None,
        affinity: str | None = None,
        trace: str | None = None,
        target: Target | None = None,
        hedge: float | str | None = None,
        otherwise: Literal["submit"] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Any:
        """Run `command` with `data` and return its result: options, bounds and errors are those of Requester.call."""
        message = OutgoingRequest(
            request_id,
            command,
            data,
            timeout,
            idempotent,
            priority,
            affinity,
            trace,
            target,
            hedge,
            otherwise,
        )
        if on_progress is not None:
            return self._call_reported(message, on_progress, type)
        result = self._run(message, wants_response=False)
        if otherwise is not None and isinstance(result, Receipt):
            return self._job(result.job_id, result.state)
        return result if type is None else self._wire.convert(result, type)

    def stream(
        self,
        command: str,
        data: object = UNSET,
        *,
        type: Any = None,
        on_progress: OnProgress | None = None,
        on_reset: OnReset | None = None,
        **options: Unpack[StreamOptions],
    ) -> BlockingStream[Any]:
        """Run `command` with `data`, and give what its handler sends as it comes, as Requester.stream does.
        `on_progress` and `on_reset` are called in the thread that takes the chunks."""
        whole: dict[str, Any] = {"request_id": None, "timeout": TIMEOUT_S_DEFAULT, **options}
        message = OutgoingRequest(command=command, data=data, stream=BY_CREDIT, **whole)
        return BlockingStream(
            self._arrivals, message, self._wire, on_progress=on_progress, on_reset=on_reset, type_=type
        )

    def subscribe(
        self,
        *topics: str,
        timeout: float = CONNECT_TIMEOUT_S_DEFAULT,
    ) -> BlockingSubscription:
        """The events of these topics, as Requester.subscribe gives them.

        ```python
        with requester.subscribe("task:*") as events:
            for event in events:
        ```
        """
        self._check_usable()
        return BlockingSubscription(self._arguments, topics, timeout_s=timeout)

    def publish(self, topic: str, data: object = None, *, timeout: float = TIMEOUT_S_DEFAULT) -> int | None:
        """Send `data` to all that have subscribed to `topic`, as Requester.publish does."""
        published: Published = self._ask(publication(topic, data, timeout))
        return published.data.offset

    def request(
        self,
        command: str,
        data: object = UNSET,
        *,
        timeout: float = TIMEOUT_S_DEFAULT,
        idempotent: bool = False,
        priority: int | None = None,
        affinity: str | None = None,
        trace: str | None = None,
        target: Target | None = None,
        hedge: float | str | None = None,
        otherwise: Literal["submit"] | None = None,
        request_id: str | None = None,
    ) -> Response:
        """Run `command` with `data` and return the whole response, also of a failure, as Requester.request does."""
        message = OutgoingRequest(
            request_id,
            command,
            data,
            timeout,
            idempotent,
            priority,
            affinity,
            trace,
            target,
            hedge,
            otherwise,
        )
        response: Response = self._run(message, wants_response=True)
        return response

    def map(
        self,
        command: str,
        items: Iterable[object],
        *,
        concurrency: int = CONCURRENCY_DEFAULT,
        in_order: bool = True,
        return_exceptions: bool = False,
        type: Any = None,
        **options: Unpack[MapOptions],
    ) -> Generator[Any]:
        """Call `command` with each of `items` as data, and give the results, as Requester.map does."""
        check_concurrency(concurrency)
        whole: dict[str, Any] = {"timeout": TIMEOUT_S_DEFAULT, **options}

        def begin(item: object, waiter: QueuedWaiter) -> None:
            self._check_usable()
            message = OutgoingRequest(None, command, item, **whole)
            if SWITCH.tracer is not None:
                from .call_spans import CallSpan  # noqa: PLC0415  needs what only tracing installs

                waiter.then = CallSpan(SWITCH.tracer, message, self.url).end
            self._background.submit(message, waiter)

        with closing(
            outcomes_of(begin, self._background.abandon, items, concurrency=concurrency, in_order=in_order)
        ) as outcomes:
            for outcome in outcomes:
                result = outcome if type is None else self._converted(outcome, type)
                if isinstance(result, TaskferryError) and not return_exceptions:
                    raise result
                yield result

    def _converted(self, outcome: Any, type_: Any) -> Any:
        """A result as `type_`, or the error that it, or its conversion, is."""
        try:
            return outcome if isinstance(outcome, TaskferryError) else self._wire.convert(outcome, type_)
        except TaskferryError as error:
            return error

    def inbox(self) -> Iterator[EndedJob]:
        """What has ended of the jobs that this client submitted, as Requester.inbox gives it."""
        if self._arguments.client_id is None:
            raise RuntimeError("an inbox needs a client_id: BlockingRequester(..., client_id='billing-1')")
        while True:
            self._check_usable()
            message = self._send_and_wait(ReadInbox(), wants_response=False)
            yield ended_job(message, self._background.acknowledge)

    def close(self) -> None:
        """End requests in flight, in all threads, with Cancelled; close the link to the broker, and stop."""
        self._stop()

    @property
    def _wire(self) -> Wire:
        return WIRES[self._arguments.encoding]

    @property
    def _handlers(self) -> MessageHandlers:
        return self._arguments.handlers

    def _ask(self, question: Question) -> Any:
        return self._run(question, wants_response=False)

    @contextmanager
    def _open_feed(self, job_id: str, wants_pieces: bool) -> Iterator[Callable[[], News]]:
        feed = Feed(job_id, wants_pieces=wants_pieces)

        def next_news() -> News:
            self._check_usable()
            news: News = self._send_and_wait(ReadFeed(feed), wants_response=False)
            return news

        self._check_usable()
        self._background.open_feed(feed)
        try:
            yield next_news
        finally:
            self._background.close_feed(feed)

    def _arrivals(self, message: OutgoingRequest, inlet: Inlet) -> Generator[Arrived]:
        """Send a request, and give all that comes of it, up to and with its response."""
        self._check_usable()
        if SWITCH.tracer is not None:
            from .call_spans import CallSpan  # noqa: PLC0415  needs what only tracing installs

            inlet.then = CallSpan(SWITCH.tracer, message, self.url).end
        arrived: Arrived | None = None
        try:
            self._background.submit(BeginStream(message, inlet), ThreadWaiter())
            while not isinstance(arrived, Response):
                self._check_usable()
                waiter = ThreadWaiter()
                self._background.submit(ReadInlet(inlet), waiter)
                arrived = waiter.wait()
                assert arrived is not None, "it waits for something"
                yield arrived
        finally:
            self._background.end_stream(inlet)

    def _call_reported(self, message: OutgoingRequest, on_progress: OnProgress, type_: Any) -> Any:
        """The rest of a `call` that reports progress."""
        response: Response | None = None
        message.stream = ONLY_PROGRESS
        with closing(self._arrivals(message, Inlet())) as arriving:
            for arrived in arriving:
                response = progress_reported(arrived, on_progress)
        assert response is not None, "it comes last"
        if response.job_id is not None:
            return self._job(response.job_id, None)
        if not response.success:
            raise response_error(response)
        return response.data if type_ is None else self._wire.convert(response.data, type_)

    def _run(self, message: OutgoingRequest | Question, *, wants_response: bool) -> Any:
        self._check_usable()
        traced = message.message if isinstance(message, Question) else message
        if SWITCH.tracer is None or not isinstance(traced, OutgoingRequest | Submit):
            return self._send_and_wait(message, wants_response=wants_response)
        from .call_spans import CallSpan  # noqa: PLC0415  needs what only tracing installs

        span = CallSpan(SWITCH.tracer, traced, self.url)
        try:
            outcome = self._send_and_wait(message, wants_response=wants_response)
        except BaseException as error:
            span.end(error)
            raise
        span.end(outcome)
        return outcome

    def _send_and_wait(self, message: Wanted, *, wants_response: bool) -> Any:
        waiter = ThreadWaiter()
        try:
            self._background.submit(message, waiter, wants_response=wants_response)
            return waiter.wait()
        except KeyboardInterrupt:
            self._background.abandon(waiter)
            raise

    def _check_usable(self) -> None:
        if not self._stop.alive:
            raise RuntimeError(f"this {type(self).__name__} is closed")
        if os.getpid() != self._background.process_id:
            raise RuntimeError(
                f"this {type(self).__name__} belongs to process {self._background.process_id}: "
                "after a fork, make a new one in the child"
            )
