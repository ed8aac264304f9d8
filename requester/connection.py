"""Keeps one client's link up: connect, wait until it breaks, wait a little, connect again.

What is sent over the link, and what its loss means for a request, is in exchange.py.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from typing import Final, Protocol

from ..credentials.renewal import Renewal
from ..credentials.settings import unprotected
from ..credentials.source import TokenError, TokenSource
from ..credentials.token import Token
from ..log.event import log_event
from ..protocol.encodings import Encoding
from ..protocol.errors import Cancelled, CannotConnect
from ..protocol.messages import Expiring, LoggedIn
from ..transport.backoff import BACKOFF_MAX_S, Backoff
from ..transport.connect import ConnectError, connect
from ..transport.group import LinkGroup
from ..transport.link import Link
from ..transport.receiver import Receiver
from ..transport.settings import LinkSettings
from .events import ConnectedAgain, ConnectionFailed, LinkLost
from .refusal import Refusal, refusal_of

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S_DEFAULT: Final = 10.0
"""How long a caller that asks for a link first waits for it."""

_CANCELLED: Final = "the task that keeps the connection was cancelled; make a new requester"


class Kept(Receiver, Protocol):
    """Whose link is kept up: a receiver that knows where to connect, and notes whether there is a link. `public_url`:
    as it is logged. `link_gone` is set while there is none, and `no_link_reason` says why. `about_login` is called with
    what the broker says of the login."""

    url: str
    public_url: str
    encoding: Encoding
    group: LinkGroup
    link: Link | None
    link_gone: asyncio.Event
    no_link_reason: str
    refusal: Refusal | None
    is_closed: bool
    about_login: Callable[[LoggedIn | Expiring], None]

    def refuse(self, refusal: Refusal) -> None:
        """A broker does not accept this client; tried again all the same."""

    def send_auth(self, token: Token) -> None:
        """Renew the login."""

    def close(self) -> None:
        """End all that waits, and the link."""


class Connection:
    """The link of one exchange or subscription, reopened whenever it breaks, each time with a fresh one of the
    `tokens`. Made inside the running loop; `close` ends it."""

    __slots__ = (
        "_attempt_ended",
        "_exchange",
        "_refusal",
        "_renewal",
        "_reported",
        "_settings",
        "_task",
        "_tls",
        "_tokens",
    )

    def __init__(
        self, exchange: Kept, settings: LinkSettings, tokens: TokenSource, tls: ssl.SSLContext | None
    ) -> None:
        self._exchange = exchange
        self._settings = settings
        self._tokens = tokens
        self._tls = tls
        self._renewal: Renewal | None = None
        self._refusal: Refusal | None = None
        """How a broker answered the last attempt, if it did not accept it."""
        self._reported: str | None = None
        """Why there is no link, as it was logged; None while there is one."""
        exchange.about_login = self._about_login
        if not tokens.is_none:
            for warning in unprotected(exchange.url):
                log_event(logger, warning)
        self._attempt_ended = asyncio.Event()
        self._task = asyncio.create_task(self._keep_up(), name=f"taskferry link to {exchange.public_url}")
        self._task.add_done_callback(self._task_ended)

    async def wait(self, timeout_s: float, *, retry: bool) -> None:
        """Wait until there is a link. Raises CannotConnect after `timeout_s`; without `retry`, after one attempt.

        Raises Unauthenticated or Forbidden as soon as a broker refuses this client, RateLimited instead of
        CannotConnect if one wants it to wait, and Cancelled if it is closed meanwhile.
        """
        exchange = self._exchange
        try:
            async with asyncio.timeout(timeout_s):
                while exchange.link is None and not (exchange.is_closed or self._task.done()):
                    self._attempt_ended.clear()
                    await self._attempt_ended.wait()
                    if not retry or (self._refusal is not None and self._refusal.is_final):
                        break
        except TimeoutError:
            pass
        if exchange.is_closed:
            raise Cancelled("the requester was closed")
        if exchange.link is None:
            if self._refusal is not None:
                raise self._refusal.error()
            raise CannotConnect(
                f"{CannotConnect.message} at {exchange.public_url}: {exchange.no_link_reason}"
            )

    async def close(self) -> None:
        """End the requests, the link and the attempts. Takes no longer than the closing handshake may."""
        self._exchange.close()
        self._attempt_ended.set()
        try:
            # An open link ends by its closing handshake. Only then is the task cancelled: uvloop drops a connection
            # whose opening is cancelled, and its end would never be reported.
            await self._exchange.link_gone.wait()
            self._task.cancel()
            await asyncio.wait([self._task])
        finally:
            self._exchange.group.close()

    async def _keep_up(self) -> None:
        exchange = self._exchange
        backoff = Backoff(random.random)
        while True:
            try:
                token = await self._open()
                await self._until_gone(token, backoff)
                if exchange.is_closed:
                    return
                wait_s = backoff.next_wait_s()
            except TokenError:
                self._failed(is_news=True)
                wait_s = backoff.next_wait_s()
            except ConnectError as error:
                self._failed(is_news=self._refusal is not None)
                wait_s = backoff.next_wait_s(
                    is_refused=self._refusal is not None, retry_after_s=error.retry_after_s
                )
            except Exception as error:  # nobody awaits this task: calls would wait for a link for ever
                exchange.no_link_reason = f"{type(error).__name__}: {error}"
                self._failed(is_news=True)
                wait_s = backoff.next_wait_s()
            await asyncio.sleep(wait_s)

    def _task_ended(self, _: "asyncio.Task[None]") -> None:
        """Something else has cancelled it, such as a program that cancels all tasks: no call may wait for a link, once
        there is none."""
        exchange = self._exchange
        if exchange.is_closed:
            return
        self._refusal = Refusal(CannotConnect, exchange.public_url, _CANCELLED, 0.0)
        if exchange.link is None:
            exchange.refuse(self._refusal)
        else:
            exchange.refusal = self._refusal
        self._attempt_ended.set()

    async def _open(self) -> Token | None:
        """One attempt. Returns the token that the link was opened with. Raises TokenError and ConnectError."""
        exchange = self._exchange
        self._refusal, token = None, None
        try:
            token = await self._tokens.fetch()
            await connect(
                exchange.url,
                exchange,
                exchange.group,
                self._settings,
                exchange.encoding,
                token=token,
                tls=self._tls,
            )
        except (TokenError, ConnectError) as error:
            reason = f"no token: {error}" if isinstance(error, TokenError) else error.line
            if isinstance(error, ConnectError):
                self._refusal = refusal_of(error, exchange.public_url, has_token=token is not None)
            if self._refusal is not None and self._refusal.is_final:
                exchange.no_link_reason = self._refusal.reason
                exchange.refuse(self._refusal)
            else:
                exchange.no_link_reason = reason
                exchange.refusal = None
            raise
        finally:
            self._attempt_ended.set()
        return token

    def _failed(self, *, is_news: bool) -> None:
        """Log why there is no link: the first time, and `is_news` whenever it changes, not at every attempt."""
        reason = self._exchange.no_link_reason
        if self._reported is None or (is_news and reason != self._reported):
            self._reported = reason
            log_event(logger, ConnectionFailed(self._exchange.public_url, reason))

    async def _until_gone(self, token: Token | None, backoff: Backoff) -> None:
        """There is a link: renew its login until it breaks."""
        exchange = self._exchange
        if self._reported is not None:
            log_event(logger, ConnectedAgain(exchange.public_url))
        opened_at_s = time.monotonic()
        self._renewal = Renewal(self._tokens, token, exchange.public_url, exchange.send_auth)
        try:
            await exchange.link_gone.wait()
        finally:
            self._renewal.close()
        if exchange.is_closed:
            return
        log_event(logger, LinkLost(exchange.public_url, exchange.no_link_reason))
        self._reported = exchange.no_link_reason
        if time.monotonic() - opened_at_s >= BACKOFF_MAX_S:
            backoff.reset()  # not earlier: a broker that hangs up on every client must not be stormed

    def _about_login(self, message: LoggedIn | Expiring) -> None:
        if self._renewal is None:
            return
        if isinstance(message, Expiring):
            self._renewal.expiring(message.expires_in)
        elif message.success:
            self._renewal.answered(None)
        else:
            self._renewal.answered(message.error or message.code or "refused")
