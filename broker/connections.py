"""The connections that are open on all ports of a broker that speak WebSocket, each with an id, in the order in which
they opened."""

import secrets
from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .entrant import Entrant


class Connections:
    """By connection_id. An id is never used again, not even by the next broker in this place: what an operator does to
    a connection must not hit another one."""

    __slots__ = ("_numbers", "_open", "_prefix")

    def __init__(self) -> None:
        self._prefix = f"{secrets.token_hex(3)}-"
        self._numbers = count(1)
        self._open: dict[str, Entrant] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator["Entrant"]:
        return iter(self._open.values())

    def opened(self, entrant: "Entrant") -> str:
        """The link of `entrant` is open. Returns the id of its connection."""
        entrant.number = next(self._numbers)
        connection_id = f"{self._prefix}{entrant.number}"
        self._open[connection_id] = entrant
        return connection_id

    def closed(self, connection_id: str) -> None:
        """Its link has closed. An id of no connection is ignored."""
        self._open.pop(connection_id, None)

    def get(self, connection_id: str) -> "Entrant | None":
        """The open connection with this id."""
        return self._open.get(connection_id)

    def after(self, connection_id: str) -> "Iterable[Entrant]":
        """Those that opened after this one, open or not, in order; all, if no connection can have had this id."""
        prefix, _, digits = connection_id.rpartition("-")
        if f"{prefix}-" != self._prefix or not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            return tuple(self._open.values())
        number = int(digits)
        return tuple(entrant for entrant in self._open.values() if entrant.number > number)
