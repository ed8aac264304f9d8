"""What is added to a broker by modules of the user: handlers of messages of their own."""

from msgspec import Raw

from ..protocol import errors
from ..protocol.encodings import Encoding


class Plugins:
    """The handlers, by the kind of message."""

    def take(self, kind: str, data: Raw, encoding: Encoding, sender: str) -> None:
        """Call the handler. Raises UnknownMessageType."""
        raise errors.UnknownMessageType(f"kind: no plugin of the broker handles {kind!r}")
