"""Requests to bytes and responses to Python values, in each encoding, within the bounds of the wire.

It has its own structures besides those of protocol/messages.py because the two ends of a message differ: the broker
leaves `data` as it is, this end decodes it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from ..credentials.token import Token
from ..protocol.codec import CODECS, DECODE_ERRORS, describe
from ..protocol.encodings import Encoding
from ..protocol.errors import BadRequest, NotRepresentable, TooLarge
from ..protocol.field_types import Hedge, Label
from ..protocol.field_types import Target as Labels
from ..protocol.gather_messages import Gather
from ..protocol.limits import ENVELOPE_SIZE_BYTES_MAX, MESSAGE_SIZE_BYTES_MAX, TIMEOUT_S_MAX
from ..protocol.messages import Auth, Cancel
from ..protocol.stream_messages import Credit, Stream
from .answers import Chunk, Unusual
from .response import Response

DATA_SIZE_BYTES_MAX: Final = MESSAGE_SIZE_BYTES_MAX - ENVELOPE_SIZE_BYTES_MAX
"""Encoded `data` of one request: what the broker accepts, checked here because a message over the bound of the
WebSocket would end the connection for all other requests on it."""

_ENCODE_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.EncodeError)
"""Everything an encoder raises: a type that it does not know, text with lone surrogates, an integer over 64 bits, a
cycle."""

_CHUNK_STARTS: Final = {
    Encoding.JSON: b'{"type":"chunk",',
    Encoding.MSGPACK: b"\x85\xa4type\xa5chunk",
}

_TITLES: Final = {Encoding.JSON: "JSON", Encoding.MSGPACK: "MessagePack"}


Target = str | Mapping[str, str | Sequence[str]]
"""Where a request may run: a worker_id, or labels that its worker must have, each with its value or one of several."""


class OutgoingRequest(Struct, omit_defaults=True):
    """A request as it is written; `data` is any value that the encoding can hold, UNSET means `{}`."""

    request_id: str | None
    command: str
    data: Any = UNSET
    timeout: float = 0.0  # not a valid timeout, so always written: the broker's default may be another one
    idempotent: bool = False
    priority: int | None = None
    affinity: str | None = None
    trace: str | None = None
    target: Target | None = None
    hedge: float | str | None = None
    otherwise: str | None = None
    stream: Stream = False
    gather: Gather | None = None


class _Routing(Struct):
    """The fields of a request that say where it may run, within the bounds of the wire."""

    target: Label | Labels | None
    hedge: Hedge | None


def check(message: OutgoingRequest) -> None:
    """Raise BadRequest, which names the field, for what JSON could carry as something else; users may pass
    anything."""
    timeout_s: object = message.timeout
    if not isinstance(timeout_s, (int, float)) or not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise BadRequest(
            f"timeout: {timeout_s!r} is not a number of seconds over 0 and at most {TIMEOUT_S_MAX:g}"
        )
    if (
        type(message.command) is not str
        or message.affinity is not None
        or message.trace is not None
        or message.otherwise is not None
    ):
        _check_texts(message)
    if message.target is not None or message.hedge is not None:
        check_routing(message)


def _check_texts(message: OutgoingRequest) -> None:
    """Raise BadRequest for bytes, or anything else, as a text: JSON would carry bytes as the text of their base64."""
    for name in ("command", "affinity", "trace", "otherwise"):
        value: object = getattr(message, name)
        if not isinstance(value, str) and (value is not None or name == "command"):
            raise BadRequest(f"{name}: expected a text, got {type(value).__name__}")


def check_routing(message: OutgoingRequest) -> None:
    """Turn `target` into plain values. Raises BadRequest if it or `hedge` breaks a bound.

    Checked here, because no broker can see a NaN in JSON, and because users may pass any mapping and any sequence.
    """
    try:
        routing = msgspec.convert({"target": message.target, "hedge": message.hedge}, _Routing)
    except msgspec.ValidationError as error:
        raise BadRequest(describe(error, Encoding.JSON)) from None
    if routing.hedge is not None and not message.idempotent:
        raise BadRequest("hedge: needs idempotent=True, because the command may run twice")
    message.target = routing.target
    message.hedge = routing.hedge


class Wire:
    """One encoding, as a requester uses it."""

    __slots__ = (
        "_codec",
        "_encode",
        "_encoding",
        "chunk_start",
        "decode_chunk",
        "decode_outcome",
        "decode_response",
        "decode_unusual",
    )

    def __init__(self, encoding: Encoding) -> None:
        library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
        self._encoding = encoding
        self._codec = CODECS[encoding]
        self._encode: Callable[[object], bytes] = self._codec.encode
        self.decode_response: Callable[[bytes], Response] = library.Decoder(Response).decode
        """Raises only `DECODE_ERRORS`: for what is not a response, and for one whose data Python cannot hold."""
        self.decode_outcome = self._codec.outcome
        self.decode_unusual: Callable[[bytes], Unusual] = library.Decoder(Unusual).decode
        """Likewise."""
        self.decode_chunk: Callable[[bytes], Chunk] = library.Decoder(Chunk).decode
        """Likewise."""
        self.chunk_start = _CHUNK_STARTS[encoding]
        """How the chunks of our brokers begin: they need not be tried as responses first."""

    def encode_request(self, message: OutgoingRequest) -> bytes:
        """The message's bytes. Raises BadRequest for a field that cannot be encoded, TooLarge for `data` over its
        bound."""
        try:
            payload = self._encode(message)
        except _ENCODE_ERRORS as error:
            raise BadRequest(f"{self._unwritable(message)}: {self._cannot}: {error}") from None
        if len(payload) > DATA_SIZE_BYTES_MAX:
            self._check_size(message, payload)
        return payload

    def encode_question(self, message: Struct) -> bytes:
        """The message's bytes. Raises BadRequest for a field that cannot be encoded, TooLarge over the bound of a
        message."""
        try:
            payload = self._encode(message)
        except _ENCODE_ERRORS as error:
            raise BadRequest(f"{self._unwritable(message)}: {self._cannot}: {error}") from None
        if len(payload) > MESSAGE_SIZE_BYTES_MAX:
            raise TooLarge(
                f"message: {len(payload)} bytes, at most {MESSAGE_SIZE_BYTES_MAX} (MESSAGE_SIZE_BYTES_MAX)"
            )
        return payload

    def raw(self, data: object) -> Raw:
        """Encoded `data`. Raises BadRequest if it cannot be encoded, TooLarge over its bound."""
        try:
            encoded = self._encode(data)
        except _ENCODE_ERRORS as error:
            raise BadRequest(f"data: {self._cannot}: {error}") from None
        if len(encoded) > DATA_SIZE_BYTES_MAX:
            raise TooLarge(f"data: {len(encoded)} bytes, at most {DATA_SIZE_BYTES_MAX} (DATA_SIZE_BYTES_MAX)")
        return Raw(encoded)

    def encode_cancel(self, request_id: str) -> bytes:
        """The message that cancels a request."""
        return self._encode(Cancel(request_id))

    def encode_credit(self, request_id: str, sequence: int, attempt: int) -> bytes:
        """The message that says which chunks of a request were taken."""
        return self._encode(Credit(request_id, sequence, attempt))

    def encode_auth(self, token: Token) -> bytes:
        """The message that renews a login."""
        return self._encode(Auth(token.reveal()))

    def with_timeout(self, payload: bytes, timeout_s: float) -> bytes:
        """An encoded request with another timeout, otherwise unchanged.

        One that breaks a bound of the wire stays as it is, for the broker to refuse.
        """
        try:
            message = self._codec.request(payload)
        except DECODE_ERRORS:
            return payload
        message.timeout = timeout_s
        return self._encode(message)

    def convert(self, data: object, type_: Any) -> Any:
        """A result as `type_`. Raises NotRepresentable, naming the place and what was expected there."""
        try:
            return msgspec.convert(data, type_, str_keys=self._encoding is Encoding.JSON)
        except msgspec.ValidationError as error:
            raise NotRepresentable(f"result: {error}") from None

    @property
    def _cannot(self) -> str:
        return f"cannot be written as {_TITLES[self._encoding]}"

    def _unwritable(self, message: Struct) -> str:
        """The name of the field that cannot be encoded: `data`, if each can alone, but not at its depth."""
        for name in message.__struct_fields__:
            value = getattr(message, name)
            try:
                self._encode(None if value is UNSET else value)
            except _ENCODE_ERRORS:
                return name
        return "data"

    def _check_size(self, message: OutgoingRequest, payload: bytes) -> None:
        data_size_bytes = 0 if message.data is UNSET else len(self._encode(message.data))
        if data_size_bytes > DATA_SIZE_BYTES_MAX:
            raise TooLarge(
                f"data: {data_size_bytes} bytes, at most {DATA_SIZE_BYTES_MAX} (DATA_SIZE_BYTES_MAX)"
            )
        if len(payload) > MESSAGE_SIZE_BYTES_MAX:
            raise TooLarge(
                f"request: {len(payload)} bytes, at most {MESSAGE_SIZE_BYTES_MAX} (MESSAGE_SIZE_BYTES_MAX)"
            )


WIRES: Final[dict[Encoding, Wire]] = {encoding: Wire(encoding) for encoding in Encoding}
