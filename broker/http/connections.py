"""The connections of the HTTP port: how many there may be, and how long each may take.

uvicorn bounds neither before a request's head is whole: clients that send half a head and wait would hold every file
descriptor. Each connection therefore passes its bytes through here to uvicorn's protocol. One that takes too long to
send its request, or to take its answer, is dropped; if there are too many, the one that has waited longest without a
whole request makes room, so that slow clients, however many, do not keep health probes out.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from ...log.event import log_event
from ...transport.admission import RefusalReason
from ...transport.tls_start import TlsContext, TlsHandshakes
from ..events import HttpRequestRefused
from .counts import HttpCounts, HttpRefusalReason
from .guarded import CERTIFICATE

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """`connections_count_max`: open connections; Prometheus, probes, dashboards and operators hold a few dozen.
    `head_size_bytes_max`: a request's head; as on the WebSocket ports, a browser's with cookies stays under it.
    `request_s_max`: from the first byte of a connection or request to the last of the request, all of which are small.
    `answer_s_max`: from then until the answer has been taken; scrapers wait 10 s."""

    connections_count_max: int = 256
    head_size_bytes_max: int = 16 * 1024
    request_s_max: float = 10.0
    answer_s_max: float = 30.0


class HttpConnections:
    """All connections of one HTTP port; makes those of uvicorn (`make`, for `uvicorn.Config(http=...)`)."""

    def __init__(self, counts: HttpCounts, bounds: HttpBounds, tls: TlsContext | None = None) -> None:
        self.counts = counts
        self.bounds = bounds
        self._handshakes = None if tls is None else self._tls_handshakes(tls)
        self._open: dict[_Connection, None] = {}
        """Ordered: the one whose last request is longest ago comes first."""

    def make(self, **options: Any) -> asyncio.Protocol:
        """A connection, with uvicorn's options for its own protocol."""
        if self._handshakes is None:
            return _Connection(self, H11Protocol(**options))
        return self._handshakes.start(lambda: _Connection(self, H11Protocol(**options)))

    def _tls_handshakes(self, tls: TlsContext) -> TlsHandshakes:
        """Bounded as connections and requests are, beside them."""

        def failed(peer: str, text: str, reason: RefusalReason) -> None:
            self.counts.refused[HttpRefusalReason(reason.value)] += 1
            if not text.startswith("connection lost"):
                log_event(logger, HttpRequestRefused(peer, text))

        return TlsHandshakes(
            tls, count_max=self.bounds.connections_count_max, s_max=self.bounds.request_s_max, failed=failed
        )

    def take(self, connection: "_Connection") -> None:
        """Count a new connection. If there is no room, drop another: the one that has waited longest without a whole
        request, or if all are being answered, the one whose request is the oldest."""
        if len(self._open) >= self.bounds.connections_count_max:
            oldest = next(iter(self._open))
            dropped = next((other for other in self._open if not other.is_answered), oldest)
            dropped.refuse(HttpRefusalReason.TOO_MANY_CONNECTIONS)
            self.release(dropped)
        self._open[connection] = None
        self.counts.connections_count = len(self._open)

    def touch(self, connection: "_Connection") -> None:
        """Note that it has sent a whole request."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def release(self, connection: "_Connection") -> None:
        """It is gone."""
        self._open.pop(connection, None)
        self.counts.connections_count = len(self._open)


_UNANSWERED: Final = {h11.IDLE, h11.SEND_RESPONSE}
_RESPONSES: Final = {
    HttpRefusalReason.HEAD_TOO_LARGE: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the request's head is over {0.head_size_bytes_max} bytes",
    ),
    HttpRefusalReason.TOO_MANY_CONNECTIONS: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "over {0.connections_count_max} connections on the http port",
    ),
    HttpRefusalReason.TOO_SLOW: (
        HTTPStatus.REQUEST_TIMEOUT,
        "no whole request within {0.request_s_max:g} s",
    ),
}


class _Connection(asyncio.Protocol):
    """Between the event loop and uvicorn's protocol for one connection."""

    __slots__ = ("_all", "_head_size", "_inner", "_is_request_due", "_peer", "_timer", "_transport")

    _transport: asyncio.Transport

    def __init__(self, connections: HttpConnections, inner: H11Protocol) -> None:
        self._all = connections
        self._inner = inner
        self._head_size = 0
        self._is_request_due = False
        self._peer = "?"
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_answered(self) -> bool:
        """Whether an answer is being made, or lies here because the peer has not taken it yet."""
        if self._transport.get_write_buffer_size():
            return True
        cycle: RequestResponseCycle | None = self._inner.cycle  # none before the first request
        is_whole = self._inner.conn.their_state is not h11.SEND_BODY
        return cycle is not None and is_whole and not cycle.response_complete

    # --- asyncio's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self._peer = f"{address[0]}:{address[1]}"
        certificate = transport.get_extra_info("peercert") or None
        self._inner.app_state = {**self._inner.app_state, CERTIFICATE: certificate}
        self._inner.connection_made(self._transport)
        self._all.take(self)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        conn = self._inner.conn
        if conn.their_state is h11.IDLE:
            head, end, _ = data.partition(b"\r\n\r\n")
            self._head_size += len(head) + len(end)
            if self._head_size > self._all.bounds.head_size_bytes_max:
                self.refuse(HttpRefusalReason.HEAD_TOO_LARGE)
                return
        self._inner.data_received(data)
        if conn.their_state is h11.ERROR:
            is_tls = data.startswith(b"\x16\x03")
            text = "it spoke TLS, and this port does not: use http://, or set tls_certificate"
            self._count(HttpRefusalReason.BAD_REQUEST, text if is_tls else "it does not speak HTTP")
        elif conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._expect_request()
        else:
            self._head_size = 0
            self._is_request_due = False
            self._all.touch(self)
            self._set_timer(self._all.bounds.answer_s_max, self._check_answer)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._all.release(self)
        self._inner.connection_lost(exc)

    # --- bounds ---

    def refuse(self, reason: HttpRefusalReason) -> None:
        """Answer with what is wrong, if the peer can still take an answer, and drop the connection."""
        status, text = _RESPONSES[reason]
        text = text.format(self._all.bounds)
        self._count(reason, text)
        if self._inner.conn.our_state in _UNANSWERED:
            body = f"{text}\n".encode()
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self._transport.write(head.encode() + body)
        if self._transport.get_write_buffer_size() == 0:
            self._transport.close()
        else:
            self._transport.abort()

    def _expect_request(self) -> None:
        if not self._is_request_due:
            self._is_request_due = True
            self._set_timer(self._all.bounds.request_s_max, lambda: self.refuse(HttpRefusalReason.TOO_SLOW))

    def _check_answer(self) -> None:
        if self._inner.conn.their_state is h11.SEND_BODY:  # of a second request, which came with the first
            self.refuse(HttpRefusalReason.TOO_SLOW)
        elif self.is_answered:
            text = f"it did not take its answer within {self._all.bounds.answer_s_max:g} s"
            self._count(HttpRefusalReason.TOO_SLOW, text)
            self._transport.abort()

    def _set_timer(self, delay_s: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, then)

    def _count(self, reason: HttpRefusalReason, text: str) -> None:
        self._all.counts.refused[reason] += 1
        log_event(logger, HttpRequestRefused(self._peer, text))
