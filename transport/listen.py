"""Accepting links on a port: one listening socket, one receiver made for each connection."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from websockets.exceptions import NegotiationError
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from ..protocol.encodings import SUBPROTOCOLS, choose
from .counts import LinkCounts
from .group import LinkGroup
from .link import Link, Receiver
from .loop_protocol import LoopProtocol
from .settings import LinkSettings
from .websocket_log import websocket_logger

BACKLOG: Final = 4096
"""Connections that may wait to be accepted: after a broker's restart all of its clients come back at once."""

_OFFERED: Final = [Subprotocol(name) for name in SUBPROTOCOLS]


def _select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    encoding = choose(offered)
    if encoding is None:
        raise NegotiationError(f"unknown sub-protocol; expected one of {', '.join(SUBPROTOCOLS)}, or none")
    return Subprotocol(encoding.subprotocol) if offered else None


async def listen(
    host: str,
    port: int,
    make_receiver: Callable[[], Receiver | str],
    group: LinkGroup,
    settings: LinkSettings,
    *,
    counts: LinkCounts | None = None,
) -> asyncio.Server:
    """Accept WebSocket connections on `host`:`port` (0: any free one; ask the server's sockets which).

    `make_receiver` gives the receiver for a connection, or a text with which to refuse it (HTTP 503). What passes
    through the port is added to `counts`.
    Raises OSError where the port cannot be had.
    """

    def make_link() -> LoopProtocol:
        protocol = ServerProtocol(
            subprotocols=_OFFERED,
            select_subprotocol=_select,
            max_size=settings.message_size_bytes_max,
            logger=websocket_logger,
        )
        receiver = make_receiver()
        if isinstance(receiver, str):
            return LoopProtocol(Link(protocol, _Refused(), group, settings, refusal=receiver, counts=counts))
        return LoopProtocol(Link(protocol, receiver, group, settings, counts=counts))

    loop = asyncio.get_running_loop()
    return await loop.create_server(
        make_link, host, port, backlog=BACKLOG, family=socket.AF_UNSPEC, reuse_address=True
    )


class _Refused:
    """The receiver of a connection that is being refused."""

    def link_opened(self, link: Link) -> None:
        raise AssertionError("a refused connection does not open")

    def messages_received(self, payloads: list[bytes]) -> None:
        raise AssertionError("a refused connection does not open")

    def wrong_kind_received(self) -> None:
        raise AssertionError("a refused connection does not open")

    def link_closed(self, reason: str) -> None:
        return
