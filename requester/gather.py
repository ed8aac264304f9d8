"""Gathers, broadcasts and messages of the user's own, as both kinds of requester make them and read what comes of
them."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import msgspec
from msgspec import UNSET, Struct

from ..protocol.errors import BadRequest
from ..protocol.gather_messages import Broadcast, Count, Send
from ..protocol.gather_messages import Gather as Wish
from ..protocol.limits import TIMEOUT_S_DEFAULT
from .answers import GatheredItem
from .inlet import Arrived, Began, Part
from .question import IfLost, Question
from .response import Response, response_error
from .wire import OutgoingRequest, Target, Wire

OnItem = Callable[[GatheredItem], object]
"""Called with each item as it comes."""


class GatherOptions(TypedDict, total=False):
    """Options of a gather that are those of a call."""

    timeout: float
    idempotent: bool
    priority: int | None
    trace: str | None
    target: Target | None
    request_id: str | None


class Gathered(Struct, frozen=True):
    """What came of a gather. `items` are in the order in which they ended, `missing` are the workers without one;
    `complete`: what was expected has come."""

    items: tuple[GatheredItem, ...]
    missing: tuple[str, ...]
    complete: bool

    @property
    def results(self) -> Mapping[str, Any]:
        """The data of those that succeeded, by worker_id."""
        return {item.worker_id: item.data for item in self.items if item.success}


class Collecting:
    """One gather, while its items come. `on_item` gets each, if it is given. `type_`: of the data of those that
    succeeded."""

    def __init__(
        self, wire: Wire, *, on_item: OnItem | None, type_: Any, expect: Count, batch: Count | None
    ) -> None:
        self._wire = wire
        self._on_item = on_item
        self._type = type_
        self._wish = {"expect": expect, "batch": batch}
        self._items: list[GatheredItem] = []

    def message(self, command: str, data: object, options: GatherOptions) -> OutgoingRequest:
        """The request. Raises BadRequest, which names the field, if it expects what cannot be."""
        try:
            wish = msgspec.convert(self._wish, Wish)
        except msgspec.ValidationError as error:
            raise BadRequest(f"gather: {error}") from None
        whole: dict[str, Any] = {"request_id": None, "timeout": TIMEOUT_S_DEFAULT, **options}
        return OutgoingRequest(
            command=command, data=data, gather=wish, stream=self._on_item is not None, **whole
        )

    def take(self, arrived: Arrived) -> Response | None:
        """The response, once it has arrived; what comes before is kept. Raises NotRepresentable for an item that is not
        of the type."""
        match arrived:
            case Part(item):
                assert self._on_item is not None, "otherwise it does not stream"
                item = self._typed(item)
                self._items.append(item)
                self._on_item(item)
            case Began():
                self._items.clear()
            case Response():
                return arrived
        return None

    def gathered(self, response: Response) -> Gathered:
        """What came of it. Raises the error of a response that failed, and NotRepresentable."""
        if not response.success:
            raise response_error(response)
        answer: Gathered = self._wire.convert(response.data, Gathered)
        items = tuple(self._items) if self._on_item is not None else tuple(map(self._typed, answer.items))
        return Gathered(items, answer.missing, answer.complete)

    def _typed(self, item: GatheredItem) -> GatheredItem:
        if self._type is None or not item.success:
            return item
        return msgspec.structs.replace(item, data=self._wire.convert(item.data, self._type))


def broadcasting(wire: Wire, kind: str, data: object, target: Target | None, timeout_s: float) -> Question:
    """The question that broadcasts. Raises BadRequest, which names the field, and TooLarge."""
    named = {"kind": kind, "target": target}
    return _question(wire, Broadcast, named, data, timeout_s)


def sending(wire: Wire, kind: str, data: object, to: str | None, timeout_s: float) -> Question:
    """The question that sends a message. Raises BadRequest, which names the field, and TooLarge."""
    return _question(wire, Send, {"kind": kind, "to": to}, data, timeout_s)


def _question(
    wire: Wire, of: type[Struct], named: dict[str, Any], data: object, timeout_s: float
) -> Question:
    try:
        message: Any = msgspec.convert(named, of)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None
    message.data = UNSET if data is None else wire.raw(data)
    return Question(message, timeout_s, IfLost.FAIL, "it may have been sent")
