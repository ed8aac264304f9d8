"""Large messages in JSON, decoded in two parts: one large value, and the envelope around it.

Checking the syntax of a value that is only passed on is most of the cost of a large message. Compiled code (_json.c)
checks it several times faster than the decoder and finds its place; the decoder reads the rest, with a placeholder in
its place. Anything unusual, and so anything invalid, goes to the decoder unchanged. So does every message if the
compiled code was not built. The result equals that of codec.py's decoders, which the tests compare.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Raw

from .codec import CODECS, DECODE_ERRORS
from .encodings import Encoding
from .messages import FromWorker, Request, WorkerResponse
from .stream_messages import WorkerChunk

try:
    from ._json import find_value as find_value  # noqa: PLC0414  the tests take it from here
except ImportError:  # not built

    def find_value(message: bytes, path: tuple[bytes, ...]) -> tuple[int, int] | None:
        """See `_json.pyi`."""
        return None


LARGE_SIZE_BYTES: Final = 2048
"""From this size on it pays: a shorter message is cheaper to decode whole."""

_Message = TypeVar("_Message")
_PLACEHOLDER: Final = b"0"
_DATA: Final = (b"data",)
_RESULT: Final = (b"data", b"result")
_CHUNK: Final = b'{"type":"chunk",'
"""How our workers' chunks begin. Others are decoded whole."""
_decode_request: Final[Callable[[bytes], Request]] = CODECS[Encoding.JSON].request
_decode_from_worker: Final[Callable[[bytes], FromWorker]] = CODECS[Encoding.JSON].from_worker


def _in_two(
    decode: Callable[[bytes], _Message], payload: bytes, path: tuple[bytes, ...]
) -> tuple[_Message, Raw | None]:
    """The message, and the value at `path` if the message holds a placeholder for it."""
    span = find_value(payload, path)
    if span is not None:
        start, end = span
        try:
            message = decode(payload[:start] + _PLACEHOLDER + payload[end:])
        except DECODE_ERRORS:
            return decode(payload), None  # this error names the place in the message as it came
        return message, Raw(memoryview(payload)[start:end])
    return decode(payload), None


def _decode_large_request(payload: bytes) -> Request:
    message, data = _in_two(_decode_request, payload, _DATA)
    if data is not None:
        message.data = data
    return message


def _decode_large_from_worker(payload: bytes) -> FromWorker:
    if payload.startswith(_CHUNK):
        chunk, data = _in_two(_decode_from_worker, payload, _DATA)
        if data is not None and type(chunk) is WorkerChunk:
            chunk.data = data
            return chunk
        return chunk if data is None else _decode_from_worker(payload)
    message, result = _in_two(_decode_from_worker, payload, _RESULT)
    if result is None:
        return message
    if type(message) is not WorkerResponse:
        return _decode_from_worker(payload)
    message.data.result = result
    return message


LARGE_REQUEST_DECODERS: Final[dict[Encoding, Callable[[bytes], Request]]] = {
    Encoding.JSON: _decode_large_request,
    Encoding.MSGPACK: CODECS[Encoding.MSGPACK].request,
}
"""Decode a requester's message as `Codec.request` does. MessagePack needs nothing else: its texts are length-prefixed,
and checking one means skipping it."""

LARGE_FROM_WORKER_DECODERS: Final[dict[Encoding, Callable[[bytes], FromWorker]]] = {
    Encoding.JSON: _decode_large_from_worker,
    Encoding.MSGPACK: CODECS[Encoding.MSGPACK].from_worker,
}
"""The same for a worker's message and `Codec.from_worker`."""
