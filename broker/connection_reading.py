"""Who is connected, row by row: for the HTTP views.

Reads, and changes nothing.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from .connections import Connections
from .entrant import Entrant
from .page import Page
from .slices import Slices


class ConnectionRow(Struct, frozen=True):
    """An open connection, as `/api/connections` shows it. Seconds; `heard_s`: since it was last heard, to half a
    second; counts are of messages. `peer` is the other end of the connection, `address` the client's behind it, if that
    is a proxy; `client_id`, `worker_id` and `device` are as it has said."""

    connection_id: str
    port: str
    identity: str
    client_id: str | None
    worker_id: str | None
    device: Mapping[str, str]
    peer: str
    address: str
    encoding: str
    connected_s: float
    heard_s: float
    received_count: int
    sent_count: int


class ConnectionsPage(Struct, frozen=True):
    """Some of `connections_count` open connections. `next`: after which the next page begins; None if there is none."""

    connections: list[ConnectionRow]
    connections_count: int
    next: str | None


class Wanted(NamedTuple):
    """Which connections are asked for: those of this port, identity and client_id; None: any."""

    port: str | None = None
    identity: str | None = None
    client_id: str | None = None

    def matches(self, entrant: Entrant) -> bool:
        """It is one of them."""
        return (
            (self.port is None or entrant.port == self.port)
            and (self.identity is None or entrant.login.identity.name == self.identity)
            and (self.client_id is None or entrant.client_id == self.client_id)
        )


class ConnectionReading:
    """The open connections. `reading` is held by whatever reads long lists."""

    def __init__(self, connections: Connections, reading: asyncio.Lock) -> None:
        self._connections = connections
        self._reading = reading

    async def page(self, page: Page, wanted: Wanted) -> ConnectionsPage:
        """Some of them, in the order in which they opened."""
        rows: list[ConnectionRow] = []
        following = None
        slices = Slices()
        async with self._reading:
            for entrant in self._connections.after(page.after):
                if wanted.matches(entrant) and self._connections.get(entrant.connection_id) is entrant:
                    if len(rows) == page.limit:
                        following = rows[-1].connection_id
                        break
                    rows.append(_row(entrant))
                await slices.give_way()
        return ConnectionsPage(rows, len(self._connections), following)

    def row(self, connection_id: str) -> ConnectionRow | None:
        """One of them."""
        entrant = self._connections.get(connection_id)
        return None if entrant is None else _row(entrant)


def _row(entrant: Entrant) -> ConnectionRow:
    now, link = time.monotonic(), entrant.link
    return ConnectionRow(
        connection_id=entrant.connection_id,
        port=entrant.port,
        identity=entrant.login.identity.name,
        client_id=entrant.client_id,
        worker_id=entrant.worker_id,
        device=entrant.device,
        peer=link.peer,
        address=entrant.address.name,
        encoding=link.encoding.value,
        connected_s=round(now - entrant.opened_at, 3),
        heard_s=round(link.heard_s(now), 3),
        received_count=link.received_count,
        sent_count=link.sent_count,
    )
