"""The two encodings of the wire and the sub-protocol names that select them."""

import enum
from collections.abc import Sequence
from typing import Final

TOKEN_SUBPROTOCOL: Final = "taskferry.token."
"""What a sub-protocol starts with that is no encoding but a token: browsers can send no header of their own."""


class Encoding(enum.Enum):
    """How a connection encodes its messages. JSON uses text frames, MessagePack binary ones."""

    JSON = "json"
    MSGPACK = "msgpack"

    @property
    def subprotocol(self) -> str:
        """The WebSocket sub-protocol of this encoding: `taskferry.v1.json`, `taskferry.v1.msgpack`."""
        return f"taskferry.v1.{self.value}"


SUBPROTOCOLS: dict[str, Encoding] = {encoding.subprotocol: encoding for encoding in Encoding}


def choose(offered: Sequence[str]) -> Encoding | None:
    """The encoding for a client that offers these sub-protocols, in its order of preference.

    JSON if it offers none. None if it offers some and all are unknown: the handshake is then refused.
    """
    if not offered:
        return Encoding.JSON
    return next((SUBPROTOCOLS[name] for name in offered if name in SUBPROTOCOLS), None)
