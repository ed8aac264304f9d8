"""One connection of the API port, mostly of a web page: answers what it is sent, and passes on what is about topics.

Knows the wire of that port, which is always JSON; knows no rule of what a subscriber gets.
"""

import logging
import time
from typing import Final

from ..log.event import log_event
from ..protocol import errors
from ..protocol.api_messages import ApiPing, ApiPong, decode, fault_of, id_in
from ..protocol.close_codes import POLICY_VIOLATION
from ..protocol.codec import CODECS, DECODE_ERRORS
from ..protocol.encodings import Encoding
from ..protocol.job_messages import Greeted, Greeting
from ..protocol.messages import Auth, Expiring, LoggedIn
from ..protocol.topic_messages import Subscribe, Subscription, TopicError, TopicFault
from ..transport.group import SLOW_READER
from ..transport.link import Link
from .access.pace import Pace
from .access.usage import Usage
from .api_path import Wish
from .entrance import API_PORT
from .entrant import Entrant
from .events import SlowReaderClosed
from .fault_run import TOO_MANY_FAULTS, FaultRun
from .topic_desk import TopicDesk
from .topic_requests import TopicRequests, has_room

logger = logging.getLogger(__name__)

_encode: Final = CODECS[Encoding.JSON].encode


class ApiSession:
    """Receives from one link. `wish`: what its URL said. `messages_per_s`: how many it may send."""

    __slots__ = (
        "_entrant",
        "_faults",
        "_is_over",
        "_link",
        "_pace",
        "_sessions",
        "_topics",
        "_usage",
        "_wish",
    )

    _link: Link

    def __init__(
        self,
        topics: TopicDesk,
        sessions: dict["ApiSession", None],
        entrant: Entrant,
        wish: Wish,
        messages_per_s: float,
    ) -> None:
        """`sessions`: those of its port, to which it belongs while its link is open. `entrant`: whose they are."""
        self._topics = TopicRequests(topics, entrant.gate, self)
        self._sessions = sessions
        self._entrant = entrant
        self._wish = wish
        self._usage: Usage = entrant.gate.usage
        self._pace = Pace(messages_per_s)
        self._faults = FaultRun()
        self._is_over = False
        """It is being closed, or was: what still arrives is ignored."""

    # --- from the link ---

    def link_opened(self, link: Link) -> None:
        self._link = link
        self._sessions[self] = None
        self._entrant.client_id = self._wish.client_id
        self._entrant.opened(self, link)
        if self._wish.topics:
            self._topics.take(Subscribe(Subscription(list(self._wish.topics))))

    def messages_received(self, payloads: list[bytes]) -> None:
        now = time.monotonic()
        for payload in payloads:
            if self._is_over:
                return
            if self._is_within_pace(payload, now):
                self._take(payload)

    def wrong_kind_received(self) -> None:
        if not self._is_over:
            text = "message: this port takes text frames only"
            self._refuse(None, TopicFault(errors.BadRequest.code, text))
            self._count_fault()

    def link_closed(self, reason: str) -> None:
        del self._sessions[self]
        if reason.startswith(SLOW_READER):
            log_event(logger, SlowReaderClosed(API_PORT, self._link.peer, reason))
        self._leave()
        self._entrant.left()

    # --- from the topics ---

    @property
    def encoding(self) -> Encoding:
        return Encoding.JSON

    @property
    def has_room(self) -> bool:
        return has_room(self._link)

    def send(self, payload: bytes) -> object:
        return self._link.send(payload)

    def close_slow(self, reason: str) -> None:
        self._leave()
        self._link.abort(f"{SLOW_READER}: {reason}")

    # --- from the broker ---

    def login_expires(self, expires_in_s: float) -> None:
        self._send(Expiring(expires_in_s))

    def login_ends(self) -> None:
        """It is given nothing that others would have to be spared."""

    def login_ended(self, code: int, reason: str) -> None:
        if not self._is_over:
            self.close(code, reason)

    def close(self, code: int, reason: str) -> None:
        """Close the connection once all that is queued for it has been sent."""
        self._leave()
        self._link.close(code, reason)

    def reconfigure(self, messages_per_s: float) -> None:
        """Change how much it may send."""
        self._pace.reconfigure(messages_per_s, time.monotonic())

    # --- inside ---

    def _leave(self) -> None:
        self._is_over = True
        self._topics.left()

    def _is_within_pace(self, payload: bytes, now: float) -> bool:
        """It may send this message; otherwise that is answered, or the connection closed."""
        wait_s = self._pace.spend(now)
        text = f"over {self._pace.rate:g} messages a second on this connection (api_messages_per_s)"
        if wait_s and self._pace.is_hopeless:
            self.close(POLICY_VIOLATION, text)
            return False
        if not wait_s:
            failure = self._usage.spend(len(payload), now) if self._usage.is_metered else None
            if failure is None:
                return True
            text, wait_s = failure.text, failure.retry_after_s or 0.0
        fault = TopicFault(errors.RateLimited.code, text, {"retry_after": round(wait_s, 3)})
        self._refuse(id_in(payload), fault)
        return False

    def _take(self, payload: bytes) -> None:
        try:
            message = decode(payload)
        except DECODE_ERRORS as error:
            self._refuse(*fault_of(payload, error))
            self._count_fault()
            return
        match message:
            case ApiPing():
                self._send(ApiPong(message.id, _timestamp_ms()))
            case ApiPong():
                pass
            case Auth():
                self._renew(message)
            case Greeting():
                self._greet(message)
            case _:
                self._topics.take(message)

    def _count_fault(self) -> None:
        if self._faults.add(self._link.sent_count):
            self.close(POLICY_VIOLATION, TOO_MANY_FAULTS)

    def _renew(self, auth: Auth) -> None:
        login = self._entrant.renew(auth.token)
        self._send(
            LoggedIn(
                login.success, auth.request_id, login.identity, login.expires_in, login.code, login.error
            )
        )
        self._entrant.renewal_answered()

    def _greet(self, message: Greeting) -> None:
        entrant = self._entrant
        fault = entrant.describe_device(message.device)
        if fault is not None:
            self._refuse(message.request_id, TopicFault(errors.BadRequest.code, fault))
            return
        entrant.client_id = message.client_id or entrant.client_id
        self._send(Greeted(message.request_id, entrant.client_id))

    def _refuse(self, id: str | None, fault: TopicFault) -> None:
        self._send(TopicError(id, _timestamp_ms(), fault))

    def _send(self, message: object) -> None:
        self._link.send(_encode(message))


def _timestamp_ms() -> int:
    return round(time.time() * 1000)
