"""What Requester offers to reach many workers at once, and other programs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Unpack

from msgspec import UNSET

from ..program.own_messages import Handler, MessageHandlers
from ..protocol.gather_messages import Count
from .exchange import Exchange
from .gather import Collecting, Gathered, GatherOptions, OnItem, broadcasting, sending
from .inlet import Inlet
from .question import ANSWER_TIMEOUT_S_DEFAULT, Question
from .response import Response
from .stream import arrivals
from .wire import OutgoingRequest, Target, Wire


class GatherCalls(ABC):
    """Gathers, broadcasts and messages over one connection."""

    @abstractmethod
    async def _ask(self, question: Question) -> Any:
        """Ask it, and return the message that answers it. Raises the TaskferryError that it ends with."""

    @abstractmethod
    def _begin_stream(self, message: OutgoingRequest, inlet: Inlet) -> Exchange:
        """Send a request; `inlet` gets all that comes of it."""

    @property
    @abstractmethod
    def _wire(self) -> Wire:
        """The encoding of the connection."""

    @property
    @abstractmethod
    def _handlers(self) -> MessageHandlers:
        """Of messages of the user's own."""

    async def gather(
        self,
        command: str,
        data: object = UNSET,
        *,
        expect: Count = "all",
        batch: Count | None = None,
        type: Any = None,
        on_item: OnItem | None = None,
        **options: Unpack[GatherOptions],
    ) -> Gathered:
        """Run `command` with `data` on each worker that serves it and matches `target`, and return what came of it.

        ```python
        answer = await requester.gather("uptime", target={"zone": "eu-1"})
        for item in answer.items: ...
        ```

        `expect`: when that is complete: `"all"`, each of them has ended; a number, or a share such as 0.5, so many have
        succeeded: the others are cancelled then. `batch`: how many of them run it at once: a number or a share.
        `timeout`: for all of it; then what has come by that is the answer. `type`: of the data of the items. `on_item`:
        called with each item as it comes. The other options are those of `call`.

        Workers that fail or are lost are items with an error. Raises TaskferryError if it cannot be done at all:
        NoAvailableWorkers, Forbidden, Overloaded, and so on. Cancelling the coroutine cancels it everywhere.
        """
        collecting = Collecting(self._wire, on_item=on_item, type_=type, expect=expect, batch=batch)
        message = collecting.message(command, data, options)
        inlet = Inlet()
        response: Response | None = None
        exchange = self._begin_stream(message, inlet)
        try:
            async with aclosing(arrivals(inlet)) as arriving:
                async for arrived in arriving:
                    response = collecting.take(arrived)
        finally:
            inlet.is_over = True
            if inlet.request is not None:
                exchange.abandon(inlet.request)
        assert response is not None, "it comes last"
        return collecting.gathered(response)

    async def broadcast(
        self,
        kind: str,
        data: object = None,
        *,
        target: Target | None = None,
        timeout: float = ANSWER_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109  for the answer
    ) -> int:
        """Send a message of your own to each worker that is connected, or that matches `target`. Returns how many those
        are. Workers handle it by `@worker.message(kind)`; none answers.

        Raises what a question may end with: CannotConnect, ConnectionLost, Forbidden, TooLarge, NotRepresentable.
        """
        answer = await self._ask(broadcasting(self._wire, kind, data, target, timeout))
        count: int = answer.count
        return count

    async def send(
        self,
        kind: str,
        data: object = None,
        *,
        to: str | None = None,
        timeout: float = ANSWER_TIMEOUT_S_DEFAULT,  # noqa: ASYNC109  for the answer
    ) -> None:
        """Send a message of your own to a worker (its worker_id) or a connection (its id, such as the `sender` of a
        message); without `to`, to the broker's plugins. Returns when the broker has passed it on.

        Raises what `broadcast` raises; UnknownReceiver if nobody is there, and UnknownMessageType if no plugin handles
        its kind.
        """
        await self._ask(sending(self._wire, kind, data, to, timeout))

    def on_message(self, kind: str) -> Callable[[Handler], Handler]:
        """Decorate the handler of messages of this kind that others send to this connection. It is called with a
        Message: `kind`, `data` and `sender`. A coroutine runs in the event loop, any other function in a thread.

        Raises ValueError if this kind has a handler.
        """
        return self._handlers.on(kind)
