"""Events of topics, as a thread takes them. They come in another thread, with an event loop of its own."""

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, Self, TypeVar

from ..configuration.url import without_secrets
from ..program.loop import new_event_loop
from .client_arguments import Arguments
from .subscription import Subscription, check_topics
from .topic_events import Gap, TopicEvent

T = TypeVar("T")

STOP_S_MAX: Final = 5.0
"""How long closing waits for the thread: the closing handshake takes at most half of it."""


class BlockingSubscription(Iterator[TopicEvent | Gap]):
    """What `BlockingRequester.subscribe` gives: enter it with `with`, and take events with `for`, in one thread. Raises
    what Subscription raises."""

    def __init__(self, arguments: Arguments, topics: Sequence[str], *, timeout_s: float) -> None:
        self.topics = check_topics(topics)
        self._arguments = arguments
        self._timeout_s = timeout_s
        self._unread: deque[TopicEvent | Gap] = deque()
        self._subscription: Subscription | None = None

    def __enter__(self) -> Self:
        if self._subscription is not None:
            raise RuntimeError("a subscription is entered once: make another one")
        self._subscription = Subscription(self._arguments, self.topics, timeout_s=self._timeout_s)
        self._loop = new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever,
            name=f"taskferry subscription {without_secrets(self._arguments.url)}",
            daemon=True,
        )
        self._thread.start()
        try:
            self._run(self._subscription.__aenter__())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TopicEvent | Gap:
        """The next event, or a Gap."""
        if self._subscription is None:
            raise RuntimeError("use a subscription within `with`")
        if not self._unread:
            if not self._thread.is_alive():
                raise StopIteration
            self._unread.extend(self._run(self._subscription.next_ones()))
        if not self._unread:
            raise StopIteration
        return self._unread.popleft()

    def close(self) -> None:
        """Leave the broker. May be called twice."""
        if self._subscription is None or self._loop.is_closed():
            return
        self._run(self._subscription.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_S_MAX)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of `work`, which is done in the other thread. Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
