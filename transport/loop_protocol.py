"""A link as asyncio sees it: asyncio checks the class of its protocols, and a compiled class cannot inherit from one.

The two calls that every read costs are the link's own methods, so that they cost nothing more.
"""

import asyncio

from .link import Link


class LoopProtocol(asyncio.BufferedProtocol):
    """Represents `link` in the event loop."""

    __slots__ = ("_link", "buffer_updated", "get_buffer")

    def __init__(self, link: Link) -> None:
        self._link = link
        self.get_buffer = link.get_buffer  # type: ignore[method-assign]  # a slot, see above
        self.buffer_updated = link.buffer_updated  # type: ignore[method-assign]  # likewise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link.connection_made(transport)

    def eof_received(self) -> bool:
        return self._link.eof_received()

    def pause_writing(self) -> None:
        self._link.pause_writing()

    def resume_writing(self) -> None:
        self._link.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.connection_lost(exc)
