"""Converts a value from one encoding to the other without changing it, or says why that is impossible.

Needed only if the two sides of a request use different encodings; otherwise the bytes pass unchanged. Strict in both
directions: a value that would arrive as another one (binary as base64 text, an integer key as a string, NaN as null) is
refused.
"""

import json

import msgpack
import msgspec
from msgspec import Raw

from .encodings import Encoding
from .errors import NotRepresentable


def transcode(data: Raw, source: Encoding, target: Encoding) -> Raw:
    """`data` encoded in `target`, equal in value to what it was in `source`.

    Raises NotRepresentable, whose text says what does not fit.
    """
    if source is target:
        return data
    return _json_to_msgpack(data) if source is Encoding.JSON else _msgpack_to_json(data)


def _json_to_msgpack(data: Raw) -> Raw:
    try:
        return Raw(msgspec.msgpack.encode(msgspec.json.decode(data)))
    except OverflowError:
        raise NotRepresentable("data: MessagePack cannot hold an integer over 64 bits") from None
    except RecursionError:
        raise NotRepresentable("data: nested too deeply to be carried to MessagePack") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise NotRepresentable(f"data: MessagePack cannot hold it: {error}") from None


def _msgpack_to_json(data: Raw) -> Raw:
    try:
        value = msgpack.unpackb(data, strict_map_key=True)
        return Raw(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode())
    except TypeError as error:
        raise NotRepresentable(f"data: JSON cannot hold it: {error}") from None
    except (RecursionError, msgpack.StackError):
        raise NotRepresentable("data: nested too deeply to be carried to JSON") from None
    except (ValueError, msgpack.UnpackException) as error:
        raise NotRepresentable(f"data: JSON cannot hold it: {error}") from None
