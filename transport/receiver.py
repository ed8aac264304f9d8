"""What a link calls in its owner: the sessions of the broker and of both SDKs.

It passes on whole messages; what they mean is up to the receiver.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .link import Link


class Receiver(Protocol):
    """The owner of a link. Calls come from the event loop, never concurrently."""

    def link_opened(self, link: "Link") -> None:
        """The handshake is done and `link.encoding` is known."""

    def messages_received(self, payloads: list[bytes]) -> None:
        """Whole messages, in order, at least one."""

    def wrong_kind_received(self) -> None:
        """A text message on a MessagePack link, or a binary one on a JSON link. The link stays open."""

    def link_closed(self, reason: str) -> None:
        """The link is gone, for `reason`; nothing follows. Called once for a link that has opened."""
