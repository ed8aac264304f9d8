"""Messages of the user's own, which other programs send: each goes to the handler of its kind.

Coroutines run in the event loop, each as a task. Other functions run one after the other, in a thread of their own.
What nobody handles is counted and ignored.
"""

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from msgspec import Struct

from ..log.event import log_event
from ..protocol.limits import NAME_LENGTH_MAX
from .events import MessageDropped, MessageHandlerFailed

WAITING_COUNT_MAX: Final = 1000
"""Messages whose handlers have not ended. One more is dropped: a sender that is faster than the handlers would fill the
memory otherwise."""

logger = logging.getLogger(__name__)


class Message(Struct, frozen=True):
    """A message of the user's own. `sender`: the worker_id, or the id of the connection, that has sent it."""

    kind: str
    data: Any
    sender: str


Handler = TypeVar("Handler", bound=Callable[[Message], Any])


class MessageHandlers:
    """The handlers of one program, by kind. `received` is called in its event loop.

    `ignored_count`: messages of kinds without a handler; `dropped_count`: those over WAITING_COUNT_MAX.
    """

    def __init__(self) -> None:
        self.ignored_count = 0
        self.dropped_count = 0
        self._handlers: dict[str, Callable[[Message], Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: queue.SimpleQueue[tuple[Callable[[Message], Any], Message]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def on(self, kind: str) -> Callable[[Handler], Handler]:
        """Decorate the handler of a kind. Raises ValueError if the kind has one, or is no text of 1 to 128
        characters."""
        name: object = kind
        if not isinstance(name, str) or not 1 <= len(name) <= NAME_LENGTH_MAX:
            raise ValueError(f"kind: expected a text of 1 to {NAME_LENGTH_MAX} characters, got {name!r:.40}")

        def register(handler: Handler) -> Handler:
            if kind in self._handlers:
                raise ValueError(f"message {kind!r}: there is already a handler for it")
            self._handlers[kind] = handler
            return handler

        return register

    def has(self, kind: str) -> bool:
        """There is a handler for this kind."""
        return kind in self._handlers

    def received(self, kind: str, data: Any, sender: str) -> None:
        """Begin to handle a message."""
        handler = self._handlers.get(kind)
        if handler is None:
            self.ignored_count += 1
            return
        if len(self._tasks) + self._queue.qsize() >= WAITING_COUNT_MAX:
            self.dropped_count += 1
            log_event(logger, MessageDropped(kind, WAITING_COUNT_MAX))
            return
        message = Message(kind, data, sender)
        if inspect.iscoroutinefunction(handler):
            task = asyncio.get_running_loop().create_task(_awaited(handler(message), kind))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._queue.put((handler, message))
        if self._thread is None or not self._thread.is_alive():  # after a fork there is none
            self._thread = threading.Thread(
                target=_handle_all, args=(self._queue,), name="taskferry messages", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Cancel what runs in the event loop. What runs in the thread goes on."""
        for task in tuple(self._tasks):
            task.cancel()


async def _awaited(handling: Coroutine[Any, Any, object], kind: str) -> None:
    try:
        await handling
    except Exception as error:  # a handler may raise anything
        _failed(kind, error)


def _handle_all(waiting: "queue.SimpleQueue[tuple[Callable[[Message], Any], Message]]") -> None:
    """Run in a thread, which ends with the process."""
    while True:
        handler, message = waiting.get()
        try:
            handler(message)
        except Exception as error:  # as above
            _failed(message.kind, error)


def _failed(kind: str, error: Exception) -> None:
    log_event(logger, MessageHandlerFailed(kind, type(error).__name__, " ".join(str(error).split())))
