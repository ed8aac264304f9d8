"""Renews the login of one link in place: at `expiring` a fresh token is fetched, sent, and its answer awaited.

The broker decides when, and may be anybody's: however often it asks, a token is fetched at most every
RENEWAL_INTERVAL_S. If nothing helps, the broker closes the link, and the next connection takes a fresh token.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from ..log.event import log_event
from ..protocol.limits import EXPIRY_NOTICE_S
from .events import LoginExpiring, LoginRenewed, RenewalFailed
from .source import TokenError, TokenSource
from .token import Token

logger = logging.getLogger(__name__)

RENEWAL_INTERVAL_S: Final = 5.0
"""The least time between two tokens for one link. Within the notice that a broker gives, some six attempts."""

ANSWER_S_MAX: Final = 5.0
"""How long the broker may take to answer `auth`."""


class Renewal:
    """The login of one link to `public_url`, which was opened with the token `shown`. Made inside the running loop.

    `send` sends `auth` with a token.
    """

    __slots__ = (
        "_answer",
        "_ends_at",
        "_fetched_at",
        "_public_url",
        "_send",
        "_shown",
        "_source",
        "_task",
    )

    def __init__(
        self, source: TokenSource, shown: Token | None, public_url: str, send: Callable[[Token], None]
    ) -> None:
        self._source = source
        self._shown = shown
        self._public_url = public_url
        self._send = send
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[str | None] | None = None
        self._fetched_at = -RENEWAL_INTERVAL_S
        self._ends_at = 0.0

    def expiring(self, expires_in_s: float) -> None:
        """The login runs out in so many seconds, a number that may be anything."""
        left_s = min(expires_in_s, EXPIRY_NOTICE_S) if expires_in_s > 0 else 0.0  # NaN is not over 0
        if not self._source.can_renew:
            if not self._source.is_none:
                log_event(logger, LoginExpiring(self._public_url, left_s))
            return
        self._ends_at = time.monotonic() + left_s
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew(), name=f"taskferry login at {self._public_url}")

    def answered(self, failure: str | None) -> None:
        """The broker's answer to `auth`: why it refuses the token, None if it accepts it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(failure)

    def close(self) -> None:
        """The link is gone."""
        if self._task is not None:
            self._task.cancel()

    async def _renew(self) -> None:
        """Once at least, and until it has worked or the login has run out."""
        while True:
            await asyncio.sleep(self._fetched_at + RENEWAL_INTERVAL_S - time.monotonic())
            self._fetched_at = time.monotonic()
            failure = await self._attempt()
            if failure is None:
                log_event(logger, LoginRenewed(self._public_url))
                return
            log_event(logger, RenewalFailed(self._public_url, failure))
            if time.monotonic() + RENEWAL_INTERVAL_S > self._ends_at:
                return

    async def _attempt(self) -> str | None:
        """Why it failed; None if the broker has accepted a fresh token."""
        try:
            token = await self._source.fetch()
        except TokenError as error:
            return str(error)
        if token is None or token == self._shown:
            return "the token is still the same"
        self._answer = asyncio.get_running_loop().create_future()
        self._send(token)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                failure = await self._answer
        except TimeoutError:
            return f"the broker did not answer within {ANSWER_S_MAX:g} s"
        if failure is None:
            self._shown = token
        return failure
