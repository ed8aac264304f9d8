"""Events of topics, as they come: over a link of its own, which is opened again whenever it breaks.

Each time it says how far it had got, so that nothing is missed, or a Gap says that something was.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Self

from ..protocol.errors import Cancelled, TaskferryError
from ..protocol.limits import TOPIC_LENGTH_MAX, TOPICS_COUNT_MAX
from ..transport.settings import LinkSettings
from .client_arguments import Arguments
from .connection import Connection
from .listening import Listening
from .topic_events import Gap, TopicEvent

UNREAD_COUNT_MAX: Final = 10_000
"""Events that wait here for the program. Beyond it the oldest are dropped, and a Gap takes their place."""


class Subscription:
    """What `Requester.subscribe` gives: enter it with `async with`, and take events with `async for`, in one task.

    ```python
    async with requester.subscribe("task:*") as events:
        async for event in events:
    ```

    Entering waits for the broker's answer. Raises CannotConnect if there is none in time; Unauthenticated, Forbidden or
    Overloaded if it refuses. After that it is connected again by itself.
    """

    def __init__(self, arguments: Arguments, topics: Sequence[str], *, timeout_s: float) -> None:
        self.topics = check_topics(topics)
        self._arguments = arguments
        self._timeout_s = timeout_s
        self._listening: Listening | None = None
        self._connection: Connection | None = None
        self._unread: deque[TopicEvent | Gap] = deque()
        self._has_news = asyncio.Event()
        self._error: TaskferryError | None = None
        self._is_begun = False

    async def __aenter__(self) -> Self:
        if self._is_begun:
            raise RuntimeError("a subscription is entered once: make another one")
        self._is_begun = True
        arguments = self._arguments
        listening = self._listening = Listening(
            arguments.url, arguments.encoding, self.topics, self._received, self._failed
        )
        connection = self._connection = Connection(listening, LinkSettings(), arguments.tokens, arguments.tls)
        try:
            await connection.wait(self._timeout_s, retry=True)
            await listening.wait_answer(self._timeout_s)
            if self._error is not None:
                raise self._error
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TopicEvent | Gap:
        """The next event, or a Gap. Raises what the broker refuses the subscription with, if that is after a
        reconnect."""
        if not self._is_begun:
            raise RuntimeError("use a subscription within `async with`")
        while not self._unread:
            if self._error is not None:
                raise self._error
            if self._connection is None:
                raise StopAsyncIteration
            self._has_news.clear()
            await self._has_news.wait()
        return self._unread.popleft()

    async def next_ones(self) -> list[TopicEvent | Gap]:
        """All that has come and was not read, at least one; none once it is closed. Raises what `async for` does."""
        try:
            first = await self.__anext__()
        except StopAsyncIteration:
            return []
        ones = [first, *self._unread]
        self._unread.clear()
        return ones

    async def close(self) -> None:
        """Leave the broker. What has not been read can still be. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        self._has_news.set()

    def _received(self, news: TopicEvent | Gap) -> None:
        unread = self._unread
        unread.append(news)
        if len(unread) > UNREAD_COUNT_MAX:
            first = unread.popleft()
            second = unread.popleft()
            dropped = sum(1 if isinstance(one, TopicEvent) else one.dropped or 1 for one in (first, second))
            unread.appendleft(Gap(first.topic if first.topic == second.topic else "*", dropped, "slow"))
        self._has_news.set()

    def _failed(self, error: TaskferryError) -> None:
        if not isinstance(error, Cancelled):
            self._error = error
        self._has_news.set()


def check_topics(topics: Sequence[str]) -> list[str]:
    """Raises ValueError for topics that no broker takes."""
    if not 1 <= len(topics) <= TOPICS_COUNT_MAX:
        raise ValueError(f"topics: {len(topics)}, expected 1 to {TOPICS_COUNT_MAX}")
    for topic in topics:
        if not 1 <= len(topic) <= TOPIC_LENGTH_MAX:
            raise ValueError(f"topics: {topic[:40]!r} has not 1 to {TOPIC_LENGTH_MAX} characters")
    return list(dict.fromkeys(topics))
