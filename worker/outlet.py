"""Where the chunks of a handler go: to the broker, to another process, into a list, or nowhere.

`Context.send` and generators put them in; which outlet it is depends on what the caller wants, and on where the handler
runs.
"""

import asyncio
import threading
from collections.abc import Awaitable, Generator
from typing import Any, Final, Protocol

from msgspec import Raw

from ..protocol.codec import Codec
from ..protocol.errors import TooLarge, size_fault
from ..protocol.limits import STREAM_CHUNKS_COUNT_MAX
from . import forked
from .assignment import Assignment
from .failure import CommandError, describe_unencodable


class Done:
    """To be awaited, or not: what it stands for has happened already."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


DONE: Final = Done()


class Outlet(Protocol):
    """Takes the chunks of one handler, in order."""

    def send(self, chunk: object) -> Awaitable[None]:
        """Take a chunk. In the event loop, once what is returned has been awaited; elsewhere this blocks until it may
        be sent, and what is returned can be awaited or not.

        Raises CommandError if the chunk cannot be written in the worker's encoding, or is too large; ContextCancelled,
        outside of the event loop, if the handler was cancelled; RuntimeError if it has ended.
        """

    def result(self, returned: object) -> object:
        """The result of a generator that has returned this."""


class ChunkWriter:
    """Chunks as bytes, in the encoding of `codec`, each of at most `size_bytes_max`. Only for the process that has made
    it, not for one that a handler forks."""

    __slots__ = ("_codec", "_fork_depth", "size_bytes_max")

    def __init__(self, codec: Codec, size_bytes_max: int) -> None:
        self._codec = codec
        self._fork_depth = forked.depth()
        self.size_bytes_max = size_bytes_max

    def written(self, chunk: object) -> bytes:
        """Raises CommandError if the chunk cannot be written, or is too large; RuntimeError in a forked child."""
        if forked.depth() != self._fork_depth:
            raise RuntimeError("a forked child cannot send chunks: only its parent has the link")
        try:
            data: bytes = self._codec.encode(chunk)
        except Exception as error:
            raise describe_unencodable(error, self._codec.encoding, "chunk") from None
        if len(data) > self.size_bytes_max:
            raise CommandError(size_fault("chunk", len(data), self.size_bytes_max), code=TooLarge.code)
        return data


class Pace:
    """Between two chunks: a handler in the event loop gives way to others now and then, even if it never has to wait;
    one elsewhere ends if it was cancelled."""

    __slots__ = ("_assignment", "_count", "_loop_thread_id")

    def __init__(self, assignment: Assignment, loop_thread_id: int | None) -> None:
        self._assignment = assignment
        self._loop_thread_id = loop_thread_id
        self._count = 0

    def next(self) -> Awaitable[None]:
        """Raises ContextCancelled outside of the event loop: in it, a cancelled task is interrupted where it waits."""
        if threading.get_ident() != self._loop_thread_id:
            self._assignment.raise_if_cancelled()
            return DONE
        self._count += 1
        return DONE if self._count % STREAM_CHUNKS_COUNT_MAX else asyncio.sleep(0)


class Unwanted:
    """Nobody wants chunks: drops those of `Context.send`."""

    __slots__ = ("_pace",)

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def send(self, _: object) -> Awaitable[None]:
        return self._pace.next()

    def result(self, returned: object) -> object:
        return returned


class Collected:
    """Nobody wants chunks, but a generator yields them: they are its result, as a list, within the bound of a result.

    Each is encoded when it is yielded, as it would be if it were sent.
    """

    __slots__ = ("_chunks", "_pace", "_size_bytes", "_writer")

    def __init__(self, pace: Pace, writer: ChunkWriter) -> None:
        self._pace = pace
        self._writer = writer
        self._chunks: list[Raw] = []
        self._size_bytes = 0

    def send(self, chunk: object) -> Awaitable[None]:
        data = self._writer.written(chunk)
        self._size_bytes += len(data)
        if self._size_bytes > self._writer.size_bytes_max:
            fault = size_fault("result of the generator", self._size_bytes, self._writer.size_bytes_max)
            raise CommandError(f"{fault}; ask for a stream to get it in chunks", code=TooLarge.code)
        self._chunks.append(Raw(data))
        return self._pace.next()

    def result(self, _: object) -> object:
        return self._chunks
