"""The link of one subscription: what it says when it opens, and what comes over it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..configuration.url import without_secrets
from ..credentials.token import Token
from ..log.event import log_event
from ..protocol.codec import CODECS, DECODE_ERRORS, describe
from ..protocol.encodings import Encoding
from ..protocol.errors import Cancelled, CannotConnect, Overloaded, RateLimited, TaskferryError
from ..protocol.messages import Auth, Expiring, LoggedIn
from ..protocol.topic_messages import Since, Subscribe, Subscription, TopicFault
from ..transport.connect import BLOCKED
from ..transport.group import LinkGroup
from ..transport.link import Link
from .events import AnswerIgnored
from .publishing import error_of
from .refusal import Refusal
from .topic_events import Gap, TopicEvent

logger = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
"""When a broker that has no room for the subscription is asked again."""

ID: Final = "subscription"
"""The id of the one message that is answered."""


class Incoming(Struct):
    """Anything that comes over such a link."""

    type: str = ""
    id: str | None = None
    timestamp: int = 0
    data: Any = None
    topic: str = ""
    offset: int = 0
    messages: "list[Incoming]" = []
    error: TopicFault | str | None = None


_DECODE: Final = {
    Encoding.JSON: msgspec.json.Decoder(Incoming).decode,
    Encoding.MSGPACK: msgspec.msgpack.Decoder(Incoming).decode,
}


class Listening:
    """A link's receiver; see Kept in connection.py. `received` gets what happens, `failed` why there is no
    more."""

    def __init__(
        self,
        url: str,
        encoding: Encoding,
        topics: list[str],
        received: Callable[[TopicEvent | Gap], None],
        failed: Callable[[TaskferryError], None],
    ) -> None:
        self.url = url
        self.public_url = without_secrets(url)
        self.encoding = encoding
        self.group = LinkGroup()
        self.link: Link | None = None
        self.link_gone = asyncio.Event()
        self.link_gone.set()
        self.no_link_reason = f"still connecting; {BLOCKED}"
        self.refusal: Refusal | None = None
        self.is_closed = False
        self.about_login: Callable[[LoggedIn | Expiring], None] = lambda message: None
        self._topics = topics
        self._received = received
        self._failed = failed
        self._codec = CODECS[encoding]
        self._answered = asyncio.Event()
        self._epoch: str | None = None
        self._offset = 0
        self._again: asyncio.TimerHandle | None = None

    async def wait_answer(self, timeout_s: float) -> None:
        """Wait until the broker has answered, or refused. Raises CannotConnect after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._answered.wait()
        except TimeoutError:
            text = (
                f"{CannotConnect.message} at {self.public_url}: no answer to subscribe: {self.no_link_reason}"
            )
            raise CannotConnect(text) from None

    # --- what keeps the link asks for ---

    def refuse(self, refusal: Refusal) -> None:
        """A broker does not accept this client."""
        self.refusal = refusal
        self._end(refusal.error())

    def send_auth(self, token: Token) -> None:
        """Renew the login."""
        self._send(Auth(token.reveal()))

    def close(self) -> None:
        """Nothing more is wanted."""
        self.is_closed = True
        if self._again is not None:
            self._again.cancel()
        if self.link is not None:
            self.link.close()
        self._end(Cancelled("the subscription was closed"))

    # --- the link's calls ---

    def link_opened(self, link: Link) -> None:
        if self.is_closed:
            link.abort("closed here")  # connecting was cancelled too late to stop it
            return
        self.link = link
        self.refusal = None
        self.link_gone.clear()
        self._subscribe()

    def messages_received(self, payloads: list[bytes]) -> None:
        decode = _DECODE[self.encoding]
        for payload in payloads:
            try:
                message = decode(payload)
            except DECODE_ERRORS as error:
                log_event(logger, AnswerIgnored(self.public_url, describe(error, self.encoding)))
                continue
            if message.type in ("auth", "expiring"):
                self.about_login(self._codec.from_broker_control(payload))
            else:
                self._take(message)

    def wrong_kind_received(self) -> None:
        log_event(logger, AnswerIgnored(self.public_url, "a frame of the other kind"))

    def link_closed(self, reason: str) -> None:
        self.link = None
        self.no_link_reason = reason
        self.link_gone.set()

    # --- inside ---

    def _subscribe(self) -> None:
        self._again = None
        since = None if self._epoch is None else Since(self._epoch, self._offset)
        self._send(Subscribe(Subscription(self._topics, since), ID))

    def _send(self, message: object) -> None:
        if self.link is not None:
            self.link.send(self._codec.encode(message))

    def _take(self, message: Incoming) -> None:
        if message.messages:
            for one in message.messages:
                self._take(one)
        elif message.type == "gap":
            self._offset = max(self._offset, message.offset)
            dropped, reason = message.data.get("dropped"), message.data.get("reason")
            self._received(Gap(message.topic, dropped, reason))
        elif message.type == "subscribed":
            self._subscribed(message.data)
        elif isinstance(message.error, TopicFault):
            self._refused(error_of(message.error))
        elif message.offset:
            self._offset = message.offset
            at_s = message.timestamp / 1000
            event = TopicEvent(
                message.type, message.topic, message.data, at_s, message.offset, message.id or ""
            )
            self._received(event)

    def _subscribed(self, position: Any) -> None:
        recovery = position.get("recovery", {})
        if position["epoch"] != self._epoch:
            self._epoch, self._offset = position["epoch"], position["offset"]
        self._offset = max(self._offset, position["offset"])
        for topic, told in recovery.items():
            if told == "gap":
                self._received(Gap(topic, None, "away"))
        self._answered.set()

    def _refused(self, error: TaskferryError) -> None:
        """The subscription was refused. If there was one, and there is only no room for it now, ask again."""
        if self._epoch is not None and isinstance(error, Overloaded | RateLimited) and not self.is_closed:
            delay_s = error.retry_after_s or AGAIN_S
            self._again = asyncio.get_running_loop().call_later(delay_s, self._subscribe)
        else:
            self._end(error)

    def _end(self, error: TaskferryError) -> None:
        self._failed(error)
        self._answered.set()
