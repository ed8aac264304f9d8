"""A request whose handler sends its result in parts, as a thread takes them."""

from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from .inlet import Arrived, Inlet
from .progress import OnProgress
from .response import Response
from .stream import READ_ONCE, OnReset, Told
from .wire import OutgoingRequest, Wire

T = TypeVar("T")


class BlockingStream(Told[T], Iterator[T]):
    """What `BlockingRequester.stream` gives: take the chunks with `for`, once, in one thread.

    The request is sent when the first chunk is asked for. It is cancelled at the broker if the loop is left before the
    end, and by `cancel`. `response` and `result` are there when all chunks were taken.
    """

    def __init__(
        self,
        arrivals: Callable[[OutgoingRequest, Inlet], Generator[Arrived]],
        message: OutgoingRequest,
        wire: Wire,
        *,
        on_progress: OnProgress | None,
        on_reset: OnReset | None,
        type_: Any,
    ) -> None:
        super().__init__(Inlet(), wire, on_progress=on_progress, on_reset=on_reset, type_=type_)
        self._arrivals = arrivals
        self._message = message
        self._arriving: Generator[Arrived] | None = None
        self._chunks: Generator[T] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def __iter__(self) -> Generator[T]:
        if self._chunks is not None:
            return self._chunks
        if self._arriving is not None:
            raise RuntimeError(READ_ONCE)
        # Not kept: so the end of the loop is the end of the generator, and of the request.
        return self._take()

    def __next__(self) -> T:
        """The next chunk, for those who ask one by one: use `with` then, or call `cancel`."""
        self._chunks = iter(self)
        return next(self._chunks)

    def cancel(self) -> None:
        """Cancel the request, if it has not ended."""
        if self._arriving is not None:
            self._arriving.close()

    def _take(self) -> Generator[T]:
        self._arriving = self._arrivals(self._message, self._inlet)
        try:
            for arrived in self._arriving:
                chunk = self._chunk_of(arrived)
                if chunk is not None:
                    yield chunk[0]
                if isinstance(arrived, Response):
                    return
        finally:
            self._arriving.close()
