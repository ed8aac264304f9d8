"""What decides whether a connection may open: the request of its handshake, and the refusal that may answer it.

Plain values between a link and the owner of its port. Knows nothing of who may come in, or why.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .receiver import Receiver


class RefusalReason(enum.Enum):
    """Why a server refuses a handshake: a closed set, for counting."""

    BAD_REQUEST = "bad_request"
    """It is not a WebSocket handshake, or a faulty one."""
    FORBIDDEN = "forbidden"
    """It is known who this is, and that may not connect here."""
    FOREIGN_HOST = "foreign_host"
    """It was sent to a name that this server does not go by."""
    FOREIGN_ORIGIN = "foreign_origin"
    """It comes from a web page that may not connect here."""
    HEAD_TOO_LARGE = "head_too_large"
    """Its head exceeds `handshake_size_bytes_max`, or has longer or more lines than `websockets` accepts."""
    RATE_LIMITED = "rate_limited"
    """Its address opens connections, or fails to log in, more often than it may."""
    TLS_FAILED = "tls_failed"
    """It did not get as far as HTTP, because its TLS handshake failed."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    """The port, its address or its account has as many connections as it may."""
    TOO_SLOW = "too_slow"
    """It was not finished within `handshake_s_max`."""
    UNAUTHENTICATED = "unauthenticated"
    """It did not prove who it is."""
    UNKNOWN_PATH = "unknown_path"
    """There is nothing at its path."""
    UNKNOWN_SUBPROTOCOL = "unknown_subprotocol"
    """It offers sub-protocols, and none that is spoken here."""


@dataclass(frozen=True, slots=True)
class HandshakeRequest:
    """A valid WebSocket handshake, of which nothing has been answered yet.

    `path`: the request target with its query, as sent. `headers`: by lower-case name; the values of a repeated header
    are joined with ", " (RFC 9110, 5.3). `peer_host`: the IP address of the other end of the connection, which may be
    a proxy's. `certificate`: the client's certificate as `ssl.SSLSocket.getpeercert` returns it, if the listener's TLS
    context asked for one and verified it.
    """

    path: str
    headers: Mapping[str, str]
    peer_host: str
    certificate: Mapping[str, Any] | None

    @property
    def origin(self) -> str | None:
        """The web page's origin that a browser reports (RFC 6455, 10.2); other clients need not send one."""
        return self.headers.get("origin")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP response that refuses a handshake. `text`: its body, one line, for the peer and for our log, so without
    anything secret. `headers`: what the status demands, such as WWW-Authenticate or Retry-After."""

    status: HTTPStatus
    text: str
    reason: RefusalReason
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Admit = Callable[[HandshakeRequest], Refusal | None]
"""Decides whether a connection may open: why not, or None."""

MakeReceiver = Callable[[HandshakeRequest], Receiver | Refusal]
"""The owner of a port decides: what receives from this connection, or why it may not open."""
