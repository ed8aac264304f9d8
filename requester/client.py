"""The asynchronous requester: what users call. How requests travel is in exchange.py."""

import asyncio
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from msgspec import UNSET

from ..configuration.url import without_secrets
from ..credentials.source import Tokens, TokenSource
from ..program.own_messages import MessageHandlers
from ..protocol.encodings import Encoding
from ..protocol.errors import TaskferryError
from ..protocol.job_messages import JobEnded, Receipt, Submit
from ..protocol.limits import IN_FLIGHT_COUNT_MAX, TIMEOUT_S_DEFAULT
from ..tracing.switch import SWITCH
from ..transport.settings import LinkSettings
from .answers import Published
from .call_options import CallOptions, MapOptions, StreamOptions
from .client_arguments import checked_arguments
from .connection import CONNECT_TIMEOUT_S_DEFAULT, Connection
from .exchange import Exchange, exchange_for
from .gather_calls import GatherCalls
from .inlet import Inlet
from .jobs.calls import JobCalls
from .jobs.feed import Feed, News
from .jobs.inbox import EndedJob, ended_job
from .options import BROKER_URL_DEFAULT, CONCURRENCY_DEFAULT
from .progress import OnProgress
from .publishing import publication
from .question import Question
from .response import Response, response_error
from .stream import BY_CREDIT, ONLY_PROGRESS, OnReset, Stream, arrivals, progress_reported
from .subscription import Subscription
from .window import check_concurrency, results_of
from .wire import WIRES, OutgoingRequest, Target, Wire

T = TypeVar("T")


class Requester(JobCalls, GatherCalls):
    """A connection to a broker, over which any number of coroutines send requests concurrently.

    ```python
    async with Requester("ws://broker:8766") as requester:
        thumbnail = await requester.call("resize", {"url": url}, timeout=5)
    ```

    It connects in the background when it is entered (or first used), keeps reconnecting, and belongs to the event loop
    in which that happened. `encoding` is that of the connection: `"json"` or `"msgpack"`. At most `in_flight_count_max`
    requests (and 32 MiB of them) are with the broker at once; a later call waits its turn within its timeout, which
    slows down a caller that is faster than the workers.

    `token` proves who this is: a text, or a function, plain or async, that returns a fresh one. It is called for each
    connection, and whenever a login is about to run out; a plain one in a thread. The default is TASKFERRY_TOKEN from
    the environment. `tls`: for a `wss://` URL, the default trusts the authorities of the system. `client_id`: a name
    for this client, which then has an `inbox`. `device`: facts about this program, as names and texts, that operators
    see beside its connection, with its host, system, Python and process; without it, and without a `client_id`, none
    are sent. `retries`: how often what the broker refuses for now (`overloaded`,
    `rate_limited`), and so has not run, is sent again: not before the time that the broker names, and within the
    timeout of the call. 0 to 100.

    Raises ValueError if an argument is invalid, and RuntimeError if it is used after `close` or in another event loop.
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
        self._exchange: Exchange | None = None
        self._connection: Connection | None = None
        self._is_closed = False
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

    def __repr__(self) -> str:
        if self._is_closed:
            state = "closed"
        elif self._exchange is None:
            state = "not started"
        else:
            state = "connecting" if self._exchange.link is None else "connected"
        return (
            f"<{type(self).__name__} {without_secrets(self.url)} {state}, {self.in_flight_count} in flight>"
        )

    async def __aenter__(self) -> Self:
        self._exchange_here()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def has_token(self) -> bool:
        """It proves who it is by a token."""
        return not self._arguments.tokens.is_none

    @property
    def in_flight_count(self) -> int:
        """Requests that have not ended, including those that wait for their turn."""
        return 0 if self._exchange is None else self._exchange.in_flight_count

    async def connect(
        self,
        *,
        timeout: float = CONNECT_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109 - as in call
        retry: bool = True,
    ) -> None:
        """Wait until there is a link. Never needed, as calls wait for one too; useful to fail early.

        `retry`: keep trying for `timeout` seconds; otherwise the first failure is final. Raises CannotConnect,
        Unauthenticated or Forbidden as soon as a broker refuses this client, and RateLimited if one still does in the
        end.
        """
        self._exchange_here()
        assert self._connection is not None
        await self._connection.wait(timeout, retry=retry)

    @overload
    async def call(
        self, command: str, data: object = UNSET, *, type: type[T], **options: Unpack[CallOptions]
    ) -> T: ...

    @overload
    async def call(
        self,
        command: str,
        data: object = UNSET,
        *,
        type: Any = None,
        otherwise: Literal["submit"] | None = None,
        **options: Unpack[CallOptions],
    ) -> Any: ...

    async def call(
        self,
        command: str,
        data: object = UNSET,
        *,
        timeout: float = TIMEOUT_S_DEFAULT,  # noqa: ASYNC109 - the broker keeps it too
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
        """Run `command` with `data` and return its result.

        `data`: any value that the encoding can hold (NaN becomes null in JSON); the default is `{}`. `timeout`: seconds
        for the whole call, at most 3600; it ends at most half a second later. `type`: convert the result to this type,
        as msgspec does. `idempotent`: may be run again if its worker, or the link to the broker, is lost. `priority`: 0
        (lowest) to 9. `affinity`: a key of up to 128 characters for the `consistent_hash` strategy. `trace`: a W3C
        traceparent, which reaches the handler unchanged; the default is that of this call's span, if tracing is on.
        `request_id`: 1 to 128 characters, not in use on this requester.

        `target`: where it may run: a worker_id, or labels such as `{"gpu": "yes", "zone": ["eu-1", "eu-2"]}`: its
        worker must have all of them, each with any one of several values. `hedge`: when to send a second copy to
        another worker, whose answer counts if it comes first: after this many seconds (0.001 to 3600), or a percentile
        of the command's usual duration (`"p95"`); needs `idempotent`, and the broker hedges at most 5 % of its requests
        by default. `otherwise="submit"`: if it cannot be delivered (no worker, overload, shutting down, too long in the
        queue), it is kept as a job, and a Job is returned. `on_progress`: called with each Progress that the handler
        reports; of those that come faster than that, with the latest.

        Cancelling the coroutine cancels the request at the broker. Raises TaskferryError, of the failure's code's
        class; a handler's own code comes as HandlerError. Its `delivery`, `queue_wait_s` and `retry_after_s` say how
        far the request got and when to send it again, which this client does by itself only with `retries`.
        """
        exchange = self._exchange_here()
        future = exchange.loop.create_future()
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
            return await self._call_reported(message, on_progress, type)
        if SWITCH.tracer is not None:
            from .call_spans import follow  # noqa: PLC0415  needs what only tracing installs

            follow(SWITCH.tracer, message, self.url, future)
        request = exchange.begin(message, future, wants_response=False)
        try:
            result = await future
        except asyncio.CancelledError:
            exchange.abandon(request)
            _forget(future)
            raise
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
    ) -> Stream[Any]:
        """Run `command` with `data`, and give what its handler sends, in order, as it comes.

        ```python
        async for line in requester.stream("tail", {"path": "/var/log/syslog"}):
        ```

        The handler waits for those that are slow to take it: it is at most 64 chunks, or 256 KiB, ahead. `timeout`: for
        the whole of it. `type`: of each chunk. `on_progress`: as of `call`. The other options are those of `call`.
        Raises what `call` raises, when the chunks before it are taken. Leaving the loop cancels the request.

        An `idempotent` request may begin again, if its worker or the link is lost. If chunks of it were taken by then,
        `on_reset` is called with the number of the attempt, after which the chunks come from the first one on; without
        it, WorkerLost is raised.
        """
        whole: dict[str, Any] = {"request_id": None, "timeout": TIMEOUT_S_DEFAULT, **options}
        message = OutgoingRequest(command=command, data=data, stream=BY_CREDIT, **whole)
        return Stream(
            self._begin_stream, message, self._wire, on_progress=on_progress, on_reset=on_reset, type_=type
        )

    def subscribe(
        self,
        *topics: str,
        timeout: float = CONNECT_TIMEOUT_S_DEFAULT,
    ) -> Subscription:
        """The events of these topics, as they come: names, or patterns in which each `*` stands for any text.

        ```python
        async with requester.subscribe("task:*", "worker:*") as events:
            async for event in events:
        ```

        Each is a TopicEvent, or a Gap where some are missing. The subscription has a connection of its own, which is
        kept up until the block ends; after a reconnect what was missed comes first. `timeout`: for the first answer of
        the broker. Raises ValueError for topics that no broker takes.
        """
        if self._is_closed:
            raise RuntimeError("this requester is closed")
        return Subscription(self._arguments, topics, timeout_s=timeout)

    async def publish(
        self,
        topic: str,
        data: object = None,
        *,
        timeout: float = TIMEOUT_S_DEFAULT,  # noqa: ASYNC109 - as in call
    ) -> int | None:
        """Send `data`, anything that the encoding can hold, to all that have subscribed to `topic`. Returns the offset
        of the event; None if nobody has.

        Raises Forbidden without the right, and for a topic of the broker's own; BadRequest for one with a `*`, TooLarge
        over 64 KiB.
        """
        published: Published = await self._ask(publication(topic, data, timeout))
        return published.data.offset

    async def request(
        self,
        command: str,
        data: object = UNSET,
        *,
        timeout: float = TIMEOUT_S_DEFAULT,  # noqa: ASYNC109 - the broker keeps it too
        idempotent: bool = False,
        priority: int | None = None,
        affinity: str | None = None,
        trace: str | None = None,
        target: Target | None = None,
        hedge: float | str | None = None,
        otherwise: Literal["submit"] | None = None,
        request_id: str | None = None,
    ) -> Response:
        """Run `command` with `data` and return the whole response, also of a failure: no TaskferryError is raised.

        The options are those of `call`. What this side detects by itself (no link, a bad timeout, ...) is a response
        with that code as well. With `otherwise="submit"` one that is kept as a job has its `job_id`.
        """
        exchange = self._exchange_here()
        future: asyncio.Future[Response] = exchange.loop.create_future()
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
        if SWITCH.tracer is not None:
            from .call_spans import follow  # noqa: PLC0415  needs what only tracing installs

            follow(SWITCH.tracer, message, self.url, future)
        request = exchange.begin(message, future, wants_response=True)
        try:
            return await future
        except asyncio.CancelledError:
            exchange.abandon(request)
            _forget(future)
            raise

    async def map(
        self,
        command: str,
        items: Iterable[object] | AsyncIterable[object],
        *,
        concurrency: int = CONCURRENCY_DEFAULT,
        in_order: bool = True,
        return_exceptions: bool = False,
        type: Any = None,
        **options: Unpack[MapOptions],
    ) -> AsyncGenerator[Any]:
        """Call `command` with each of `items` as data, and give the results: in the order of the items, or as they
        come.

        ```python
        async for thumbnail in requester.map("resize", urls, concurrency=20):
        ```

        At most `concurrency` (up to 10,000) calls have been begun whose result has not been taken, so `items` may have
        no end; they are read as there is room. The first call that fails raises its error, and the others are
        cancelled; with `return_exceptions` errors come in the place of results. The other options are those of `call`.
        """
        check_concurrency(concurrency)

        async def call(item: object) -> Any:
            try:
                return await self.call(command, item, type=type, **options)
            except TaskferryError as error:
                if return_exceptions:
                    return error
                raise

        async with aclosing(results_of(call, items, concurrency=concurrency, in_order=in_order)) as results:
            async for result in results:
                yield result

    async def inbox(self) -> AsyncIterator[EndedJob]:
        """What has ended of the jobs that this client (`client_id`) submitted, also while it was away, in order. Waits
        for more without an end.

        Each message comes until it is acknowledged: what was not comes again after a reconnect. Raises RuntimeError
        without a client_id, and what the broker answers if it has no inbox for this client: Forbidden, JobsOff.
        """
        exchange = self._exchange_here()
        inbox = exchange.inbox
        if inbox is None:
            raise RuntimeError("an inbox needs a client_id: Requester(..., client_id='billing-1')")
        while True:
            reader: asyncio.Future[JobEnded] = exchange.loop.create_future()
            inbox.read(reader)
            try:
                message = await reader
            except asyncio.CancelledError:
                if reader.done() and not reader.cancelled() and reader.exception() is None:
                    inbox.give_back(reader.result())
                raise
            yield ended_job(message, exchange.acknowledge)

    async def close(self) -> None:
        """End requests in flight with Cancelled, close the link to the broker, and stop. May be called twice."""
        if self._exchange is not None and self._exchange.loop.is_closed():
            self._connection = None  # it has ended with its loop
        if self._connection is not None:
            self._exchange_here()
        self._is_closed = True
        self._exchange = None
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @property
    def _wire(self) -> Wire:
        return WIRES[self._arguments.encoding]

    @property
    def _handlers(self) -> MessageHandlers:
        return self._arguments.handlers

    def _begin_stream(self, message: OutgoingRequest, inlet: Inlet) -> Exchange:
        exchange = self._exchange_here()
        if SWITCH.tracer is not None:
            from .call_spans import CallSpan  # noqa: PLC0415  needs what only tracing installs

            inlet.then = CallSpan(SWITCH.tracer, message, self.url).end
        exchange.begin_stream(message, inlet)
        return exchange

    async def _call_reported(self, message: OutgoingRequest, on_progress: OnProgress, type_: Any) -> Any:
        """The rest of a `call` that reports progress."""
        inlet = Inlet()
        response: Response | None = None
        message.stream = ONLY_PROGRESS
        exchange = self._begin_stream(message, inlet)
        try:
            async with aclosing(arrivals(inlet)) as arriving:
                async for arrived in arriving:
                    response = progress_reported(arrived, on_progress)
        finally:
            inlet.is_over = True
            if inlet.request is not None:
                exchange.abandon(inlet.request)
        assert response is not None, "it comes last"
        if response.job_id is not None:
            return self._job(response.job_id, None)
        if not response.success:
            raise response_error(response)
        return response.data if type_ is None else self._wire.convert(response.data, type_)

    async def _ask(self, question: Question) -> Any:
        exchange = self._exchange_here()
        future = exchange.loop.create_future()
        if SWITCH.tracer is not None and isinstance(question.message, Submit):
            from .call_spans import follow  # noqa: PLC0415  needs what only tracing installs

            follow(SWITCH.tracer, question.message, self.url, future)
        request = exchange.ask(question, future)
        try:
            return await future
        except asyncio.CancelledError:
            exchange.abandon(request)
            _forget(future)
            raise

    @contextmanager
    def _open_feed(self, job_id: str, wants_pieces: bool) -> Iterator[Callable[[], Awaitable[News]]]:
        feeds = self._exchange_here().feeds
        feed = Feed(job_id, wants_pieces=wants_pieces)
        feeds.add(feed)
        try:
            yield feed.next
        finally:
            feeds.remove(feed)

    def _exchange_here(self) -> Exchange:
        """The exchange, for a caller in its event loop. Raises RuntimeError in another one, before anything is
        sent."""
        exchange = self._exchange or self._start()
        if exchange.loop is not asyncio.get_running_loop():
            raise RuntimeError(
                f"this {type(self).__name__} belongs to another event loop: make one in each loop, "
                "or share a BlockingRequester among threads"
            )
        return exchange

    def _start(self) -> Exchange:
        if self._is_closed:
            raise RuntimeError(f"this {type(self).__name__} is closed")
        if self._exchange is None:
            arguments = self._arguments
            self._exchange = exchange_for(arguments)
            self._connection = Connection(self._exchange, LinkSettings(), arguments.tokens, arguments.tls)
        return self._exchange


def _forget(future: asyncio.Future[Any]) -> None:
    """Retrieve an error that came in the same moment as the cancellation, so that asyncio does not report it as
    lost."""
    if future.done() and not future.cancelled():
        future.exception()
