"""Converts a value from one encoding to the other without changing it, or says why that is impossible.

Needed only if the two sides of a request use different encodings; otherwise the bytes pass unchanged. Strict in both
directions: a value that would arrive as another one (binary as base64 text, an integer key as a string, NaN as null) is
refused.

Compiled code (_to_json.c, _to_msgpack.c) carries a value, or refuses it, without making objects of its parts, ten times
as fast. What no client can send is left to the way by parts; so is every value if that code was not built. The bytes
and texts are the same either way, which the tests compare.
"""

import gc
import json
from collections.abc import Callable
from typing import Final

import msgpack
import msgspec
from msgspec import Raw

from .encodings import Encoding
from .errors import NotRepresentable

try:
    from ._to_json import to_json as to_json  # noqa: PLC0414  the tests take them from here
    from ._to_msgpack import to_msgpack as to_msgpack  # noqa: PLC0414
except ImportError:  # not built

    def to_json(data: Raw | bytes) -> bytes | None:
        """See `_to_json.pyi`."""
        return None

    def to_msgpack(data: Raw | bytes) -> bytes | None:
        """See `_to_msgpack.pyi`."""
        return None


LARGE_SIZE_BYTES: Final = 16 * 1024
"""From this size on the garbage collector rests meanwhile: it would look for cycles, which no value has, in a million
lists again and again, and take longer than all else."""

_TO_JSON: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


_REFUSALS: Final = (
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.DecodeError,
    msgpack.UnpackException,
)
"""What both ways raise for a value that does not fit."""


def transcode(data: Raw, source: Encoding, target: Encoding) -> Raw:
    """`data` encoded in `target`, equal in value to what it was in `source`.

    Raises NotRepresentable, whose text says what does not fit.
    """
    if source is target:
        return data
    try:
        carried = (to_msgpack if source is Encoding.JSON else to_json)(data)
    except _REFUSALS as error:
        reason = _reason(error, source)
    else:
        return transcode_by_parts(data, source) if carried is None else Raw(carried)
    raise _not_representable(reason)


def transcode_by_parts(data: Raw, source: Encoding) -> Raw:
    """`transcode` to the other encoding, by way of Python's objects. Raises the same."""
    convert: Callable[[Raw], Raw] = _json_to_msgpack if source is Encoding.JSON else _msgpack_to_json
    is_resting = len(data) >= LARGE_SIZE_BYTES and gc.isenabled()
    if is_resting:
        gc.disable()
    try:
        return convert(data)
    except _REFUSALS as error:
        reason = _reason(error, source)
    finally:
        if is_resting:
            gc.enable()
    raise _not_representable(reason)


def _json_to_msgpack(data: Raw) -> Raw:
    return Raw(msgspec.msgpack.encode(msgspec.json.decode(data)))


def _msgpack_to_json(data: Raw) -> Raw:
    return Raw(_TO_JSON(msgpack.unpackb(data, strict_map_key=True)).encode())


def _reason(error: Exception, source: Encoding) -> str:
    other = "MessagePack" if source is Encoding.JSON else "JSON"
    if isinstance(error, OverflowError):
        return f"{other} cannot hold an integer over 64 bits"
    if isinstance(error, RecursionError | msgpack.StackError):
        return f"nested too deeply to be carried to {other}"
    return f"{other} cannot hold it: {error}"


def _not_representable(reason: str) -> NotRepresentable:
    """Raised outside `except`, and where no name stands for the value: or the error would keep all of it in memory."""
    return NotRepresentable(f"data: {reason}")
