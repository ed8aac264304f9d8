"""Messages of the user's own to bytes and back, in the encoding of the worker's connection."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..protocol.codec import Codec
from ..protocol.encodings import Encoding
from ..protocol.errors import BadRequest, TooLarge
from ..protocol.gather_messages import Custom
from ..protocol.limits import CUSTOM_SIZE_BYTES_MAX

_ENCODE_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.EncodeError)


def own_message(kind: str, data: object, to: str | None, codec: Codec) -> bytes:
    """The message's bytes. Raises BadRequest, which names the field, and TooLarge."""
    try:
        message = msgspec.convert({"kind": kind, "to": to}, Custom)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None
    if message.kind is None:
        raise BadRequest("kind: expected a text")
    if data is not None:
        try:
            encoded = codec.encode(data)
        except _ENCODE_ERRORS as error:
            raise BadRequest(f"data: cannot be written: {error}") from None
        if len(encoded) > CUSTOM_SIZE_BYTES_MAX:
            text = f"data: {len(encoded)} bytes, at most {CUSTOM_SIZE_BYTES_MAX} (CUSTOM_SIZE_BYTES_MAX)"
            raise TooLarge(text)
        message.data = Raw(encoded)
    return codec.encode(message)


def value_of(data: Raw | UnsetType, encoding: Encoding) -> Any:
    """The value. Raises what a decoder raises."""
    if data is UNSET:
        return None
    library = msgspec.json if encoding is Encoding.JSON else msgspec.msgpack
    return library.decode(data)
