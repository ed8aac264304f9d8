"""The opening handshake of one connection, in either role, without I/O.

Feeds the protocol object the handshake's bytes and no byte more, so that frames which come right behind it are left to
framing.py; keeps the bound on its size; says why it failed. Knows HTTP's outline, and nothing of sockets or time.
"""

import enum
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    NegotiationError,
    RequestLineTooLong,
    TooManyHeaders,
)
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

_END_OF_HEAD: Final = b"\r\n\r\n"


class Refusal(enum.Enum):
    """Why a server refuses a handshake: the closed set, for counting."""

    BAD_REQUEST = "bad_request"
    """It is no WebSocket handshake, or a faulty one."""
    HEAD_TOO_LARGE = "head_too_large"
    """Its head is over `handshake_size_bytes_max`, or has longer or more lines than `websockets` takes."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    """Whoever owns the port wants no more."""
    TOO_SLOW = "too_slow"
    """It was not finished within `handshake_s_max`."""
    UNKNOWN_SUBPROTOCOL = "unknown_subprotocol"
    """It offers sub-protocols, and none that is spoken here."""


class Handshake:
    """One handshake. After `receive`, the owner sends what `protocol.data_to_send()` gives and looks at its state.

    `refusal`: a server answers 503 with this text instead of opening. `reason`: why it failed, where this side decided
    so; `refused_as`: the same for counting. `is_hopeless`: there is nothing to send that the peer would understand, so
    the connection is to be dropped.
    """

    __slots__ = (
        "_head",
        "_head_size_bytes_max",
        "_protocol",
        "_refusal",
        "is_hopeless",
        "reason",
        "refused_as",
    )

    def __init__(
        self, protocol: ServerProtocol | ClientProtocol, head_size_bytes_max: int, refusal: str | None
    ) -> None:
        self._protocol = protocol
        self._head_size_bytes_max = head_size_bytes_max
        self._head: bytes | None = b""
        """What there is of the head; None once it is whole."""
        self._refusal = refusal
        self.reason = ""
        self.refused_as: Refusal | None = None
        self.is_hopeless = False

    def receive(self, data: bytes) -> bytes:
        """Take in bytes from the peer; what came behind the handshake is returned."""
        protocol = self._protocol
        if protocol.eof_sent:
            return b""  # refused already: what else comes is of no interest
        rest = b""
        if self._head is not None:
            head, end, rest = (self._head + data).partition(_END_OF_HEAD)
            if len(head) > self._head_size_bytes_max:
                self._refuse_head()
                return b""
            self._head = None if end else head
            if not end:
                return b""
            data = head + end
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                self._answer(event)
        if protocol.handshake_exc is not None:
            self.refused_as = _kind(protocol.handshake_exc)
        if rest and protocol.state is not State.OPEN and not protocol.eof_sent:
            protocol.receive_data(rest)  # the body of a refusal
        return rest

    def _refuse_head(self) -> None:
        self.refused_as = Refusal.HEAD_TOO_LARGE
        self.reason = f"handshake over {self._head_size_bytes_max} bytes"
        if isinstance(self._protocol, ServerProtocol):
            self._protocol.send_response(self._protocol.reject(431, self.reason + "\n"))
        else:
            self.is_hopeless = True

    def _answer(self, request: Request) -> None:
        protocol = self._protocol
        assert isinstance(protocol, ServerProtocol)
        if self._refusal is None:
            protocol.send_response(protocol.accept(request))
        else:
            self.refused_as = Refusal.TOO_MANY_CONNECTIONS
            self.reason = self._refusal
            protocol.send_response(protocol.reject(503, self._refusal + "\n"))


def _kind(error: Exception) -> Refusal:
    """How the protocol object's refusal is counted."""
    match error:
        case NegotiationError():
            return Refusal.UNKNOWN_SUBPROTOCOL
        case RequestLineTooLong() | HeaderLineTooLong() | TooManyHeaders():
            return Refusal.HEAD_TOO_LARGE
        case _:
            return Refusal.BAD_REQUEST


def describe_handshake(error: Exception, *, hides_headers: bool) -> str:
    """Why the protocol object refused a handshake: one line; for a refusal with a body, that body's first line.

    `hides_headers`: with nothing that the peer sent: a client's URL and headers may hold tokens, and this is logged.
    """
    if isinstance(error.__cause__, EOFError):
        return "connection lost during the handshake"
    text = str(error) if isinstance(error, InvalidHandshake) else f"{type(error).__name__}: {error}"
    if isinstance(error, InvalidMessage) and error.__cause__ is not None:
        cause = str(error.__cause__)
        text = f"{text}: {cause.partition(':')[0] if hides_headers else cause}"
    if isinstance(error, InvalidHeader) and error.value and hides_headers:
        text = f"invalid {error.name} header"
    if isinstance(error, InvalidStatus) and (body := error.response.body.decode(errors="replace").strip()):
        text = f"{error.response.status_code} {body.splitlines()[0][:200]}"
    return f"handshake refused: {text}"
