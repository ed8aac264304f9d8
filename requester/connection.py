"""Keeps one client's link up: connect, wait until it breaks, wait a little, connect again.

What is sent over the link, and what its loss means for a request, is in exchange.py.
"""

import asyncio
import logging
import random
import time
from typing import Final

from ..log.event import log_event
from ..protocol.errors import Cancelled, CannotConnect
from ..transport.backoff import BACKOFF_MAX_S, Backoff
from ..transport.connect import ConnectError, connect
from ..transport.settings import LinkSettings
from .events import ConnectedAgain, ConnectionFailed, LinkLost
from .exchange import Exchange

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S_DEFAULT: Final = 10.0
"""How long a caller that asks for a link first waits for it."""


class Connection:
    """The link of one exchange, reopened whenever it breaks. Made inside the running loop; `close` ends it."""

    __slots__ = ("_attempt_ended", "_exchange", "_settings", "_task")

    def __init__(self, exchange: Exchange, settings: LinkSettings) -> None:
        self._exchange = exchange
        self._settings = settings
        self._attempt_ended = asyncio.Event()
        self._task = asyncio.create_task(self._keep_up(), name=f"taskferry link to {exchange.public_url}")

    async def wait(self, timeout_s: float, *, retry: bool) -> None:
        """Wait until there is a link. Raises CannotConnect after `timeout_s`; without `retry`, after one attempt.

        Raises Cancelled if it is closed meanwhile.
        """
        exchange = self._exchange
        try:
            async with asyncio.timeout(timeout_s):
                while exchange.link is None and not exchange.is_closed:
                    self._attempt_ended.clear()
                    await self._attempt_ended.wait()
                    if not retry:
                        break
        except TimeoutError:
            pass
        if exchange.is_closed:
            raise Cancelled("the requester was closed")
        if exchange.link is None:
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
        is_known_down = False  # logged once, not at every attempt
        while True:
            try:
                await connect(exchange.url, exchange, exchange.group, self._settings, exchange.encoding)
            except ConnectError as error:
                exchange.no_link_reason = str(error)
                self._attempt_ended.set()
                if not is_known_down:
                    log_event(logger, ConnectionFailed(exchange.public_url, str(error)))
                is_known_down = True
            else:
                self._attempt_ended.set()
                if is_known_down:
                    log_event(logger, ConnectedAgain(exchange.public_url))
                opened_at_s = time.monotonic()
                await exchange.link_gone.wait()
                if exchange.is_closed:
                    return
                log_event(logger, LinkLost(exchange.public_url, exchange.no_link_reason))
                is_known_down = True
                if time.monotonic() - opened_at_s >= BACKOFF_MAX_S:
                    backoff.reset()  # not earlier: a broker that hangs up on every client must not be stormed
            await asyncio.sleep(backoff.next_wait_s())
