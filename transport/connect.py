"""Opening a link from the client's side: one attempt, bounded in time, with an error that says what went wrong.

Whether and when to try again is up to the caller (backoff.py has the times).
"""

import asyncio
import os
import re
import socket
import ssl
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from ..configuration.url import without_secrets
from ..protocol.encodings import Encoding
from .group import LinkGroup
from .link import Link
from .loop_protocol import LoopProtocol
from .receiver import Receiver
from .settings import LinkSettings
from .websocket_log import websocket_logger

_ERROR_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")
"""If a host has several addresses, asyncio raises one OSError without a number and with all of them in its text."""


class ConnectError(Exception):
    """A link could not be opened. `is_permanent`: trying again with the same URL cannot help."""

    def __init__(self, text: str, *, is_permanent: bool = False) -> None:
        super().__init__(text)
        self.is_permanent = is_permanent


class _Opening:
    """Takes the place of the real receiver until the handshake is over, and passes the outcome to `connect`."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def link_opened(self, link: Link) -> None:
        link.receiver = self.receiver
        self.receiver.link_opened(link)
        if not self.outcome.done():
            self.outcome.set_result(None)

    def messages_received(self, payloads: list[bytes]) -> None:
        raise AssertionError("messages come after the handshake")

    def wrong_kind_received(self) -> None:
        raise AssertionError("messages come after the handshake")

    def link_closed(self, reason: str) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(ConnectError(reason))


def check_url(url: str) -> WebSocketURI:
    """`url`, parsed. Raises ConnectError (permanent) if it is not a WebSocket URL."""
    try:
        uri = parse_uri(url)
        uri.host.encode("idna")  # as the resolver will
    except (InvalidURI, ValueError):
        text = f"{without_secrets(url)!r} is not a URL of the form ws://HOST:PORT or wss://HOST:PORT"
        raise ConnectError(text, is_permanent=True) from None
    return uri


async def connect(
    url: str, receiver: Receiver, group: LinkGroup, settings: LinkSettings, encoding: Encoding
) -> Link:
    """Open a link to `url` (`ws://` or `wss://`) that speaks `encoding`.

    Returns once the handshake is done; `receiver.link_opened` has then been called. Raises ConnectError, at the latest
    after `settings.handshake_s_max` seconds; `receiver` is not called then.
    """
    uri = check_url(url)
    protocol = ClientProtocol(
        uri,
        subprotocols=[Subprotocol(encoding.subprotocol)],
        max_size=settings.message_size_bytes_max,
        logger=websocket_logger,
    )
    opening = _Opening(receiver)
    link = Link(protocol, opening, group, settings)
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context() if uri.secure else None
    try:
        async with asyncio.timeout(settings.handshake_s_max):
            await loop.create_connection(lambda: LoopProtocol(link), uri.host, uri.port, ssl=context)
            await opening.outcome
    except TimeoutError:
        link.abort("handshake not finished in time")
        raise ConnectError(f"no answer within {settings.handshake_s_max:g} s") from None
    except OSError as error:
        raise ConnectError(_describe(error)) from None
    except asyncio.CancelledError:
        link.abort("cancelled")
        group.links.discard(
            link
        )  # uvloop forgets a connection whose opening is cancelled, and never reports its end
        raise
    return link


def _describe(error: OSError) -> str:
    """Short and for people: `connection refused` rather than what the event loop says about each address."""
    if isinstance(error, (ssl.SSLError, socket.gaierror)):
        return error.strerror or str(error)
    numbers = [error.errno] if error.errno else map(int, _ERROR_NUMBER.findall(str(error)))
    return ", ".join(dict.fromkeys(os.strerror(number).lower() for number in numbers)) or str(error)
