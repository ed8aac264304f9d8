"""The data of a request: JSON of an exact size, in one of two shapes, and the same as MessagePack."""

import json
from typing import Literal

import msgspec

Shape = Literal["records", "text"]

SMALLEST = b'{"message":"Hello World"}'
SIZE_BYTES_MIN = len(SMALLEST)
# Taskferry's bound on data: its 1 MiB for a message, less 4 KiB for the envelope.
SIZE_BYTES_MAX = 1_048_576 - 4_096


def json_data(size_bytes: int, shape: Shape) -> bytes:
    """A JSON object of exactly `size_bytes` (SIZE_BYTES_MIN .. SIZE_BYTES_MAX) octets of ASCII.

    `text` is one long string, the cheapest JSON to check; `records` is a list of small objects, as programs send
    each other. The smallest size is `{"message":"Hello World"}` in either shape. Raises ValueError if out of bounds.
    """
    if not SIZE_BYTES_MIN <= size_bytes <= SIZE_BYTES_MAX:
        raise ValueError(f"a size of {size_bytes} is not within {SIZE_BYTES_MIN} .. {SIZE_BYTES_MAX} bytes")
    if shape == "records" and size_bytes >= len(_records_object(0)):
        return _with_records(size_bytes)
    filler = b"x" * (size_bytes - SIZE_BYTES_MIN)
    return SMALLEST[:-2] + filler + SMALLEST[-2:]


def as_msgpack(data: bytes) -> bytes:
    """The value of the JSON text `data` in MessagePack."""
    return msgspec.msgpack.encode(msgspec.json.decode(data))


def _with_records(size_bytes: int) -> bytes:
    # Each record is RECORD_BYTES or longer, so this many fit; padding fills the rest.
    count = (size_bytes - len(_records_object(0))) // len(_record(SIZE_BYTES_MAX))
    encoded = _records_object(count)
    padding = b"x" * (size_bytes - len(encoded))
    return encoded[:-2] + padding + encoded[-2:]


def _records_object(count: int) -> bytes:
    records = b",".join(_record(index) for index in range(count))
    return b'{"message":"Hello World","records":[%b],"padding":""}' % records


def _record(index: int) -> bytes:
    record = {
        "id": index,
        "name": f"record {index}",
        "price": index + 0.25,
        "active": index % 2 == 0,
        "tags": ["red", "green", "blue"],
        "parent": None,
    }
    return json.dumps(record, separators=(",", ":")).encode()
