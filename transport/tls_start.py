"""TLS on the connections that a port accepts: each handshake bounded in time, all together in number, and its failure
explained.

A server of asyncio that is given a TLS context reports no handshake that fails, and no one that hangs. Here each
accepted connection starts its own, and gets its protocol once that is complete.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from .admission import RefusalReason

TlsContext = Callable[[], ssl.SSLContext]
"""Called for each handshake: how it is done."""

Failed = Callable[[str, str, RefusalReason], None]
"""Called with the peer, the reason in one line, and the same for counting."""

SHUTDOWN_S_MAX: Final = 2.0
"""How long a peer may take to answer that TLS ends; as long as for a closing handshake of a WebSocket."""

_EXPLAINED: Final = {
    "HTTP_REQUEST": "it sent plain HTTP, and this port speaks TLS: use wss:// or https://",
    "HTTPS_PROXY_REQUEST": "it sent plain HTTP, and this port speaks TLS: use wss:// or https://",
    "WRONG_VERSION_NUMBER": "it did not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it offered TLS older than 1.2 only",
    "NO_SHARED_CIPHER": "it offered no cipher that is accepted here",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust this server's certificate (unknown authority)",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept this server's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept this server's certificate (often: issued for another name)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it does not accept this server's certificate (expired)",
}
"""By OpenSSL's name of the error."""


class TlsHandshakes:
    """The handshakes of one port. `start` makes the protocol of an accepted connection.

    `count_max`: those that may be unfinished; then the oldest is dropped. They take no place of connections, so that
    whoever hangs here keeps nobody out. `s_max`: seconds for each.
    """

    def __init__(
        self,
        context: TlsContext,
        *,
        count_max: int,
        s_max: float,
        failed: Failed,
    ) -> None:
        self._context = context
        self._count_max = count_max
        self._s_max = s_max
        self._failed = failed
        self._unfinished: dict[_TlsStart, asyncio.Task[None]] = {}
        """Oldest first."""

    def start(self, make_opened: Callable[[], asyncio.BaseProtocol]) -> asyncio.Protocol:
        """For the event loop: a protocol that starts the handshake. `make_opened` makes the one that the connection has
        once it is complete."""
        return _TlsStart(self, make_opened)

    def run(self, connection: "_TlsStart") -> None:
        """Start the handshake of a connection that was just accepted."""
        if len(self._unfinished) >= self._count_max:
            oldest = next(iter(self._unfinished))
            self._unfinished.pop(oldest).cancel()
            text = f"over {self._count_max} unfinished TLS handshakes, of which this was the oldest"
            self._failed(oldest.peer, text, RefusalReason.TOO_MANY_CONNECTIONS)
        task = asyncio.create_task(self._handshake(connection))
        task.add_done_callback(lambda _: connection.forget())
        self._unfinished[connection] = task

    def fail(self, connection: "_TlsStart", error: OSError) -> None:
        """Report why a handshake has failed."""
        self._failed(connection.peer, *self._explain(error))

    async def _handshake(self, connection: "_TlsStart") -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                connection.make_opened,
                connection.taken(),
                ssl=self._context(),
                ssl_handshake_timeout=self._s_max,
                ssl_shutdown_timeout=SHUTDOWN_S_MAX,
            )
        except OSError as error:
            self.fail(connection, error)
        finally:
            self._unfinished.pop(connection, None)

    def _explain(self, error: OSError) -> tuple[str, RefusalReason]:
        match error:
            case ssl.SSLCertVerificationError():
                text = f"its certificate is not accepted: {error.verify_message}"
            case ssl.SSLEOFError() | ConnectionResetError() | BrokenPipeError():
                return "connection lost during the TLS handshake", RefusalReason.TLS_FAILED
            case ssl.SSLError():
                name = error.reason or "unknown error"
                text = _EXPLAINED.get(name) or f"TLS failed: {name.lower().replace('_', ' ')}"
            case ConnectionAbortedError():
                return f"TLS handshake not finished within {self._s_max:g} s", RefusalReason.TOO_SLOW
            case _:
                text = f"TLS failed: {error.strerror or error}"
        return text, RefusalReason.TLS_FAILED


class _TlsStart(asyncio.Protocol):
    """A connection that was just accepted. A copy of its socket goes to a new transport, which speaks TLS from the
    first byte. TLS on the transport that is connected already could miss that byte, because uvloop reads at once."""

    __slots__ = ("_accepted", "_handshakes", "make_opened", "peer")

    def __init__(self, handshakes: TlsHandshakes, make_opened: Callable[[], asyncio.BaseProtocol]) -> None:
        self._handshakes = handshakes
        self._accepted: socket.socket | None = None
        self.make_opened = make_opened
        self.peer = "?"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = transport.get_extra_info("socket")
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = f"{address[0]}:{address[1]}"
        try:
            self._accepted = socket.fromfd(accepted.fileno(), accepted.family, accepted.type, accepted.proto)
        except OSError as error:  # no more files can be open
            self._handshakes.fail(self, error)
        else:
            self._handshakes.run(self)
        cast(asyncio.Transport, transport).abort()  # uvloop's are no subclass

    def taken(self) -> socket.socket:
        """The copy of the socket, which belongs to the caller from here on."""
        assert self._accepted is not None, "it is taken once"
        accepted, self._accepted = self._accepted, None
        return accepted

    def forget(self) -> None:
        """Close it if nobody has taken it."""
        if self._accepted is not None:
            self._accepted.close()
