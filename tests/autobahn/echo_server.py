"""Sends every message back, on the links that all our programs use: what Autobahn's cases expect of a server.

Prints its port and serves until it is ended. A message of the wrong kind for the link is not sent back, as in the
broker. The bound on one message lets Autobahn's largest (16 MiB) pass.
"""

import asyncio
import os

from taskferry.transport.admission import HandshakeRequest
from taskferry.transport.group import LinkGroup
from taskferry.transport.link import Link
from taskferry.transport.listen import listen
from taskferry.transport.settings import LinkSettings
from taskferry.transport.sockets import bound_sockets


class Echo:
    """One connection."""

    def link_opened(self, link: Link) -> None:
        self._link = link

    def messages_received(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._link.send(payload)

    def wrong_kind_received(self) -> None:
        """Autobahn sees that nothing comes back."""

    def link_closed(self, reason: str) -> None:
        """Nothing to undo."""


def accept(_: HandshakeRequest) -> Echo:
    return Echo()


async def main() -> None:
    settings = LinkSettings(message_size_bytes_max=32 * 1024 * 1024, reads_only_while_writable=True)
    server = await listen(bound_sockets("127.0.0.1", 0)[0], accept, LinkGroup(), settings)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    # The loop of the broker, without what else its program does.
    if os.name == "nt":
        asyncio.run(main())
    else:
        import uvloop

        uvloop.run(main())
