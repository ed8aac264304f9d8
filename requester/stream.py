"""A request whose handler sends its result in parts, as its caller takes them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from ..protocol.errors import TaskferryError, WorkerLost
from .exchange import Exchange
from .inlet import Arrived, Began, Inlet, Part
from .progress import OnProgress, Progress
from .response import Response, response_error
from .wire import OutgoingRequest, Wire

T = TypeVar("T")

OnReset = Callable[[int], object]
"""Called when a stream begins again, with the number of the attempt."""

BY_CREDIT: Final = "credit"
ONLY_PROGRESS: Final = "progress"
"""What a request says that it wants."""

READ_ONCE: Final = "a stream is read once: ask for another one"


def began_again(attempt: int) -> TaskferryError:
    """The error of a stream that begins again, where its reader has not said what to do then."""
    return WorkerLost(
        f"Worker lost, and the stream began again (attempt {attempt}): the chunks so far count no more. "
        "on_reset is called instead, if it is given"
    )


class Told(Generic[T]):
    """What is known of a stream besides its chunks, for both kinds of requester."""

    def __init__(
        self,
        inlet: Inlet,
        wire: Wire,
        *,
        on_progress: OnProgress | None,
        on_reset: OnReset | None,
        type_: Any,
    ) -> None:
        self._inlet = inlet
        self._wire = wire
        self._on_progress = on_progress
        self._on_reset = on_reset
        self._type = type_
        self._response: Response | None = None

    @property
    def has_ended(self) -> bool:
        """All chunks were taken, and the response has come."""
        return self._response is not None

    @property
    def response(self) -> Response:
        """The whole response, also of a failure. Raises RuntimeError before the end."""
        if self._response is None:
            raise RuntimeError("the stream has not ended: take all of its chunks first")
        return self._response

    @property
    def attempt(self) -> int:
        """Which attempt the chunks are of, from 1."""
        return self._inlet.attempt

    @property
    def result(self) -> Any:
        """What the handler returned at its end. Raises RuntimeError before that."""
        return self.response.data

    def _chunk_of(self, arrived: Arrived) -> tuple[T] | None:
        """The chunk that has arrived; None if it was something else. Raises TaskferryError if it is the end of the
        request, and a failure."""
        match arrived:
            case Part(data):
                return (data if self._type is None else self._wire.convert(data, self._type),)
            case Progress():
                if self._on_progress is not None:
                    self._on_progress(arrived)
            case Began(attempt):
                if self._on_reset is None:
                    raise began_again(attempt)
                self._on_reset(attempt)
            case Response():
                self._response = arrived
                if not arrived.success:
                    raise response_error(arrived)
        return None


class Stream(Told[T], AsyncIterator[T]):
    """What `Requester.stream` gives: take the chunks with `async for`, once.

    The request is sent when the first chunk is asked for. It is cancelled at the broker if the loop is left before the
    end, and by `cancel`. `response` and `result` are there when all chunks were taken.
    """

    def __init__(
        self,
        begin: Callable[[OutgoingRequest, Inlet], Exchange],
        message: OutgoingRequest,
        wire: Wire,
        *,
        on_progress: OnProgress | None,
        on_reset: OnReset | None,
        type_: Any,
    ) -> None:
        super().__init__(Inlet(), wire, on_progress=on_progress, on_reset=on_reset, type_=type_)
        self._begin = begin
        self._message = message
        self._exchange: Exchange | None = None
        self._chunks: AsyncGenerator[T] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def __aiter__(self) -> AsyncGenerator[T]:
        if self._chunks is not None:
            return self._chunks
        if self._exchange is not None:
            raise RuntimeError(READ_ONCE)
        # Not kept: so the end of the loop is the end of the generator, and of the request.
        return self._take()

    async def __anext__(self) -> T:
        """The next chunk, for those who ask one by one: use `async with` then, or call `cancel`."""
        self._chunks = aiter(self)
        return await anext(self._chunks)

    def cancel(self) -> None:
        """Cancel the request, if it has not ended."""
        self._inlet.is_over = True
        if self._exchange is not None and self._inlet.request is not None:
            self._exchange.abandon(self._inlet.request)

    async def _take(self) -> AsyncGenerator[T]:
        self._exchange = self._begin(self._message, self._inlet)
        try:
            async for arrived in arrivals(self._inlet):
                chunk = self._chunk_of(arrived)
                if chunk is not None:
                    yield chunk[0]
        finally:
            self.cancel()


async def arrivals(inlet: Inlet) -> AsyncGenerator[Arrived]:
    """All that comes of a request, up to and with its response."""
    loop = asyncio.get_running_loop()
    arrived: Arrived | None = None
    while not isinstance(arrived, Response):
        arrived = inlet.take()
        if arrived is None:
            reader: asyncio.Future[Arrived] = loop.create_future()
            inlet.read(reader)
            arrived = await reader
        yield arrived


def progress_reported(arrived: Arrived, on_progress: OnProgress) -> Response | None:
    """The response of a request of which only progress is wanted, once it has arrived."""
    match arrived:
        case Response():
            return arrived
        case Progress():
            on_progress(arrived)
    return None
