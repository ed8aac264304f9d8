"""What BlockingRequester offers to reach many workers at once, and other programs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, Unpack

from msgspec import UNSET

from ..program.own_messages import Handler, MessageHandlers
from ..protocol.gather_messages import Count
from .gather import Collecting, Gathered, GatherOptions, OnItem, broadcasting, sending
from .inlet import Arrived, Inlet
from .question import ANSWER_TIMEOUT_S_DEFAULT, Question
from .response import Response
from .wire import OutgoingRequest, Target, Wire


class BlockingGatherCalls(ABC):
    """Gathers, broadcasts and messages over one connection, from any thread."""

    @abstractmethod
    def _ask(self, question: Question) -> Any:
        """Ask it, and return the message that answers it. Raises the TaskferryError that it ends with."""

    @abstractmethod
    def _arrivals(self, message: OutgoingRequest, inlet: Inlet) -> Generator[Arrived]:
        """Send a request, and give all that comes of it, up to and with its response."""

    @property
    @abstractmethod
    def _wire(self) -> Wire:
        """The encoding of the connection."""

    @property
    @abstractmethod
    def _handlers(self) -> MessageHandlers:
        """Of messages of the user's own."""

    def gather(
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
        """Run `command` on each worker that serves it, as Requester.gather does. `on_item` is called in this thread."""
        collecting = Collecting(self._wire, on_item=on_item, type_=type, expect=expect, batch=batch)
        message = collecting.message(command, data, options)
        response: Response | None = None
        with closing(self._arrivals(message, Inlet())) as arriving:
            for arrived in arriving:
                response = collecting.take(arrived)
        assert response is not None, "it comes last"
        return collecting.gathered(response)

    def broadcast(
        self,
        kind: str,
        data: object = None,
        *,
        target: Target | None = None,
        timeout: float = ANSWER_TIMEOUT_S_DEFAULT,
    ) -> int:
        """Send a message of your own to each worker, as Requester.broadcast does."""
        count: int = self._ask(broadcasting(self._wire, kind, data, target, timeout)).count
        return count

    def send(
        self,
        kind: str,
        data: object = None,
        *,
        to: str | None = None,
        timeout: float = ANSWER_TIMEOUT_S_DEFAULT,
    ) -> None:
        """Send a message of your own to a worker, a connection or the broker's plugins, as Requester.send does."""
        self._ask(sending(self._wire, kind, data, to, timeout))

    def on_message(self, kind: str) -> Callable[[Handler], Handler]:
        """Decorate the handler of messages of this kind, as Requester.on_message does. Handlers run in threads of this
        requester."""
        return self._handlers.on(kind)
