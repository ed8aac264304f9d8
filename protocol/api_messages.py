"""The messages of the API port's WebSocket, as typed structures: see messages.py; about topics: topic_messages.py.

Always JSON. `timestamp`: milliseconds since 1970.
"""

from collections.abc import Callable
from typing import Final, get_args

from msgspec import Struct, json

from . import errors
from .codec import DECODE_ERRORS, describe
from .encodings import Encoding
from .field_types import RequestId
from .job_messages import Greeting
from .messages import Auth, text_or_none
from .topic_messages import Publish, Subscribe, TopicError, TopicFault, Unsubscribe

UNKNOWN_MESSAGE_TYPE: Final = "UNKNOWN_MESSAGE_TYPE"
"""The code of the error that answers a message of a type which nobody handles."""


class ApiPing(Struct, tag_field="type", tag="ping", omit_defaults=True):
    """Client to broker: are you there?"""

    id: RequestId | None = None


class ApiPong(Struct, tag_field="type", tag="pong"):
    """Broker to client: yes. From a client it is ignored."""

    id: str | None = None
    timestamp: int | None = None


class ApiIds(Struct):
    """What an error is addressed with, of a message that could not be decoded."""

    id: object = None
    type: object = None


FromApiClient = ApiPing | ApiPong | Auth | Greeting | Subscribe | Unsubscribe | Publish
"""Client to broker."""

KNOWN_TYPES: Final = tuple(str(kind.__struct_config__.tag) for kind in get_args(FromApiClient))
"""The types of these messages."""

ToApiClient = ApiPong | TopicError
"""Broker to client, besides what the requester port has as well: about topics, hello and logins."""

TYPE_SHOWN_LENGTH_MAX: Final = 100
"""Characters of an unknown type that its error repeats."""

decode: Final[Callable[[bytes], FromApiClient]] = json.Decoder(FromApiClient).decode
"""A client's message. Raises DECODE_ERRORS."""

_decode_ids: Final = json.Decoder(ApiIds).decode


def id_in(payload: bytes) -> str | None:
    """The id of a message, to address an error with; None if none can be read."""
    return text_or_none(_ids_in(payload).id)


def fault_of(payload: bytes, error: Exception) -> tuple[str | None, TopicFault]:
    """The answer to a message whose decoding raised `error`: the id that it has, if that can be read, and the fault."""
    ids = _ids_in(payload)
    if isinstance(ids.type, str) and ids.type not in KNOWN_TYPES:
        shown = ids.type[:TYPE_SHOWN_LENGTH_MAX]
        fault = TopicFault(UNKNOWN_MESSAGE_TYPE, f"type: nothing handles {shown!r}", {"type": shown})
    else:
        fault = TopicFault(errors.BadRequest.code, describe(error, Encoding.JSON))
    return text_or_none(ids.id), fault


def _ids_in(payload: bytes) -> ApiIds:
    try:
        ids: ApiIds = _decode_ids(payload)
        return ids
    except DECODE_ERRORS:
        return ApiIds()
