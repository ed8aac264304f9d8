"""The messages of a load in Taskferry's two encodings (PROTOCOL.md): how to make them, how to find ids in others.

Messages are read only as far as it takes to find ids; the broker's own tests check what they say.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from .load import Encoding
from .payload import as_msgpack
from .websocket_connection import BINARY, TEXT

REQUEST_ID_LENGTH: Final = 36
"""As long as a UUID, what most callers use."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One encoding. A mark comes right before an id, or identifies the kind of a message."""

    encoding: Encoding
    opcode_octet: int
    subprotocol: str | None
    request_id_mark: bytes
    success_mark: bytes
    request_mark: bytes
    msg_id_mark: bytes
    connect_mark: bytes
    error_mark: bytes
    pong_mark: bytes

    def encode(self, message: dict[str, Any], data: bytes | None = None) -> bytes:
        """`message`, with `data` (JSON) under the key of that name."""
        if data is not None:
            message = message | {"data": msgspec.Raw(self.data(data))}
        return msgspec.msgpack.encode(message) if self.encoding == "msgpack" else msgspec.json.encode(message)

    def data(self, data: bytes) -> bytes:
        """`data` (JSON) in this encoding."""
        return as_msgpack(data) if self.encoding == "msgpack" else data

    def msg_id(self, buffer: bytearray, start: int, end: int) -> bytearray:
        """The msg_id of an assignment, buffer[start:end]."""
        id_start = buffer.find(self.msg_id_mark, start, end) + len(self.msg_id_mark)
        if self.encoding == "msgpack":
            # A string of up to 31 octets, which msg_ids are: 0xa0 + its length, then the string.
            return buffer[id_start + 1 : id_start + 1 + (buffer[id_start] & 0x1F)]
        return buffer[id_start : buffer.find(b'"', id_start, end)]

    def response_around(self, msg_id_bytes: int, data: bytes) -> tuple[bytes, bytes]:
        """A worker's successful response with `data` (JSON) as its result: the parts before and after its msg_id."""
        placeholder = "?" * msg_id_bytes
        message = self.encode(
            {"type": "response", "msg_id": placeholder, "timestamp": 0},
            b'{"success":true,"result":%b}' % data,
        )
        before, _, after = message.partition(placeholder.encode())
        return before, after


JSON: Final = Wire(
    encoding="json",
    opcode_octet=TEXT,
    subprotocol=None,
    request_id_mark=b'"request_id":"',
    success_mark=b'"success":true',
    request_mark=b'"type":"request"',
    msg_id_mark=b'"msg_id":"',
    connect_mark=b'"type":"connect"',
    error_mark=b'"type":"error"',
    pong_mark=b'"type":"pong"',
)
MSGPACK: Final = Wire(
    encoding="msgpack",
    opcode_octet=BINARY,
    subprotocol="taskferry.v1.msgpack",
    request_id_mark=b"\xaarequest_id\xd9%c" % REQUEST_ID_LENGTH,
    success_mark=b"\xa7success\xc3",
    request_mark=b"\xa4type\xa7request",
    msg_id_mark=b"\xa6msg_id",
    connect_mark=b"\xa4type\xa7connect",
    error_mark=b"\xa4type\xa5error",
    pong_mark=b"\xa4type\xa4pong",
)
WIRES: Final[dict[Encoding, Wire]] = {"json": JSON, "msgpack": MSGPACK}
