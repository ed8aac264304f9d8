"""News of followed jobs, as a broker sends them over one link, for those who read them.

A link that breaks takes the subscription with it: each reader is told so, in order, and asks again.
"""

import asyncio
from collections import deque
from typing import Final

from ...protocol.errors import TaskferryError
from ...protocol.job_messages import JobAssigned, JobEnded
from ..answers import Chunk, Progress
from ..in_flight import Waiter

UNREAD_COUNT_MAX: Final = 1000
"""News of one job that wait here to be read: ten times as many as a job has attempts. If there are more, all are
dropped, and the reader asks again."""

UNREAD_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of progress and chunks of one job that wait here to be read. A job does not wait for those that follow it: what
comes beyond is dropped, which shows in the numbers of the chunks."""

Piece = Progress | Chunk
"""What an attempt reports or sends before its end."""

News = JobAssigned | JobEnded | Piece | None
"""A step of a job, or a piece; None: a step was missed, so ask again."""


class Feed:
    """What has come about one job and was not yet read, by one reader, in the event loop of the link. `wants_pieces`:
    progress and chunks as well as steps."""

    __slots__ = ("_error", "_reader", "_unread", "_unread_size_bytes", "job_id", "wants_pieces")

    def __init__(self, job_id: str, *, wants_pieces: bool = False) -> None:
        self.job_id = job_id
        self.wants_pieces = wants_pieces
        self._unread: deque[tuple[News, int]] = deque()
        self._unread_size_bytes = 0
        """Of pieces."""
        self._reader: Waiter | None = None
        self._error: TaskferryError | None = None

    def received(self, news: News, size_bytes: int = 0) -> None:
        """There is news; of pieces, with its size."""
        is_piece = isinstance(news, Progress | Chunk)
        if self._error is not None or (is_piece and not self.wants_pieces):
            return
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(news)
            return
        if is_piece and (
            self._unread_size_bytes + size_bytes > UNREAD_SIZE_BYTES_MAX
            or len(self._unread) >= UNREAD_COUNT_MAX
        ):
            return
        if not is_piece and sum(not size for _, size in self._unread) >= UNREAD_COUNT_MAX:
            self._unread.clear()
            self._unread_size_bytes = 0
            news = None
        self._unread.append((news, size_bytes))
        self._unread_size_bytes += size_bytes

    def failed(self, error: TaskferryError) -> None:
        """There will be no more news."""
        self._error = error
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_exception(error)

    def read(self, reader: Waiter) -> None:
        """`reader` gets the next news."""
        if self._unread:
            news, size_bytes = self._unread.popleft()
            self._unread_size_bytes -= size_bytes
            reader.set_result(news)
        elif self._error is not None:
            reader.set_exception(self._error)
        else:
            self._reader = reader

    async def next(self) -> News:
        """The next news. Raises what the requester ended with."""
        reader: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        self.read(reader)
        return await reader


class Feeds:
    """The feeds of one requester, by job."""

    __slots__ = ("_by_job",)

    def __init__(self) -> None:
        self._by_job: dict[str, dict[Feed, None]] = {}

    def add(self, feed: Feed) -> None:
        """It gets the news of its job."""
        self._by_job.setdefault(feed.job_id, {})[feed] = None

    def remove(self, feed: Feed) -> None:
        """Nobody reads it any more."""
        feeds = self._by_job.get(feed.job_id, {})
        feeds.pop(feed, None)
        if not feeds:
            self._by_job.pop(feed.job_id, None)

    def received(self, message: JobAssigned | JobEnded | Piece, size_bytes: int = 0) -> None:
        """A message has come."""
        for feed in self._by_job.get(message.job_id or "", ()):
            feed.received(message, size_bytes)

    def link_lost(self) -> None:
        """The broker has forgotten who follows what."""
        for feeds in self._by_job.values():
            for feed in feeds:
                feed.received(None)

    def failed(self, error: TaskferryError) -> None:
        """The requester is closed."""
        for feeds in self._by_job.values():
            for feed in feeds:
                feed.failed(error)
