"""Accepting links on a socket: a receiver for each connection whose handshake is accepted."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from websockets.exceptions import NegotiationError
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from ..protocol.encodings import TOKEN_SUBPROTOCOL, Encoding, choose
from .admission import HandshakeRequest, MakeReceiver, Refusal, RefusalReason
from .counts import LinkCounts
from .group import LinkGroup
from .link import Link
from .loop_protocol import LoopProtocol
from .receiver import Receiver
from .settings import LinkSettings
from .tls_start import TlsContext, TlsHandshakes
from .websocket_log import websocket_logger

BACKLOG: Final = 4096
"""Connections that may wait to be accepted: after a broker restarts, all of its clients come back at once."""

TLS_HANDSHAKES_COUNT_MAX: Final = BACKLOG
"""TLS handshakes of one port that may be unfinished: each takes 60 KB, so these take 240 MB at most."""

Select = Callable[[ServerProtocol, Sequence[Subprotocol]], Subprotocol | None]


def _select_among(spoken: Sequence[Encoding]) -> Select:
    """Picks the sub-protocol of one of these encodings. Without any that is offered it is JSON."""
    names = [encoding.subprotocol for encoding in spoken]

    def select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        encodings = [name for name in offered if not name.startswith(TOKEN_SUBPROTOCOL)]
        encoding = choose([name for name in encodings if name in names]) if encodings else Encoding.JSON
        if encoding is None or (encodings and encoding.subprotocol not in encodings):
            raise NegotiationError(f"unknown sub-protocol; expected one of {', '.join(names)}, or none")
        return Subprotocol(encoding.subprotocol) if encodings else None

    return select


async def listen(
    listener: socket.socket,
    make_receiver: MakeReceiver,
    group: LinkGroup,
    settings: LinkSettings,
    *,
    never_opened: Callable[[str, str], None] = lambda peer, reason: None,
    counts: LinkCounts | None = None,
    unfinished: dict[Link, None] | None = None,
    tls: TlsContext | None = None,
    spoken: Sequence[Encoding] = tuple(Encoding),
) -> asyncio.Server:
    """Accept WebSocket connections on a socket that is bound, over TLS if `tls` says how.

    `make_receiver` is called with each valid handshake, and returns the receiver of the connection or a Refusal.
    `never_opened` is called with the peer and the reason for each connection that ends before its handshake does,
    unless `make_receiver` refused it.
    `counts` adds up what passes through the port. `unfinished` gets the links whose handshake has neither been accepted
    nor refused, oldest first. `spoken`: the encodings that a client may choose; JSON must be one of them.
    Raises OSError if it cannot listen.
    """

    offered = [Subprotocol(encoding.subprotocol) for encoding in spoken]
    select = _select_among(spoken)
    in_handshake: dict[Link, None] = {} if unfinished is None else unfinished

    def make_link() -> LoopProtocol:
        protocol = ServerProtocol(
            subprotocols=offered,
            select_subprotocol=select,
            max_size=settings.message_size_bytes_max,
            logger=websocket_logger,
        )
        incoming = _Incoming(make_receiver, never_opened, in_handshake)
        incoming.link = Link(protocol, incoming, group, settings, admit=incoming.admit, counts=counts)
        in_handshake[incoming.link] = None
        return LoopProtocol(incoming.link)

    make: Callable[[], asyncio.BaseProtocol] = make_link
    if tls is not None:
        handshakes = _tls_handshakes(tls, settings, never_opened, counts or LinkCounts())
        make = lambda: handshakes.start(make_link)  # noqa: E731  beside the other
    loop = asyncio.get_running_loop()
    return await loop.create_server(make, sock=listener, backlog=BACKLOG)


def _tls_handshakes(
    tls: TlsContext, settings: LinkSettings, never_opened: Callable[[str, str], None], counts: LinkCounts
) -> TlsHandshakes:
    """Those of a port. Their failures are counted and reported as those of WebSocket handshakes are."""

    def failed(peer: str, text: str, reason: RefusalReason) -> None:
        counts.handshakes_refused[reason] += 1
        never_opened(peer, text)

    return TlsHandshakes(
        tls, count_max=TLS_HANDSHAKES_COUNT_MAX, s_max=settings.handshake_s_max, failed=failed
    )


class _Incoming:
    """Takes the place of the real receiver, which is made when the handshake is complete."""

    __slots__ = ("_is_refused", "_make_receiver", "_never_opened", "_receiver", "_unfinished", "link")

    link: Link
    _receiver: Receiver

    def __init__(
        self,
        make_receiver: MakeReceiver,
        never_opened: Callable[[str, str], None],
        unfinished: dict[Link, None],
    ) -> None:
        self._make_receiver = make_receiver
        self._never_opened = never_opened
        self._unfinished = unfinished
        self._is_refused = False

    def admit(self, request: HandshakeRequest) -> Refusal | None:
        self._unfinished.pop(self.link, None)
        decision = self._make_receiver(request)
        if isinstance(decision, Refusal):
            self._is_refused = True
            return decision
        self._receiver = decision
        return None

    def link_opened(self, link: Link) -> None:
        link.receiver = self._receiver
        self._receiver.link_opened(link)

    def messages_received(self, payloads: list[bytes]) -> None:
        raise AssertionError("nothing is received before the link opens")

    def wrong_kind_received(self) -> None:
        raise AssertionError("nothing is received before the link opens")

    def link_closed(self, reason: str) -> None:
        self._unfinished.pop(self.link, None)
        if not self._is_refused:
            self._never_opened(self.link.peer, reason)
