"""All requests in flight of one client, and how each of them ends, exactly once and never late.

A request is admitted (bounds), written (now, or as soon as there is a link), answered, cancelled, or ended by its
deadline; when the link breaks, it fails if it may have run, and is sent again otherwise. Links are opened in
connection.py; what waits for a request is in in_flight.py.
"""

import asyncio
import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from ..configuration.url import without_secrets
from ..credentials.token import Token
from ..log.event import log_event, without_quoted
from ..protocol.codec import DECODE_ERRORS, describe
from ..protocol.encodings import Encoding
from ..protocol.errors import (
    MAY_HAVE_RUN,
    NOT_DELIVERED,
    BadRequest,
    Cancelled,
    CannotConnect,
    ConnectionLost,
    DuplicateRequestId,
    HandlerError,
    NotRepresentable,
    Overloaded,
    TaskferryError,
    WorkerTimeout,
    error_from_wire,
)
from ..protocol.limits import REQUEST_ID_LENGTH_MAX, TIMEOUT_S_MAX
from ..protocol.messages import Expiring, LoggedIn, Pong
from ..transport.group import LinkGroup
from ..transport.link import Link
from .deadline_timer import DeadlineTimer
from .events import AnswerIgnored, MessageRefused
from .in_flight import InFlight, Waiter
from .refusal import Refusal
from .wire import WIRES, OutgoingRequest, check_routing

logger = logging.getLogger(__name__)

ANSWER_GRACE_S: Final = 0.5
"""How long after its deadline a request that was sent still waits: the broker responds at the deadline, naming the
worker that was late, and that response takes a while to get here. No call takes longer than its timeout plus this."""

IN_FLIGHT_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes of all requests in flight together. Half of what a link may hold for a broker that reads slowly, so that a
burst of large requests waits here instead of breaking the link."""


class Exchange:
    """The requests of one client. A link's receiver; all calls come from one event loop.

    Made inside the running loop, for the broker at `url`. At most `in_flight_count_max` requests, and
    IN_FLIGHT_SIZE_BYTES_MAX bytes of them, are in flight; later ones wait in order, within their deadlines.
    """

    __slots__ = (
        "_deadline_timer",
        "_id_prefix",
        "_in_flight",
        "_in_flight_count_max",
        "_in_flight_size_bytes",
        "_is_refusing",
        "_made_count",
        "_waiting",
        "_wire",
        "about_login",
        "encoding",
        "group",
        "is_closed",
        "link",
        "link_gone",
        "loop",
        "no_link_reason",
        "public_url",
        "refusal",
        "url",
    )

    def __init__(self, url: str, encoding: Encoding, in_flight_count_max: int) -> None:
        self.url = url
        self.public_url = without_secrets(url)
        """The URL as it is logged."""
        self.encoding = encoding
        self.group = LinkGroup()
        self.link: Link | None = None
        self.link_gone = asyncio.Event()
        self.link_gone.set()
        self.no_link_reason = "still connecting"
        self.refusal: Refusal | None = None
        """Why requests fail at once: a broker does not accept this client."""
        self._is_refusing = False
        self.about_login: Callable[[LoggedIn | Expiring], None] = lambda message: None
        """Called with what the broker says of this client's login."""
        self._wire = WIRES[encoding]
        self.loop = asyncio.get_running_loop()
        self._in_flight: dict[str, InFlight] = {}
        self._in_flight_count_max = in_flight_count_max
        self._in_flight_size_bytes = 0
        # Ordered, because a dict used as a queue finds its first entry ever more slowly.
        self._waiting: OrderedDict[str, InFlight] = OrderedDict()
        self._id_prefix = secrets.token_hex(6) + "-"
        self.is_closed = False
        self._made_count = 0
        self._deadline_timer = DeadlineTimer(self._end_overdue)

    @property
    def in_flight_count(self) -> int:
        """Requests that have not ended, including those that wait for their turn."""
        return len(self._in_flight) + len(self._waiting)

    # --- the life of a request ---

    def begin(self, message: OutgoingRequest, waiter: Waiter, *, wants_response: bool) -> InFlight:
        """Accept a request; `waiter` gets its outcome. A request_id is made if it has none.

        What breaks a bound of this side fails at once: BadRequest (timeout, request_id, target, hedge, data),
        DuplicateRequestId, TooLarge.
        """
        request_id = message.request_id
        is_own_id = request_id is None
        if request_id is None:
            self._made_count += 1
            request_id = message.request_id = f"{self._id_prefix}{self._made_count}"
        try:
            if not is_own_id:
                self._check_id(request_id)
            _check(message)
            payload = self._wire.encode_request(message)
        except TaskferryError as error:
            error.delivery = NOT_DELIVERED
            refused = InFlight(request_id, b"", waiter, 0.0, 0.0, False, wants_response)
            refused.fail(error)
            return refused
        ends_s = deadline_s = time.monotonic() + message.timeout
        request = InFlight(
            request_id, payload, waiter, deadline_s, ends_s, message.idempotent, wants_response
        )
        size_bytes = len(payload)
        if self._waiting or not self._has_room_for(size_bytes):
            self._waiting[request_id] = request
        else:
            self._in_flight[request_id] = request
            self._in_flight_size_bytes += size_bytes
            if self.link is not None:
                request.number = self.link.send(payload)
                request.ends_s = ends_s = deadline_s + ANSWER_GRACE_S
            elif self.refusal is not None and not self._is_refusing:
                # Not at once: a caller that only catches and repeats would keep the loop from connecting again.
                self._is_refusing = True
                self.loop.call_soon(self._refuse_all)
        if ends_s < self._deadline_timer.at_s:
            self._deadline_timer.by(ends_s)
        return request

    def abandon(self, request: InFlight) -> None:
        """The outcome is no longer needed: drop the request, and cancel it at the broker. Harmless if it has ended."""
        request_id = request.request_id
        if self._waiting.get(request_id) is request:
            del self._waiting[request_id]
        elif self._in_flight.get(request_id) is request:
            self._remove(request)
            if request.number and self.link is not None:
                self.link.send(self._wire.encode_cancel(request_id))
            self._admit_waiting()

    def refuse(self, refusal: Refusal) -> None:
        """A broker does not accept this client: requests fail, those that wait and later ones, until `refusal` is None
        or there is a link."""
        self.refusal = refusal
        self._refuse_all()

    def send_auth(self, token: Token) -> None:
        """Renew the login."""
        if self.link is not None:
            self.link.send(self._wire.encode_auth(token))

    def close(self) -> None:
        """End every request with Cancelled, and the link."""
        requests = [*self._in_flight.values(), *self._waiting.values()]
        self._in_flight.clear()
        self._waiting.clear()
        self._in_flight_size_bytes = 0
        self._deadline_timer.close()
        self.is_closed = True
        if self.link is not None:
            self.link.close()
        for request in requests:
            may_have_run = bool(request.number) or request.may_have_run
            what = "the command may have run" if may_have_run else "it was not sent"
            error = Cancelled(f"Request cancelled: the requester was closed; {what}")
            error.delivery = MAY_HAVE_RUN if may_have_run else NOT_DELIVERED
            request.fail(error)

    # --- the link's calls ---

    def link_opened(self, link: Link) -> None:
        """There is a link: send all requests that waited for one, in order."""
        if self.is_closed:
            link.abort("closed here")  # connecting was cancelled too late to stop it
            return
        self.link = link
        self.refusal = None
        self.link_gone.clear()
        for request in tuple(self._in_flight.values()):
            self._send(request)

    def messages_received(self, payloads: list[bytes]) -> None:
        """Responses, in any order."""
        decode = self._wire.decode_response
        in_flight = self._in_flight
        for payload in payloads:
            try:
                response = decode(payload)
            except DECODE_ERRORS as error:
                self._receive_unusual(payload, error)
                continue
            request = in_flight.pop(response.request_id, None)
            if request is None:
                continue  # cancelled here, or ended by its deadline
            self._in_flight_size_bytes -= len(request.payload)
            waiter = request.waiter
            if waiter.done():
                continue
            if request.may_have_run and response.delivery == NOT_DELIVERED:
                # True of this link; over an earlier one a broker may have got it too.
                response = msgspec.structs.replace(response, delivery=MAY_HAVE_RUN)
            if request.wants_response:
                waiter.set_result(response)
            elif response.success:
                waiter.set_result(response.data)
            else:
                waiter.set_exception(
                    error_from_wire(
                        response.code or HandlerError.code,
                        response.error or HandlerError.message,
                        request_id=response.request_id,
                        processed_by=response.processed_by,
                        delivery=response.delivery,
                        queue_wait_s=response.queue_wait_s,
                        retry_after_s=response.retry_after_s,
                    )
                )
        if self._waiting:
            self._admit_waiting()
        if self.link is not None:
            # The callers just notified run in the next turn, most of them with another call. Requested now, the flush
            # comes after them in that same turn; requested by the first `send` it would take another one.
            self.group.flush_soon(self.link)

    def wrong_kind_received(self) -> None:
        """A message of the other encoding's kind cannot be a response."""
        log_event(logger, AnswerIgnored(self.public_url, "a message that is not in the encoding agreed on"))

    def link_closed(self, reason: str) -> None:
        """The link broke. What the broker may have read fails now, unless it may run twice; all else waits."""
        link, self.link = self.link, None
        self.no_link_reason = reason
        self.link_gone.set()
        if link is None:
            return
        for request in tuple(self._in_flight.values()):
            if 0 < request.number <= link.written_count:
                if not request.is_idempotent:
                    self._remove(request)
                    request.fail(ConnectionLost(f"{ConnectionLost.message} ({self.public_url}: {reason})"))
                    continue
                request.may_have_run = True
            request.number = 0
            request.ends_s = request.deadline_s
            self._deadline_timer.by(request.ends_s)
        self._admit_waiting()

    # --- inside ---

    def _check_id(self, request_id: object) -> None:
        """Raise BadRequest or DuplicateRequestId; users may pass anything."""
        if not isinstance(request_id, str) or not 1 <= len(request_id) <= REQUEST_ID_LENGTH_MAX:
            raise BadRequest(f"request_id: expected text of 1 to {REQUEST_ID_LENGTH_MAX} characters")
        if request_id in self._in_flight or request_id in self._waiting:
            raise DuplicateRequestId

    def _has_room_for(self, size_bytes: int) -> bool:
        return (
            len(self._in_flight) < self._in_flight_count_max
            and self._in_flight_size_bytes + size_bytes <= IN_FLIGHT_SIZE_BYTES_MAX
        )

    def _admit_waiting(self) -> None:
        while self._waiting:
            request = next(iter(self._waiting.values()))
            if not self._has_room_for(len(request.payload)):
                return
            if request.deadline_s <= time.monotonic():  # its turn comes too late, and just before the timer
                self._expire(request)
                continue
            del self._waiting[request.request_id]
            self._in_flight[request.request_id] = request
            self._in_flight_size_bytes += len(request.payload)
            if self.link is not None:
                self._send(request)

    def _send(self, request: InFlight) -> None:
        """Send a request that had to wait, with the rest of its budget."""
        assert self.link is not None
        budget_s = request.deadline_s - time.monotonic()
        if budget_s <= 0:
            self._expire(request)
            return
        payload = self._wire.with_timeout(request.payload, budget_s)
        self._in_flight_size_bytes += len(payload) - len(request.payload)
        request.payload = payload
        request.number = self.link.send(payload)
        request.ends_s = request.deadline_s + ANSWER_GRACE_S

    def _refuse_all(self) -> None:
        """End every request, none of which can be sent, unless there is a link after all."""
        self._is_refusing = False
        if self.refusal is None:
            return
        requests = [*self._in_flight.values(), *self._waiting.values()]
        self._in_flight.clear()
        self._waiting.clear()
        self._in_flight_size_bytes = 0
        for request in requests:
            error = self.refusal.error()
            if request.may_have_run:  # over an earlier link
                error.delivery = MAY_HAVE_RUN
            request.fail(error)

    def _remove(self, request: InFlight) -> None:
        del self._in_flight[request.request_id]
        self._in_flight_size_bytes -= len(request.payload)

    def _receive_unusual(self, payload: bytes, error: Exception) -> None:
        """A message that is not a response to a request, or one whose data cannot be held."""
        try:
            control = self._wire.decode_control(payload)
        except DECODE_ERRORS:
            control = None
        if control is not None:
            if not isinstance(control, Pong):
                self.about_login(control)
            return
        try:
            outcome = self._wire.decode_outcome(payload)
        except DECODE_ERRORS:
            reason = without_quoted(describe(error, self.encoding))
            log_event(logger, AnswerIgnored(self.public_url, f"something that is not a response: {reason}"))
            return
        request = self._in_flight.get(outcome.request_id or "")
        if request is not None:
            self._remove(request)
            text = f"result: cannot be read: {describe(error, self.encoding)}"
            request.fail(NotRepresentable(text, processed_by=outcome.processed_by))
        elif outcome.request_id is None and outcome.error is not None:
            reason = without_quoted(outcome.error)
            log_event(logger, MessageRefused(self.public_url, outcome.code or "", reason))

    def _end_overdue(self, now_s: float) -> tuple[int, float]:
        """End what is overdue; called by the deadline timer."""
        requests = (*self._in_flight.values(), *self._waiting.values())
        next_s = math.inf
        for request in requests:
            if request.ends_s <= now_s:
                self._expire(request)
            elif request.ends_s < next_s:
                next_s = request.ends_s
        self._admit_waiting()
        return len(requests), next_s

    def _expire(self, request: InFlight) -> None:
        """End a request whose time is up, with what is known of it."""
        if self._waiting.pop(request.request_id, None) is not None:
            count = len(self._in_flight)
            overloaded = Overloaded(f"Not sent in time: {count} requests are in flight on this connection")
            overloaded.delivery = NOT_DELIVERED
            request.fail(overloaded)
            return
        self._remove(request)
        if request.number:
            error = WorkerTimeout(
                f"{WorkerTimeout.message}, and no answer from the broker at {self.public_url}"
            )
            error.delivery = MAY_HAVE_RUN  # what the link still holds may still be sent
            request.fail(error)
        elif request.may_have_run:
            request.fail(
                ConnectionLost(f"{ConnectionLost.message} ({self.public_url}: {self.no_link_reason})")
            )
        else:
            request.fail(
                CannotConnect(f"{CannotConnect.message} at {self.public_url} in time: {self.no_link_reason}")
            )


def _check(message: OutgoingRequest) -> None:
    """Raise BadRequest if its timeout, target or hedge breaks a bound; users may pass anything."""
    timeout_s: object = message.timeout
    if not isinstance(timeout_s, (int, float)) or not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise BadRequest(
            f"timeout: {timeout_s!r} is not a number of seconds over 0 and at most {TIMEOUT_S_MAX:g}"
        )
    if message.target is not None or message.hedge is not None:
        check_routing(message)
