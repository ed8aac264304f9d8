"""News of followed jobs, as a broker sends them over one link, for those who read them.

A link that breaks takes the subscription with it: each reader is told so, in order, and asks again.
"""

import asyncio
from collections import deque
from typing import Final

from ...protocol.errors import TaskferryError
from ...protocol.job_messages import JobAssigned, JobEnded
from ..in_flight import Waiter

UNREAD_COUNT_MAX: Final = 1000
"""News of one job that wait here to be read: ten times as many as a job has attempts. If there are more, all are
dropped, and the reader asks again."""

News = JobAssigned | JobEnded | None
"""A step of a job; None: something was missed, so ask again."""


class Feed:
    """What has come about one job and was not yet read, by one reader, in the event loop of the link."""

    __slots__ = ("_error", "_reader", "_unread", "job_id")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._unread: deque[News] = deque()
        self._reader: Waiter | None = None
        self._error: TaskferryError | None = None

    def received(self, news: News) -> None:
        """There is news."""
        if self._error is not None:
            return
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(news)
            return
        if len(self._unread) >= UNREAD_COUNT_MAX:
            self._unread.clear()
            news = None
        self._unread.append(news)

    def failed(self, error: TaskferryError) -> None:
        """There will be no more news."""
        self._error = error
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_exception(error)

    def read(self, reader: Waiter) -> None:
        """`reader` gets the next news."""
        if self._unread:
            reader.set_result(self._unread.popleft())
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

    def received(self, message: JobAssigned | JobEnded) -> None:
        """A message has come."""
        for feed in self._by_job.get(message.job_id, ()):
            feed.received(message)

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
