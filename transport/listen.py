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
from .link import Link
from .loop_protocol import LoopProtocol
from .receiver import Receiver
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
    never_opened: Callable[[str, str], None] = lambda peer, reason: None,
    counts: LinkCounts | None = None,
) -> asyncio.Server:
    """Accept WebSocket connections on `host`:`port` (0: any free one; ask the server's sockets which).

    `make_receiver` gives the receiver for a connection, or a text with which to refuse it (HTTP 503). `never_opened` is
    told of each that ended before its handshake did: the peer, and why. What passes through the port is added to
    `counts`.
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
        incoming = _Incoming(never_opened, None if isinstance(receiver, str) else receiver)
        refusal = receiver if isinstance(receiver, str) else None
        incoming.link = Link(protocol, incoming, group, settings, refusal=refusal, counts=counts)
        return LoopProtocol(incoming.link)

    loop = asyncio.get_running_loop()
    return await loop.create_server(
        make_link, host, port, backlog=BACKLOG, family=socket.AF_UNSPEC, reuse_address=True
    )


class _Incoming:
    """The receiver of a connection until it opens, or for good where it is being refused."""

    __slots__ = ("_never_opened", "_receiver", "link")

    link: Link

    def __init__(self, never_opened: Callable[[str, str], None], receiver: Receiver | None) -> None:
        self._never_opened = never_opened
        self._receiver = receiver

    def link_opened(self, link: Link) -> None:
        assert self._receiver is not None, "a refused connection does not open"
        link.receiver = self._receiver
        self._receiver.link_opened(link)

    def messages_received(self, payloads: list[bytes]) -> None:
        raise AssertionError("nothing is received before the link opens")

    def wrong_kind_received(self) -> None:
        raise AssertionError("nothing is received before the link opens")

    def link_closed(self, reason: str) -> None:
        self._never_opened(self.link.peer, reason)
        if self._receiver is not None:
            self._receiver.link_closed(reason)
