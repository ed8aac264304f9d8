"""The two encodings of the wire and the sub-protocol names that choose them.

Knows names only; how a message is written in an encoding is in codec.py.
"""

import enum
from collections.abc import Sequence


class Encoding(enum.Enum):
    """How one connection writes its messages. JSON goes in text frames, MessagePack in binary ones."""

    JSON = "json"
    MSGPACK = "msgpack"

    @property
    def subprotocol(self) -> str:
        """The WebSocket sub-protocol that stands for this encoding: `taskferry.v1.json`, `taskferry.v1.msgpack`."""
        return f"taskferry.v1.{self.value}"


SUBPROTOCOLS: dict[str, Encoding] = {encoding.subprotocol: encoding for encoding in Encoding}


def choose(offered: Sequence[str]) -> Encoding | None:
    """The encoding for a client that offers these sub-protocols, in its order of preference.

    No offer at all means JSON. None where offers were made and none of them is known: the handshake is refused.
    """
    if not offered:
        return Encoding.JSON
    return next((SUBPROTOCOLS[name] for name in offered if name in SUBPROTOCOLS), None)
