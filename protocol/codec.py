"""Messages to bytes and back, in each encoding.

Decoders and encoders are made once and exposed as the compiled callables that they are: a connection calls them
directly, inside `except DECODE_ERRORS`, and turns what it caught into a text with `describe`.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from .encodings import Encoding
from .field_types import HEDGE_PATTERN, HEDGE_RULE, NAME_PATTERN, NAME_RULE
from .messages import AnyId, BrokerControl, FromBroker, FromWorker, Outcome, Request, RequesterControl
from .plain_values import plain_value

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Everything a decoder raises: wrong syntax, wrong shape (ValidationError is a DecodeError), text that is not UTF-8,
and values nested deeper than the interpreter's recursion limit."""


class Codec:
    """One encoding's decoders and encoder.

    Each decodes or encodes one whole message. Decoders raise only `DECODE_ERRORS`.
    """

    __slots__ = (
        "any_id",
        "empty_data",
        "encode",
        "encoding",
        "from_broker",
        "from_broker_control",
        "from_worker",
        "null",
        "outcome",
        "request",
        "requester_control",
    )

    encode: Callable[[object], bytes]

    def __init__(self, encoding: Encoding) -> None:
        library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
        self.encoding = encoding
        self.encode = library.Encoder(enc_hook=plain_value).encode
        self.request = library.Decoder(Request).decode
        self.requester_control = library.Decoder(RequesterControl).decode
        self.outcome = library.Decoder(Outcome).decode
        self.from_broker_control = library.Decoder(BrokerControl).decode
        self.from_worker = library.Decoder(FromWorker).decode
        self.from_broker = library.Decoder(FromBroker).decode
        self.any_id = library.Decoder(AnyId).decode
        self.empty_data = Raw(library.encode({}))
        self.null = Raw(library.encode(None))

    def ids_in(self, payload: bytes) -> AnyId:
        """The ids of a message that could not be decoded, as far as they can be read; all None if none can."""
        try:
            ids: AnyId = self.any_id(payload)
            return ids
        except DECODE_ERRORS:
            return AnyId()


CODECS: Final[dict[Encoding, Codec]] = {encoding: Codec(encoding) for encoding in Encoding}

_MALFORMED = re.compile(r"^(JSON|MessagePack data) is malformed: ")
_NOT_UTF_8 = re.compile(r"^(Invalid UTF-8 encoded string|'utf-8' codec can't decode).*")
"""As msgspec says it from 0.23 on, and as Python does under older ones."""
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_PATTERN = re.compile(r"Expected `str` matching regex (.+)")
_RULES: Final = {repr(NAME_PATTERN): NAME_RULE, repr(HEDGE_PATTERN): f"expected {HEDGE_RULE}"}


def describe(error: Exception, encoding: Encoding) -> str:
    """One line for the sender of a message that raised `error`: the field first, if it was one, then the bound.

    `timeout: Expected `float` <= 3600.0`; `not valid JSON: invalid character (byte 5)`.
    """
    match error:
        case msgspec.ValidationError():
            what, _, path = str(error).partition(" - at ")
            where = path.removeprefix("`key` in ").strip("`").removeprefix("$").removeprefix(".")
            if path.startswith("`key` in "):
                what = f"a key: {what}"
            if (pattern := _PATTERN.fullmatch(what)) is not None:
                what = _RULES[pattern[1]]
            if (missing := _MISSING.fullmatch(what)) is not None:
                where = f"{where}.{missing[1]}" if where else missing[1]
                what = "missing"
            return f"{where}: {what}" if where else f"message: {what}"
        case msgspec.DecodeError() | UnicodeDecodeError():
            return f"not valid {_TITLES[encoding]}: {syntax_fault(error)}"
        case _:
            return "message: nested too deeply"


def syntax_fault(error: msgspec.DecodeError | UnicodeDecodeError) -> str:
    """What is wrong with a text that cannot be decoded: `invalid character (byte 5)`."""
    return _NOT_UTF_8.sub("a string is not UTF-8", _MALFORMED.sub("", str(error)))


_TITLES: Final = {Encoding.JSON: "JSON", Encoding.MSGPACK: "MessagePack"}
