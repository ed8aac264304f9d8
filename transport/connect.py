"""Opening a link from the client's side: one attempt, bounded in time, with an error that says what went wrong.

Whether and when to try again is up to the caller (backoff.py has the times).
"""

import asyncio
import errno
import os
import re
import socket
import ssl
from http import HTTPStatus
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from ..configuration.url import without_secrets
from ..credentials.tls import TlsError, default_context, describe_tls, speaks_no_tls
from ..credentials.token import Token
from ..log.printable import printable
from ..protocol.encodings import Encoding
from .group import LinkGroup
from .link import Link
from .loop_protocol import LoopProtocol
from .receiver import Receiver
from .settings import LinkSettings
from .websocket_log import websocket_logger

_ERROR_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")
"""If a host has several addresses, asyncio raises one OSError without a number and with all of them in its text."""


REFUSALS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
"""The statuses of a server that is there and refuses this client."""

_REFUSAL_LENGTH_MAX: Final = 200
"""Characters of a server's text."""

_NO_TLS: Final = "a broker without TLS has a URL with ws://"
_TLS: Final = "check the port; a broker with TLS has a URL with wss://"
_NO_BROKER: Final = "no broker answers there: check host, port and path"
BLOCKED: Final = "check host and port, and whether a firewall is in between"
_ADVICE_BY_ERROR: Final = {
    errno.EHOSTUNREACH: "check the address, and the network of this machine",
    errno.ENETUNREACH: "check the address, and the network of this machine",
    errno.ETIMEDOUT: BLOCKED,
}
_ADVICE_BY_STATUS: Final[dict[int, str]] = {
    HTTPStatus.OK: _NO_BROKER,
    HTTPStatus.NOT_FOUND: _NO_BROKER,
    HTTPStatus.BAD_GATEWAY: "a proxy answers there, and reaches no broker",
    HTTPStatus.SERVICE_UNAVAILABLE: "try again later",
    HTTPStatus.GATEWAY_TIMEOUT: "a proxy answers there, and reaches no broker",
}


class ConnectError(Exception):
    """A link could not be opened. `is_permanent`: trying again with the same URL cannot help.

    `advice`: what to do, "" if that depends on who asks. `status`: with which a server refused the handshake, None if
    none did. `retry_after_s`: when it wants to be asked again, 0 if it does not say.
    """

    def __init__(
        self,
        text: str,
        *,
        advice: str = "",
        is_permanent: bool = False,
        status: int | None = None,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(text)
        self.advice = advice
        self.is_permanent = is_permanent
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def line(self) -> str:
        """What went wrong, and what to do."""
        return f"{self}; {self.advice}" if self.advice else str(self)

    @property
    def is_refused(self) -> bool:
        """The server is there, and does not want this client: without a token, with this one, or just now."""
        return self.status in REFUSALS


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


def check_login(uri: WebSocketURI, *, has_token: bool, has_tls: bool) -> None:
    """Raise ConnectError (permanent) if a link to `uri` cannot use a token, or a TLS context, that there is."""
    if has_tls and not uri.secure:
        text = "TLS needs a URL of the form wss://HOST:PORT; ws:// is not encrypted"
        raise ConnectError(text, is_permanent=True)
    if has_token and uri.user_info is not None:
        text = "there is a token, and the URL has a user and a password: only one of the two can be sent"
        raise ConnectError(text, is_permanent=True)


async def connect(
    url: str,
    receiver: Receiver,
    group: LinkGroup,
    settings: LinkSettings,
    encoding: Encoding,
    *,
    token: Token | None = None,
    tls: ssl.SSLContext | None = None,
) -> Link:
    """Open a link to `url` (`ws://` or `wss://`) that speaks `encoding`. `token` proves who this is; `tls` is by
    default what trusts the authorities of the system.

    Returns once the handshake is done; `receiver.link_opened` has then been called. Raises ConnectError, at the latest
    after `settings.handshake_s_max` seconds; `receiver` is not called then.
    """
    uri = check_url(url)
    check_login(uri, has_token=token is not None, has_tls=tls is not None)
    protocol = ClientProtocol(
        uri,
        subprotocols=[Subprotocol(encoding.subprotocol)],
        max_size=settings.message_size_bytes_max,
        logger=websocket_logger,
    )
    opening = _Opening(receiver)
    link = Link(protocol, opening, group, settings, request=_request(protocol, token))
    loop = asyncio.get_running_loop()
    try:
        if uri.secure and tls is None:
            tls = default_context()
        async with asyncio.timeout(settings.handshake_s_max):
            await loop.create_connection(lambda: LoopProtocol(link), uri.host, uri.port, ssl=tls)
            await opening.outcome
    except ConnectError as error:
        if isinstance(protocol.handshake_exc, InvalidStatus):
            raise _refused(protocol.handshake_exc.response, token) from None
        is_http = str(error).startswith("handshake")
        error.advice = _NO_BROKER if uri.secure or is_http else _TLS
        raise
    except TimeoutError:
        link.abort("handshake not finished in time")
        text = f"no answer within {settings.handshake_s_max:g} s"
        raise ConnectError(text, advice=BLOCKED) from None
    except TlsError as error:
        raise ConnectError(f"TLS cannot be set up: {error}") from None
    except OSError as error:
        raise _broken(error, uri) from None
    except Exception as error:  # no thread for the resolver, or whatever else: the next attempt may do better
        raise ConnectError(f"{type(error).__name__}: {error}") from error
    except asyncio.CancelledError:
        link.abort("cancelled")
        group.links.discard(
            link
        )  # uvloop forgets a connection whose opening is cancelled, and never reports its end
        raise
    return link


def _request(protocol: ClientProtocol, token: Token | None) -> Request:
    request = protocol.connect()
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token.reveal()}"
    return request


def _refused(response: Response, token: Token | None) -> ConnectError:
    """The error for a server's answer: the first line of its text, which may be anybody's. It may even be ours."""
    lines = response.body.decode(errors="replace").strip().splitlines()
    text = lines[0] if lines else f"server rejected WebSocket connection: HTTP {response.status_code}"
    if token is not None:
        text = text.replace(token.reveal(), "...")
    text = printable(text[:_REFUSAL_LENGTH_MAX])
    status = f"{response.status_code} " if lines else ""
    return ConnectError(
        f"handshake refused: {status}{text}",
        advice=_advice_of(response, has_text=bool(lines)),
        status=response.status_code,
        retry_after_s=_seconds_in(response.headers.get_all("Retry-After")),
    )


def _advice_of(response: Response, *, has_text: bool) -> str:
    """What to do about a refusal. Of those that are about this client (REFUSALS), the caller knows more."""
    status = response.status_code
    location = response.headers.get_all("Location")
    if 300 <= status < 400 and len(location) == 1:
        return (
            f"it redirects to {printable(location[0][:_REFUSAL_LENGTH_MAX])}: connect to where the broker is"
        )
    if status in _ADVICE_BY_STATUS:
        return _ADVICE_BY_STATUS[status]
    return "" if status in REFUSALS or has_text else _NO_BROKER


def _seconds_in(retry_after: list[str]) -> float:
    """Of the two forms of Retry-After (RFC 9110, 10.2.3), brokers send the seconds."""
    text = retry_after[0].strip() if len(retry_after) == 1 else ""
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0.0


def _broken(error: OSError, uri: WebSocketURI) -> ConnectError:
    """Short and for people: `connection refused` rather than what the event loop says about each address."""
    if isinstance(error, ssl.SSLError):
        text = describe_tls(error, uri.host)
        return ConnectError(text, advice=_NO_TLS if speaks_no_tls(error) else "")
    if isinstance(error, socket.gaierror):
        advice = f"check the name {printable(uri.host)}, and the name server of this machine"
        return ConnectError(error.strerror or str(error), advice=advice)
    numbers = list(
        dict.fromkeys([error.errno] if error.errno else map(int, _ERROR_NUMBER.findall(str(error))))
    )
    if uri.secure and (not numbers or errno.ECONNRESET in numbers):  # asyncio gives no reason for the first
        return ConnectError("connection lost in the TLS handshake", advice=_NO_TLS)
    advice = next((_ADVICE_BY_ERROR[number] for number in numbers if number in _ADVICE_BY_ERROR), "")
    text = ", ".join(os.strerror(number).lower() for number in numbers)
    return ConnectError(text or str(error), advice=advice)
