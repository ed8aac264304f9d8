"""One of the broker's WebSocket ports: who may connect, how many, and who is connected.

Knows sockets and handshakes; knows nothing of what is said once a link is open.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Generic, TypeVar

from ..log.event import log_event
from ..protocol.encodings import Encoding
from ..transport.admission import HandshakeRequest, Refusal, RefusalReason
from ..transport.counts import LinkCounts
from ..transport.group import LinkGroup
from ..transport.link import Link
from ..transport.listen import listen
from ..transport.receiver import Receiver
from ..transport.settings import LinkSettings
from ..transport.sockets import bound_sockets
from ..transport.tls_start import TlsContext
from .events import HandshakeRefused

logger = logging.getLogger(__name__)

Session = TypeVar("Session", bound=Receiver)


class PortTaken(Exception):
    """The broker could not bind a port: one line that says which and why."""


class Port(Generic[Session]):
    """`open`, then `close`; connections that are open stay open. Attributes: `name`, in logs and metrics; `number`, the
    real one once it is open; `connections_count_max`, the most concurrent connections, which may be changed (those in
    their handshake count, but the oldest of them makes room for one that has finished it); `counts`, what has passed
    through it; `sessions`, one for each open connection, which enter and leave by themselves. With `tls` it speaks
    nothing else. `spoken`: the encodings that a client may choose.

    `make_session` decides about each valid handshake for which there is room, and logs what it refuses."""

    def __init__(
        self,
        name: str,
        make_session: Callable[["Port[Session]", HandshakeRequest], Session | Refusal],
        links: LinkSettings,
        connections_count_max: int,
        tls: TlsContext | None = None,
        *,
        spoken: Sequence[Encoding] = tuple(Encoding),
    ) -> None:
        self.name = name
        self.number = 0
        self.connections_count_max = connections_count_max
        self.counts = LinkCounts()
        self.sessions: dict[Session, None] = {}
        self._make_session = make_session
        self._links = links
        self._tls = tls
        self._spoken = spoken
        self._unfinished: dict[Link, None] = {}
        self._servers: list[asyncio.Server] = []

    async def open(self, host: str, number: int, group: LinkGroup) -> None:
        """Listen on `host`:`number` (0: any free port). Raises PortTaken."""
        listeners: list[socket.socket] = []
        try:
            listeners = bound_sockets(host, number)
            for listener in listeners:
                self.number = int(listener.getsockname()[1])
                server = await listen(
                    listener,
                    self._admit,
                    group,
                    self._links,
                    never_opened=self._never_opened,
                    counts=self.counts,
                    unfinished=self._unfinished,
                    tls=self._tls,
                    spoken=self._spoken,
                )
                self._servers.append(server)
        except OSError as error:
            for listener in listeners[len(self._servers) :]:
                listener.close()
            raise PortTaken(f"{self.name} port {host}:{number}: {describe_os_error(error)}") from None

    def close(self) -> None:
        """Accept no more connections."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _admit(self, request: HandshakeRequest) -> Session | Refusal:
        """A session for a connection, which is counted already; or why there is none."""
        count_max = self.connections_count_max
        if self.counts.connections_count > count_max and not self._has_made_room():
            text = f"over {count_max} connections on the {self.name} port (connections_count_max)"
            log_event(logger, HandshakeRefused(self.name, request.peer_host, text))
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, RefusalReason.TOO_MANY_CONNECTIONS)
        return self._make_session(self, request)

    def _has_made_room(self) -> bool:
        """Drop the oldest unfinished handshake, if there is one: connections that say nothing must not keep out those
        that do."""
        link = next(iter(self._unfinished), None)
        if link is None:
            return False
        del self._unfinished[link]
        self.counts.handshakes_refused[RefusalReason.TOO_MANY_CONNECTIONS] += 1
        link.abort("handshake not finished when others needed its place (connections_count_max)")
        return True

    def _never_opened(self, peer: str, reason: str) -> None:
        if not reason.startswith("connection lost"):  # ignore who connects and leaves, such as health probes
            address = peer.rpartition(":")[0]
            log_event(
                logger, HandshakeRefused(self.name, address, reason.removeprefix("handshake refused: "))
            )


def describe_os_error(error: OSError) -> str:
    """Short, and for people."""
    text = (error.strerror or str(error)).lower()
    return "already in use by another program" if "in use" in text else text
