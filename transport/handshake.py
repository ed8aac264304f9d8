"""The opening handshake of one connection, in either role, without I/O.

Feeds the protocol object the bytes of the handshake and no more, so that frames which follow at once are left to
framing.py. Keeps the bound on its size, lets the owner of the port refuse it, and says why it failed. Knows the outline
of HTTP, and nothing of sockets or time.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidMethod,
    NegotiationError,
    RequestLineTooLong,
    TooManyHeaders,
)
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from .admission import Admit, HandshakeRequest, RefusalReason

_END_OF_HEAD: Final = b"\r\n\r\n"
_BODY_FOLLOWS: Final = re.compile(
    rb"\r\n(?:content-length[ \t]*:[ \t]*+(?!0[ \t]*(?:\r\n|\Z))|transfer-encoding[ \t]*:)", re.IGNORECASE
)
"""In a head: a body, which no handshake has."""
_TLS_RECORD: Final = b"\x16\x03"
"""How TLS begins: a handshake record of any version (RFC 8446, 5.1)."""
_TOKEN_HEADER: Final = "Sec-WebSocket-Protocol"
"""The only header that is checked here and may hold a token."""


class Handshake:
    """One handshake. After `receive`, the owner sends what `protocol.data_to_send()` returns and checks its state.

    `admit`, for a server: called once, with a valid WebSocket handshake, before anything is answered; a Refusal becomes
    the answer. `reason`: why it failed, if this side decided so; `refused_as`: the same for counting. `is_hopeless`:
    there is nothing to send that the peer would understand, so the connection is to be dropped.
    """

    __slots__ = (
        "_admit",
        "_certificate",
        "_head",
        "_head_size_bytes_max",
        "_peer_host",
        "_protocol",
        "is_hopeless",
        "reason",
        "refused_as",
    )

    def __init__(
        self,
        protocol: ServerProtocol | ClientProtocol,
        head_size_bytes_max: int,
        admit: Admit | None,
    ) -> None:
        self._protocol = protocol
        self._head_size_bytes_max = head_size_bytes_max
        self._head: bytes | None = b""
        """What has come of the head; None once it is whole."""
        self._admit = admit
        self._peer_host = ""
        self._certificate: Mapping[str, Any] | None = None
        self.reason = ""
        self.refused_as: RefusalReason | None = None
        self.is_hopeless = False

    def connected(self, address: object, certificate: Mapping[str, Any] | None) -> None:
        """Note what asyncio knows of the peer: its `address`, a tuple for TCP, and its TLS certificate, if any."""
        self._peer_host = str(address[0]) if isinstance(address, tuple) else ""
        self._certificate = certificate or None

    def receive(self, data: bytes) -> bytes:
        """Take in bytes from the peer. Returns those that follow the handshake."""
        protocol = self._protocol
        if protocol.eof_sent:
            return b""  # refused already: whatever else comes does not matter
        rest = b""
        if self._head is not None:
            head, end, rest = (self._head + data).partition(_END_OF_HEAD)
            if head.startswith(_TLS_RECORD) and isinstance(protocol, ServerProtocol):
                self.refused_as = RefusalReason.BAD_REQUEST
                self.reason = "it spoke TLS, and this port does not: use ws://, or set tls_certificate"
                self.is_hopeless = True
                return b""
            if len(head) > self._head_size_bytes_max:
                self._refuse_head()
                return b""
            self._head = None if end else head
            if not end:
                return b""
            data = head + end
            if isinstance(protocol, ServerProtocol) and _BODY_FOLLOWS.search(head):
                self._refuse_body(is_get=head.startswith(b"GET "))
                return b""
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                self._answer(event)
        if protocol.handshake_exc is not None:
            self.refused_as = _reason_of(protocol.handshake_exc)
        if rest and protocol.state is not State.OPEN and not protocol.eof_sent:
            protocol.receive_data(rest)  # the body of a response that refuses
        return rest

    def _refuse_head(self) -> None:
        self.refused_as = RefusalReason.HEAD_TOO_LARGE
        self.reason = f"handshake over {self._head_size_bytes_max} bytes"
        if isinstance(self._protocol, ServerProtocol):
            self._protocol.send_response(self._protocol.reject(431, self.reason + "\n"))
        else:
            self.is_hopeless = True

    def _refuse_body(self, *, is_get: bool) -> None:
        """Answer what the protocol object would drop without a word: a request with a body."""
        assert isinstance(self._protocol, ServerProtocol)
        self.refused_as = RefusalReason.BAD_REQUEST
        status, self.reason = (
            (HTTPStatus.BAD_REQUEST, "a WebSocket handshake has no body")
            if is_get
            else (HTTPStatus.METHOD_NOT_ALLOWED, "this is a WebSocket port: only GET opens a connection")
        )
        response = self._protocol.reject(status, self.reason + "\n")
        if not is_get:
            response.headers["Allow"] = "GET"
        self._protocol.send_response(response)

    def _answer(self, request: Request) -> None:
        protocol = self._protocol
        assert isinstance(protocol, ServerProtocol)
        response = protocol.accept(request)
        error = protocol.handshake_exc
        if isinstance(error, InvalidHeader) and error.name == _TOKEN_HEADER:
            # The library's text quotes the header, and clients log what they are answered.
            response = protocol.reject(HTTPStatus.BAD_REQUEST, f"invalid {_TOKEN_HEADER} header\n")
        refusal = None
        if self._admit is not None and protocol.handshake_exc is None:
            headers = _by_name(request.headers)
            refusal = self._admit(HandshakeRequest(request.path, headers, self._peer_host, self._certificate))
        if refusal is not None:
            self.refused_as = refusal.reason
            self.reason = refusal.text
            response = protocol.reject(refusal.status, refusal.text + "\n")
            for name, value in refusal.headers.items():
                response.headers[name] = value
        protocol.send_response(response)


def _by_name(headers: Headers) -> dict[str, str]:
    by_name: dict[str, str] = {}
    for name, value in headers.raw_items():
        key = name.lower()
        by_name[key] = f"{by_name[key]}, {value}" if key in by_name else value
    return by_name


def _reason_of(error: Exception) -> RefusalReason:
    """How a refusal by the protocol object is counted."""
    match error:
        case NegotiationError():
            return RefusalReason.UNKNOWN_SUBPROTOCOL
        case RequestLineTooLong() | HeaderLineTooLong() | TooManyHeaders():
            return RefusalReason.HEAD_TOO_LARGE
        case _:
            return RefusalReason.BAD_REQUEST


def describe_handshake(error: Exception, *, hides_headers: bool) -> str:
    """Why a handshake failed, in one line.

    `hides_headers`: quote nothing that the peer sent, because a client's URL and headers may hold tokens and this is
    logged.
    """
    if isinstance(error.__cause__, EOFError):
        return "connection lost during the handshake"
    text = str(error) if isinstance(error, InvalidHandshake) else f"{type(error).__name__}: {error}"
    if isinstance(error, InvalidMessage) and error.__cause__ is not None:
        cause = str(error.__cause__)
        text = f"{text}: {cause.partition(':')[0] if hides_headers else cause}"
    if isinstance(error, InvalidMethod) and hides_headers:
        text = "unsupported HTTP method"
    if isinstance(error, InvalidHeader) and error.value and hides_headers:
        text = f"invalid {error.name} header"
    return f"handshake refused: {text}"
