"""All requests in flight of one client, and how each of them ends, exactly once and never late.

A request is admitted (bounds), written (now, or as soon as there is a link), answered, cancelled, or ended by its
deadline; when the link breaks or the broker stops, it fails if it may have run, and is sent again otherwise. Questions
(question.py) live the same life; only their answers differ. Links are opened in connection.py; what is kept of a
request is in in_flight.py.
"""

import asyncio
import logging
import math
import random
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from ..configuration.url import without_secrets
from ..credentials.token import Token
from ..log.event import log_event, without_quoted
from ..program.device import device_facts
from ..program.own_messages import MessageHandlers
from ..protocol.codec import DECODE_ERRORS, describe
from ..protocol.encodings import Encoding
from ..protocol.errors import (
    MAY_HAVE_RUN,
    NOT_DELIVERED,
    BadRequest,
    BrokerStopped,
    Cancelled,
    CannotConnect,
    DuplicateRequestId,
    NotRepresentable,
    ShuttingDown,
    TaskferryError,
)
from ..protocol.job_messages import Ack, Greeted, Greeting, JobAssigned, JobEnded, Receipt
from ..protocol.limits import REQUEST_ID_LENGTH_MAX
from ..protocol.messages import Expiring, LoggedIn, Pong
from ..protocol.stream_messages import Reset
from ..transport.connect import BLOCKED
from ..transport.group import LinkGroup
from ..transport.link import Link
from .answers import Answer, Chunk, Fault, ItemAnswer, OwnMessage, Progress, Streamed
from .client_arguments import Arguments
from .deadline_timer import DeadlineTimer
from .endings import crowded_out, lost, overdue
from .events import AnswerIgnored, MessageRefused
from .in_flight import InFlight, Line, Waiter
from .inlet import Inlet
from .jobs.feed import Feeds
from .jobs.inbox import Inbox
from .publishing import error_of
from .question import IfLost, Question
from .refusal import Refusal
from .response import Response, kept_response, response_error
from .retries import is_refused_for_now, wait_s
from .wire import WIRES, OutgoingRequest, check

logger = logging.getLogger(__name__)

ANSWER_GRACE_S: Final = 0.5
"""How long after its deadline a request that was sent still waits: the broker responds at the deadline, naming the
worker that was late, and that response takes a while to get here. No call takes longer than its timeout plus this."""

IN_FLIGHT_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes of all requests in flight together. Half of what a link may hold for a broker that reads slowly, so that a
burst of large requests waits here instead of breaking the link."""

FOLLOWED_COUNT_MAX: Final = 10_000
"""Jobs whose ends are awaited at once over one connection; later ones wait in order. A line of its own: a job may take
days, and live requests must not wait for it."""

FOLLOWED_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of what awaits them: more than the longest ids take."""

WORKER_PORT: Final = "that is the port of workers; requesters connect to another one, by default 8766"


class Exchange:
    """The requests of one client. A link's receiver; all calls come from one event loop.

    Made inside the running loop, for the broker at `url`. At most `in_flight_count_max` requests, and
    IN_FLIGHT_SIZE_BYTES_MAX bytes of them, are in flight; later ones wait in order, within their deadlines.
    """

    __slots__ = (
        "_deadline_timer",
        "_followed",
        "_has_streams",
        "_id_prefix",
        "_is_refusing",
        "_lines",
        "_made_count",
        "_requests",
        "_retries_count_max",
        "_wire",
        "about_login",
        "encoding",
        "feeds",
        "greeting",
        "greeting_id",
        "group",
        "handlers",
        "inbox",
        "is_closed",
        "link",
        "link_gone",
        "loop",
        "no_link_reason",
        "public_url",
        "refusal",
        "url",
    )

    def __init__(
        self, url: str, encoding: Encoding, in_flight_count_max: int, retries_count_max: int = 0
    ) -> None:
        self._retries_count_max = retries_count_max
        self.url = url
        self.public_url = without_secrets(url)
        """The URL as it is logged."""
        self.encoding = encoding
        self.group = LinkGroup()
        self.link: Link | None = None
        self.link_gone = asyncio.Event()
        self.link_gone.set()
        self.no_link_reason = f"still connecting; {BLOCKED}"
        self.refusal: Refusal | None = None
        """Why requests fail at once: a broker does not accept this client."""
        self._is_refusing = False
        self._has_streams = False
        """There has been a request whose chunks are wanted."""
        self.about_login: Callable[[LoggedIn | Expiring], None] = lambda message: None
        """Called with what the broker says of this client's login."""
        self.feeds = Feeds()
        self.inbox: Inbox | None = None
        """Of a client that has a name."""
        self.greeting: Greeting | None = None
        """What is sent first over each link, under `greeting_id`, if anything is."""
        self._wire = WIRES[encoding]
        self.loop = asyncio.get_running_loop()
        self._requests = Line(in_flight_count_max, IN_FLIGHT_SIZE_BYTES_MAX)
        self._followed = Line(FOLLOWED_COUNT_MAX, FOLLOWED_SIZE_BYTES_MAX)
        self._lines = (self._requests, self._followed)
        self._id_prefix = secrets.token_hex(6) + "-"
        self.greeting_id = f"{self._id_prefix}hello"
        self.handlers = MessageHandlers()
        self.is_closed = False
        self._made_count = 0
        self._deadline_timer = DeadlineTimer(self._end_overdue)

    @property
    def in_flight_count(self) -> int:
        """Requests that have not ended, including those that wait for their turn."""
        return len(self._requests) + len(self._followed)

    # --- the life of a request ---

    def begin(self, message: OutgoingRequest, waiter: Waiter, *, wants_response: bool) -> InFlight:
        """Accept a request; `waiter` gets its outcome. A request_id is made if it has none.

        What breaks a bound of this side fails at once: BadRequest, which names the field; DuplicateRequestId; TooLarge.
        """
        request_id = message.request_id
        is_own_id = request_id is None
        if request_id is None:
            self._made_count += 1
            request_id = message.request_id = f"{self._id_prefix}{self._made_count}"
        try:
            if not is_own_id:
                self._check_id(request_id)
            check(message)
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
        if self._requests.add(request):
            if self.link is not None:
                request.number = self.link.send(payload)
                request.ends_s = ends_s = deadline_s + ANSWER_GRACE_S
            elif self.refusal is not None:
                self._refuse_soon()
        if ends_s < self._deadline_timer.at_s:
            self._deadline_timer.by(ends_s)
        return request

    def begin_stream(self, message: OutgoingRequest, inlet: Inlet) -> None:
        """Accept a request of which `inlet` gets all that comes, and last the response. Fails as others do."""
        self._has_streams = True
        inlet.grant = lambda attempt, sequence: self._grant(inlet, attempt, sequence)
        inlet.request = self.begin(message, inlet, wants_response=True)

    def ask(self, question: Question, waiter: Waiter) -> InFlight:
        """Ask a question; `waiter` gets the message that answers it, or what `await` of a job gives: the job's result.

        What breaks a bound of this side fails at once: BadRequest, TooLarge.
        """
        self._made_count += 1
        request_id = question.message.request_id = f"{self._id_prefix}{self._made_count}"
        is_idempotent = question.if_lost is IfLost.ASK_AGAIN
        deadline_s = time.monotonic() + question.timeout_s
        request = InFlight(
            request_id, b"", waiter, deadline_s, deadline_s, is_idempotent, False, question=question
        )
        try:
            request.payload = self._wire.encode_question(question.message)
        except TaskferryError as error:
            error.delivery = NOT_DELIVERED
            request.fail(error)
            return request
        if self._line_of(request).add(request):
            if self.link is not None:
                request.number = self.link.send(request.payload)
                request.ends_s = deadline_s + ANSWER_GRACE_S
            elif self.refusal is not None:
                self._refuse_soon()
        self._deadline_timer.by(request.ends_s)
        return request

    def acknowledge(self, number: int) -> None:
        """The messages of the inbox up to this one have been dealt with. Without a link they will come again."""
        if self.link is not None:
            self.link.send(self._wire.encode_question(Ack(number)))

    def abandon(self, request: InFlight) -> None:
        """The outcome is no longer needed: drop the request, and cancel it at the broker. Harmless if it has ended.

        A question is not taken back: the broker may have done what it asks. Only that the end of a job is awaited is.
        """
        request_id = request.request_id
        line = self._line_of(request)
        if line.waiting.get(request_id) is request:
            del line.waiting[request_id]
        elif line.in_flight.get(request_id) is request:
            line.remove(request)
            is_cancelled = request.question is None or request.question.waits_for_job
            if request.number and self.link is not None and is_cancelled:
                self.link.send(self._wire.encode_cancel(request_id))
            self._admit_waiting(line)

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
        requests = [request for line in self._lines for request in line.clear()]
        self._deadline_timer.close()
        self.handlers.close()
        self.is_closed = True
        if self.link is not None:
            self.link.close()
        closed = Cancelled("the requester was closed")
        self.feeds.failed(closed)
        if self.inbox is not None:
            self.inbox.failed(closed)
        for request in requests:
            what = request.what_may_be if request.was_sent else "it was not sent"
            error = Cancelled(f"Request cancelled: the requester was closed; {what}")
            error.delivery = MAY_HAVE_RUN if request.was_sent else NOT_DELIVERED
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
        if self.inbox is not None:
            self.inbox.link_opened()
        if self.greeting is not None:  # first, so that the broker knows whose jobs come next
            link.send(self._wire.encode_question(self.greeting))
        for line in self._lines:
            for request in tuple(line.in_flight.values()):
                self._send(request)

    def messages_received(self, payloads: list[bytes]) -> None:
        """Responses, in any order."""
        decode = self._wire.decode_response
        requests = self._requests
        in_flight = requests.in_flight
        for payload in payloads:
            if self._has_streams and payload.startswith(self._wire.chunk_start):
                self._receive_chunk(payload)
                continue
            try:
                response = decode(payload)
            except DECODE_ERRORS as error:
                self._receive_unusual(payload, error)
                continue
            request = in_flight.pop(response.request_id, None)
            if request is not None:
                requests.size_bytes -= len(request.payload)
            elif (request := self._followed.in_flight.get(response.request_id)) is not None:
                self._followed.remove(request)
            elif response.request_id != self.greeting_id:
                continue  # cancelled here, or ended by its deadline
            else:
                self._greeting_failed(response)
                continue
            waiter = request.waiter
            if waiter.done():
                continue
            if response.success:
                waiter.set_result(response if request.wants_response else response.data)
            elif not self._outlives_broker(request, response.code) and not self._retries(request, response):
                self._failed(request, response)
        for line in self._lines:
            if line.waiting:
                self._admit_waiting(line)
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
        for line in self._lines:
            for request in tuple(line.in_flight.values()):
                if 0 < request.number <= link.written_count:
                    if not request.is_idempotent:
                        line.remove(request)
                        request.fail(lost(request, self.public_url, reason))
                        continue
                    request.may_have_run = True
                request.is_left = False
                request.number = 0
                request.ends_s = request.deadline_s
                self._deadline_timer.by(request.ends_s)
            self._admit_waiting(line)
        self.feeds.link_lost()
        if self.refusal is not None:  # there will be no other link
            self._refuse_soon()

    # --- inside ---

    def _check_id(self, request_id: object) -> None:
        """Raise BadRequest or DuplicateRequestId; users may pass anything."""
        if not isinstance(request_id, str) or not 1 <= len(request_id) <= REQUEST_ID_LENGTH_MAX:
            raise BadRequest(f"request_id: expected text of 1 to {REQUEST_ID_LENGTH_MAX} characters")
        if request_id in self._requests or request_id in self._followed:
            raise DuplicateRequestId

    def _line_of(self, request: InFlight) -> Line:
        is_followed = request.question is not None and request.question.waits_for_job
        return self._followed if is_followed else self._requests

    def _admit_waiting(self, line: Line) -> None:
        while (request := line.admit_next()) is not None:
            if request.deadline_s <= time.monotonic():  # its turn comes too late, and just before the timer
                line.remove(request)
                request.fail(crowded_out(line))
            elif self.link is not None:
                self._send(request)

    def _send(self, request: InFlight) -> None:
        """Send a request that had to wait, with the rest of its budget."""
        assert self.link is not None
        budget_s = request.deadline_s - time.monotonic()
        if budget_s <= 0:
            self._expire(request)
            return
        if request.question is None:
            payload = self._wire.with_timeout(request.payload, budget_s)
            self._requests.size_bytes += len(payload) - len(request.payload)
            request.payload = payload
        if isinstance(request.waiter, Inlet):
            request.waiter.sent()
        request.number = self.link.send(request.payload)
        request.ends_s = request.deadline_s + ANSWER_GRACE_S

    def _failed(self, request: InFlight, response: Response) -> None:
        if request.may_have_run and response.delivery == NOT_DELIVERED:
            # True of this link; over an earlier one a broker may have got it too.
            response = msgspec.structs.replace(response, delivery=MAY_HAVE_RUN)
        if request.wants_response:
            request.waiter.set_result(response)
        else:
            request.waiter.set_exception(response_error(response))

    def _outlives_broker(self, request: InFlight, code: str | None) -> bool:
        """Whether a request failed only because its broker is going away. Then it waits, within its deadline, for the
        one that comes after: it has not run, or it may run twice."""
        may_have_run = code == BrokerStopped.code
        is_kept = code == ShuttingDown.code or (may_have_run and request.is_idempotent)
        if not is_kept or request.question is not None or self.is_closed:
            return False
        request.may_have_run |= may_have_run
        request.is_left = True
        request.number = 0
        request.ends_s = request.deadline_s
        self._requests.put_back(request)
        self._deadline_timer.by(request.ends_s)
        return True

    def _retries(self, request: InFlight, response: Response) -> bool:
        """Whether a request that the broker refuses for now is sent again later, within its deadline. Until then it
        keeps its place among those in flight, which slows down a caller that sends too much."""
        if request.retries_count >= self._retries_count_max or not is_refused_for_now(response):
            return False
        delay_s = wait_s(response.retry_after_s, request.retries_count, random.random)
        if self.is_closed or time.monotonic() + delay_s >= request.deadline_s:
            return False
        request.retries_count += 1
        request.number = 0
        request.ends_s = request.deadline_s
        self._line_of(request).put_back(request)
        self._deadline_timer.by(request.ends_s)
        self.loop.call_later(delay_s, self._send_again, request)
        return True

    def _send_again(self, request: InFlight) -> None:
        is_due = self._line_of(request).in_flight.get(request.request_id) is request and not request.number
        if is_due and self.link is not None:  # else it is sent over the next link, was sent, or has ended
            self._send(request)

    def _refuse_soon(self) -> None:
        """Not at once: a caller that only catches and repeats would keep the loop from connecting again."""
        if not self._is_refusing:
            self._is_refusing = True
            self.loop.call_soon(self._refuse_all)

    def _refuse_all(self) -> None:
        """End every request, none of which can be sent, unless there is a link after all."""
        self._is_refusing = False
        if self.refusal is None:
            return
        if self.inbox is not None:
            self.inbox.failed(self.refusal.error())
        for request in [request for line in self._lines for request in line.clear()]:
            error = self.refusal.error()
            if request.may_have_run:  # over an earlier link
                error.delivery = MAY_HAVE_RUN
            request.fail(error)

    def _receive_unusual(self, payload: bytes, error: Exception) -> None:
        """A message that is not a response to a request, or one whose data cannot be held."""
        try:
            message = self._wire.decode_unusual(payload)
        except DECODE_ERRORS:
            self._receive_unreadable(payload, error)
            return
        match message:
            case Pong():
                pass
            case LoggedIn() | Expiring():
                self.about_login(message)
            case JobEnded() if message.number is not None:
                if self.inbox is not None:
                    self.inbox.received(message)
            case JobAssigned() | JobEnded():
                self.feeds.received(message)
            case OwnMessage():
                self.handlers.received(message.kind, message.data, message.sender)
            case Progress() | Chunk() | ItemAnswer() | Reset():
                self._receive_streamed(message, len(payload))
            case Greeted():
                pass
            case Fault() if message.fault is None:
                self._wrong_port()
            case _:
                self._receive_answer(message)

    def _receive_chunk(self, payload: bytes) -> None:
        try:
            message = self._wire.decode_chunk(payload)
        except DECODE_ERRORS as error:
            self._receive_unreadable(payload, error)
        else:
            self._receive_streamed(message, len(payload))

    def _receive_streamed(self, message: Streamed, size_bytes: int) -> None:
        """Something comes of a request before its response, or of a job that is followed."""
        if isinstance(message, Progress | Chunk) and message.job_id is not None:
            self.feeds.received(message, size_bytes)
            return
        request = self._requests.in_flight.get(message.request_id or "")
        inlet = None if request is None else request.waiter
        if not isinstance(inlet, Inlet) or inlet.done():
            return  # no longer needed
        match message:
            case Chunk() | ItemAnswer():
                inlet.chunk(message, size_bytes)
            case Progress():
                inlet.progress(message.attempt, message.data)
            case Reset():
                inlet.reset(message.attempt)

    def _grant(self, inlet: Inlet, attempt: int, sequence: int) -> None:
        """The chunks of a request up to this one were taken."""
        request = inlet.request
        if request is not None and request.number and self.link is not None:
            self.link.send(self._wire.encode_credit(request.request_id, sequence, attempt))

    def _wrong_port(self) -> None:
        """A broker's worker port answers: nothing can be sent there."""
        self.refuse(Refusal(CannotConnect, self.public_url, WORKER_PORT, 0.0))
        if self.link is not None:
            self.link.abort(WORKER_PORT)

    def _greeting_failed(self, response: Response) -> None:
        if self.inbox is not None:
            self.inbox.failed(response_error(response))

    def _receive_answer(self, answer: Answer | Fault) -> None:
        request = self._requests.in_flight.get(answer.request_id or "")
        if request is None:
            return  # no longer needed
        self._requests.remove(request)
        if request.waiter.done():
            return
        if isinstance(answer, Fault) and answer.fault is not None:
            request.fail(error_of(answer.fault))
        elif request.wants_response and isinstance(answer, Receipt):
            request.waiter.set_result(kept_response(request.request_id, answer.job_id))
        else:
            request.waiter.set_result(answer)

    def _receive_unreadable(self, payload: bytes, error: Exception) -> None:
        try:
            outcome = self._wire.decode_outcome(payload)
        except DECODE_ERRORS:
            reason = without_quoted(describe(error, self.encoding))
            log_event(logger, AnswerIgnored(self.public_url, f"something that is not a response: {reason}"))
            return
        for line in self._lines:
            request = line.in_flight.get(outcome.request_id or "")
            if request is not None:
                line.remove(request)
                text = f"result: cannot be read: {describe(error, self.encoding)}"
                request.fail(NotRepresentable(text, processed_by=outcome.processed_by))
                return
        if outcome.request_id is None and outcome.error is not None:
            reason = without_quoted(outcome.error)
            log_event(logger, MessageRefused(self.public_url, outcome.code or "", reason))

    def _end_overdue(self, now_s: float) -> tuple[int, float]:
        """End what is overdue; called by the deadline timer."""
        next_s = math.inf
        count = 0
        for line in self._lines:
            requests = line.requests()
            count += len(requests)
            for request in requests:
                if request.ends_s <= now_s:
                    self._expire(request)
                elif request.ends_s < next_s:
                    next_s = request.ends_s
            self._admit_waiting(line)
        return count, next_s

    def _expire(self, request: InFlight) -> None:
        """End a request whose time is up, with what is known of it."""
        line = self._line_of(request)
        if line.waiting.pop(request.request_id, None) is not None:
            request.fail(crowded_out(line))
            return
        line.remove(request)
        request.fail(overdue(request, self.public_url, self.no_link_reason, has_link=self.link is not None))


def exchange_for(arguments: Arguments) -> Exchange:
    """The exchange of a requester that was made with these arguments. Call it inside the running loop."""
    exchange = Exchange(arguments.url, arguments.encoding, arguments.in_flight_count_max, arguments.retries)
    exchange.handlers = arguments.handlers
    if arguments.client_id is not None:
        exchange.inbox = Inbox()
    if arguments.client_id is not None or arguments.device is not None:
        facts = device_facts(arguments.device or {})
        exchange.greeting = Greeting(arguments.client_id, exchange.greeting_id, facts)
    return exchange
