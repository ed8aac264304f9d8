"""One worker's connection: turns frames into calls of the core, and the core's assignments into frames.

Knows the wire of the worker port; knows neither why a worker was picked nor what becomes of a response.
"""

import logging
import time
import uuid
from typing import Final, NamedTuple

from msgspec import UNSET, Raw, UnsetType

from ..log.event import log_event, without_quoted
from ..protocol import errors, limits, messages
from ..protocol.close_codes import POLICY_VIOLATION, RIGHT_LOST
from ..protocol.codec import CODECS, DECODE_ERRORS, Codec, describe
from ..protocol.encodings import Encoding
from ..protocol.errors import TaskferryError
from ..protocol.frequent import FrequentMessages
from ..protocol.gather_messages import Custom
from ..protocol.large import LARGE_FROM_WORKER_DECODERS, LARGE_SIZE_BYTES
from ..protocol.messages import AssignmentMessage, AttemptOf, Call, Settled, WorkerResponse
from ..protocol.stream_messages import Taken, WorkerChunk, WorkerCredit
from ..protocol.topic_messages import WorkerPublish
from ..protocol.transcode import transcode
from ..transport.group import SLOW_READER
from ..transport.link import PARTS_SIZE_BYTES_MIN, Link
from . import events
from .core.adopted import Adopted
from .core.core import Core
from .core.delivery.delivery import EPOCH_END
from .core.failure import Failure
from .core.fleet.worker import Worker
from .core.offer import Offer
from .core.ports import CancelReason
from .core.request import Request
from .core_timer import CoreTimer
from .entrant import Entrant
from .fault_run import TOO_MANY_FAULTS, FaultRun
from .session_context import SessionContext
from .topic_requests import EVENT, check
from .topic_sources import own_data
from .topics.sources import Source
from .worker_offer import contradiction_in, offer_of

logger = logging.getLogger(__name__)

CANARY_REQUEST_ID: Final = "canary"
"""Takes the place of the requester's request_id in a canary's assignment."""


NEVER_LIMITED: Final = (messages.WorkerConnect, messages.WorkerAuth, messages.Disconnect)
"""Messages that are taken at any rate: a worker that may not send them could not work, or leave. So are responses, and
chunks, which wait for credit."""

FIRST_MESSAGE: Final = "type: the first message of a worker must be connect"
REQUESTERS: Final = "requesters connect to another port, by default 8766"

COMMANDS_NAMED_COUNT_MAX: Final = 10
"""Forbidden commands that are named to a worker, and in the log: there may be a thousand, and it knows which it
wanted."""


class Joining(NamedTuple):
    """A worker that has said `connect`, while its claims are being judged. `failures`: why it may not serve some of its
    commands."""

    worker_id: str
    offer: Offer
    hello: messages.Hello
    payload: bytes
    failures: list[Failure]


class WorkerSession:
    """Receives from one link, and is the core's port to it. `worker` is None until the worker has said `connect`."""

    __slots__ = (
        "_codec",
        "_connect_by",
        "_context",
        "_core",
        "_data_size_bytes_max",
        "_decode_large",
        "_entrant",
        "_faults",
        "_frequent",
        "_hello_msg_id",
        "_is_over",
        "_is_silent",
        "_joining",
        "_over",
        "_sessions",
        "_timer",
        "encoding",
        "link",
        "worker",
    )

    link: Link
    _codec: Codec
    _frequent: FrequentMessages
    encoding: Encoding

    def __init__(
        self, context: SessionContext, sessions: dict["WorkerSession", None], entrant: Entrant
    ) -> None:
        """`sessions`: those of its port, to which it belongs while its link is open. `entrant`: whose they are."""
        self._entrant = entrant
        self._context = context
        self._sessions = sessions
        self._core: Core = context.core
        self._timer: CoreTimer = context.timer
        self._data_size_bytes_max = context.data_size_bytes_max
        self._connect_by = 0.0
        self._faults = FaultRun()
        self._hello_msg_id: str | None = None
        self._is_over = False
        """The worker was refused or replaced, or its login has ended: what still arrives before its link closes is
        ignored."""
        self._is_silent = False
        self._joining: Joining | None = None
        self._over: list[str] = []
        """Of the attempts that it claimed, those that do not go on."""
        self.worker: Worker | None = None

    # --- from the link ---

    def link_opened(self, link: Link) -> None:
        self.link = link
        self.encoding = link.encoding
        self._codec = CODECS[link.encoding]
        self._decode_large = LARGE_FROM_WORKER_DECODERS[link.encoding]
        self._frequent = self._context.frequent[link.encoding]
        self._connect_by = time.monotonic() + limits.HANDSHAKE_S_MAX
        self._sessions[self] = None
        self._entrant.opened(self, link)

    def messages_received(self, payloads: list[bytes]) -> None:
        now = time.monotonic()
        decode = self._codec.from_worker
        decode_large = self._decode_large
        core = self._core
        worker = self.worker
        for payload in payloads:
            try:
                message = decode(payload) if len(payload) < LARGE_SIZE_BYTES else decode_large(payload)
            except DECODE_ERRORS as error:
                if self._is_over:
                    return
                if worker is None and self._is_of_a_requester(payload):
                    self._refuse(errors.BadMessage(f"{FIRST_MESSAGE}; {REQUESTERS}"), payload)
                    return
                self._complain_of_fault(describe(error, self.encoding), payload)
                if self._is_over:
                    return
                continue
            if type(message) is WorkerResponse and worker is not None:
                msg_id, result = message.msg_id, message.data
                if not result.success:
                    is_known = core.failed(worker, msg_id, result.error, result.code, now, result.retry)
                elif len(payload) > self._data_size_bytes_max:
                    is_known = self._large_result(worker, msg_id, result.result, now)
                else:
                    is_known = core.succeeded(worker, msg_id, result.result, now)
                if not is_known:
                    self._unknown_answered(msg_id, payload)
            elif type(message) is WorkerChunk and worker is not None:
                self._chunk(worker, message, payload, now)
            else:
                self._control(message, payload, now)
                worker = self.worker

    def wrong_kind_received(self) -> None:
        kind = "text" if self.encoding is Encoding.JSON else "binary"
        if not self._is_over:
            self._complain_of_fault(f"message: {self.encoding.subprotocol} takes {kind} frames only", b"")

    def link_closed(self, reason: str) -> None:
        del self._sessions[self]
        if reason.startswith(SLOW_READER):
            log_event(logger, events.SlowReaderClosed("worker", self.link.peer, reason))
        self._leave(reason)
        self._entrant.left()

    # --- from the core ---

    @property
    def written_count(self) -> int:
        return self.link.written_count

    def welcome(self, worker_id: str) -> None:
        welcome = messages.Welcome(
            worker_id,
            message_size_bytes_max=self._context.message_size_bytes_max,
            broker=self._context.broker,
        )
        self.link.send(self._codec.encode(messages.Connected(welcome, self._hello_msg_id, time.time())))
        for msg_id in self._over:  # before anything is assigned: until then they take slots
            self.settled(msg_id)

    def assign(self, msg_id: str, request: Request, timeout_s: float) -> int:
        asked = request.call
        data = asked.data
        source = request.requester.port.encoding
        if source is not self.encoding:
            data = transcode(data, source, self.encoding)
            if len(data) > self._data_size_bytes_max:
                what = f"data as {self.encoding.value}"
                raise errors.TooLarge(errors.size_fault(what, len(data), self._data_size_bytes_max))
        name, request_id, trace, attempt = asked.command, asked.request_id, asked.trace, asked.attempt
        if trace is not None or attempt is not None or asked.stream:
            job = None if attempt is None else AttemptOf(attempt.job_id, attempt.number, attempt.is_last)
            call = Call(name, data, timeout_s, request_id, trace, job, asked.stream)
            return self.link.send(self._codec.encode(AssignmentMessage(msg_id, time.time(), call)))
        if len(data) < PARTS_SIZE_BYTES_MIN:
            return self.link.send(
                self._frequent.assignment(msg_id, time.time(), name, data, timeout_s, request_id)
            )
        head, tail = self._frequent.around_params(msg_id, time.time(), name, timeout_s, request_id)
        return self.link.send_parts(head, data, tail)

    def canary(self, msg_id: str, command: str, timeout_s: float) -> int:
        call = Call(command, self._codec.empty_data, timeout_s, CANARY_REQUEST_ID)
        return self.link.send(self._codec.encode(AssignmentMessage(msg_id, time.time(), call)))

    def cancel(self, msg_id: str, reason: CancelReason) -> None:
        message = messages.CancelAssignment(msg_id, messages.Reason(reason), time.time())
        self.link.send(self._codec.encode(message))

    def credit(self, msg_id: str, sequence: int) -> None:
        self.link.send(self._codec.encode(WorkerCredit(msg_id, Taken(sequence), time.time())))

    def replaced(self) -> None:
        self.worker = None
        self._is_over = True
        self.link.abort("the same worker has connected again")

    # --- from other connections ---

    def deliver(self, payload: bytes) -> None:
        """Send a message of the user's own."""
        if self.worker is not None:
            self.link.send(payload)

    # --- from the broker ---

    def settled(self, msg_id: str) -> None:
        """Tell the worker that this attempt is over."""
        self.link.send(self._codec.encode(Settled(msg_id, time.time())))

    def check(self, now: float) -> None:
        """Refuse a worker that does not say `connect`; notify the core if the link has fallen silent, or is heard from
        again. To be called twice a second, after the link's own check."""
        worker = self.worker
        if worker is None:
            if now >= self._connect_by and not self._is_over and self._joining is None:
                text = f"connect: not sent within {limits.HANDSHAKE_S_MAX:g} s"
                self._refuse(errors.BadMessage(text), b"")
            return
        if self._is_silent is self.link.is_silent:
            return
        self._is_silent = self.link.is_silent
        if self._is_silent:
            self._core.worker_silent(worker, now)
        else:
            self._core.worker_heard(worker, now)

    def say_goodbye(self, reason: str) -> None:
        """Send `disconnect`, because the broker goes away, and close."""
        self.link.send(
            self._codec.encode(messages.Disconnect(messages.Reason(reason), timestamp=time.time()))
        )
        self.link.close(1012, reason)

    def login_expires(self, expires_in_s: float) -> None:
        message = messages.WorkerExpiring(messages.Expiry(expires_in_s), time.time())
        self.link.send(self._codec.encode(message))

    def login_ends(self) -> None:
        if self.worker is not None:
            self._leaving(self.worker, time.monotonic())

    def login_ended(self, code: int, reason: str) -> None:
        self._is_over = True
        desk, worker = self._context.desk, self.worker
        if desk is not None and worker is not None:
            desk.jobs.worker_leaving(worker.worker_id)
        self._leave(reason)
        self.link.close(code, reason)

    # --- inside ---

    def _leave(self, reason: str) -> None:
        """The worker, if it has joined, is gone, for `reason`."""
        self._joining = None
        worker, self.worker = self.worker, None
        if worker is not None:
            log_event(logger, events.WorkerLeft(worker.worker_id, self.link.peer, reason))
            self._core.worker_left(worker, time.monotonic())
            self._context.observer.worker_left(worker.worker_id, reason)
            if self._context.desk is not None:
                self._context.desk.worker_left(worker.worker_id)

    @property
    def _who(self) -> str:
        return self.link.peer if self.worker is None else self.worker.worker_id

    def _control(  # noqa: C901  a case for each message
        self, message: messages.FromWorker, payload: bytes, now: float
    ) -> None:
        if self._is_over:
            return
        worker = self.worker
        if self._joining is not None:
            self._joining_said(message, payload)
            return
        if worker is None and not isinstance(message, messages.WorkerConnect):
            self._refuse(errors.BadMessage(FIRST_MESSAGE), payload)
            return
        usage = self._entrant.gate.usage
        if usage.is_metered and not isinstance(message, NEVER_LIMITED):
            limited = usage.spend(len(payload), now)
            if limited is not None:
                self._complain(_rate_limited(limited), payload)
                return
        match message:
            case messages.WorkerConnect():
                self._connect(message, payload, now)
            case messages.Heartbeat():
                self._answer_heartbeat(message)
            case messages.Disconnect():
                assert worker is not None
                log_event(logger, events.WorkerLeaving(worker.worker_id, message.data.reason or ""))
                self._leaving(worker, now)
                self.link.send(
                    self._codec.encode(messages.Disconnect(msg_id=message.msg_id, timestamp=time.time()))
                )
            case messages.ErrorMessage():
                code = message.data.code if message.data.code in errors.REGISTRY else "other"
                log_event(logger, events.WorkerComplained(self._who, code))
            case messages.WorkerAuth():
                self._renew(message)
            case messages.Notification():
                self._report(message, payload)
            case WorkerPublish():
                self._publish(message, payload)
            case Custom():
                assert worker is not None
                self._send_on(worker, message, payload)
            case messages.WorkerResponse() | WorkerChunk():
                raise AssertionError("those of a registered worker are not handled here")

    def _connect(self, message: messages.WorkerConnect, payload: bytes, now: float) -> None:
        if self.worker is not None:
            self._complain(errors.BadMessage("type: connect was sent already on this connection"), payload)
            return
        hello = message.data
        fault = contradiction_in(hello) or self._entrant.describe_device(hello.device)
        if fault is not None:
            self._complain(errors.BadMessage(f"data.{fault}"), payload)
            return
        self._hello_msg_id = message.msg_id
        worker_id = hello.name or f"worker-{uuid.uuid4().hex[:8]}"
        gate = self._entrant.gate
        failures = gate.serve(hello.commands)
        if not gate.served:
            self._refuse(errors.Forbidden(failures[0].text), payload, worker_id, RIGHT_LOST)
            return
        offer = offer_of(hello, gate.served)
        try:
            self._core.check_worker_id(worker_id, offer, gate.identity.name)
        except errors.WorkerIdTaken as error:
            self._refuse(error, payload, worker_id)
            return
        new_count = self._core.new_commands_count(gate.served)
        limited = gate.usage.declare(len(gate.served), new_count, now)
        if limited is not None:
            self._refuse(_rate_limited(limited, "data.commands: "), payload, worker_id)
            return
        joining = Joining(worker_id, offer, hello, payload, failures)
        desk = self._context.desk
        if desk is None:
            self._join(joining, [], now)
            return
        self._joining = joining

        def judged(adopted: list[Adopted]) -> None:
            if self._joining is joining:
                self._join(joining, adopted, time.monotonic())
            else:
                desk.not_adopted(adopted, worker_id)

        adopted = desk.jobs.claim(worker_id, offer, hello.running, judged, desk.now())
        if adopted is not None:
            judged(adopted)

    def _join(self, joining: Joining, adopted: list[Adopted], now: float) -> None:
        """Its claims have been judged: it goes on with what is adopted, and is told that all else is over."""
        worker_id, offer, hello, payload, failures = joining
        gate, desk = self._entrant.gate, self._context.desk
        self._joining = None
        kept = {attempt.msg_id for attempt in adopted}
        self._over = [claim.msg_id for claim in hello.running if claim.msg_id not in kept]
        try:
            self.worker = self._core.worker_joined(worker_id, offer, self, gate.identity.name, now, adopted)
        except errors.WorkerIdTaken as error:  # while its claims were being judged
            if desk is not None:
                desk.not_adopted(adopted, worker_id)
            self._refuse(error, payload, worker_id)
            return
        self._entrant.worker_id = worker_id
        if desk is not None:
            defaults = {name: hello.defaults[name] for name in offer.commands if name in hello.defaults}
            desk.jobs.worker_joined(worker_id, offer.commands, defaults, desk.now())
        if self._core.next_at < self._timer.wakes_at:
            self._timer.wake_at(self._core.next_at)
        commands_count = len(self.worker.commands)
        joined = events.WorkerJoined(
            worker_id, gate.identity.name, self.link.peer, commands_count, hello.concurrency
        )
        log_event(logger, joined)
        self._context.observer.worker_joined(self.worker)
        if failures:
            self._report_forbidden(hello, payload)

    def _joining_said(self, message: messages.FromWorker, payload: bytes) -> None:
        """While its claims are being judged it is only kept alive."""
        if isinstance(message, messages.Heartbeat):
            self._answer_heartbeat(message)
        else:
            text = "type: wait for the answer to connect"
            self._complain(errors.BadMessage(text), payload)

    def _publish(self, message: WorkerPublish, payload: bytes) -> None:
        """It publishes an event of its own."""
        publication = message.data
        try:
            check(publication, self._entrant.gate)
        except TaskferryError as error:
            self._complain(error, payload)
            return
        data = own_data(publication.data, self.encoding)
        self._context.topics.publish_raw(EVENT, (publication.topic,), data, self.encoding)

    def _report(self, notification: messages.Notification, payload: bytes) -> None:
        """It reports progress, which is passed on to whoever wants it."""
        worker, msg_id, data = self.worker, notification.msg_id, notification.data
        if worker is None or msg_id is None or data is UNSET:
            return
        if len(data) > limits.PROGRESS_SIZE_BYTES_MAX:
            text = f"data: {len(data)} bytes of progress, at most {limits.PROGRESS_SIZE_BYTES_MAX}"
            self._complain(errors.BadMessage(text), payload)
            return
        if self._context.topics.wants(Source.PROGRESS):
            self._context.observer.progressed(worker, msg_id, data, self.encoding)
        self._core.notify(worker, msg_id, data.copy())  # a Raw keeps its whole message in memory

    def _chunk(self, worker: Worker, chunk: WorkerChunk, payload: bytes, now: float) -> None:
        """It sends a part of what comes of an assignment."""
        data = chunk.data
        size_bytes = len(data)
        if size_bytes > self._data_size_bytes_max:
            fault: str | None = errors.size_fault("data", size_bytes, self._data_size_bytes_max)
            self._core.refuse_chunk(
                worker, chunk.msg_id, Failure(errors.TooLarge.code, f"chunk: {fault}"), now
            )
        else:
            if len(payload) - size_bytes > limits.ENVELOPE_SIZE_BYTES_MAX:
                data = data.copy()  # a Raw keeps its whole message in memory
            fault = self._core.chunk(worker, chunk.msg_id, chunk.sequence, data, now)
            if fault is None and self._context.topics.wants(Source.CHUNKS):
                self._context.observer.sent(worker, chunk.msg_id, chunk.sequence, data, self.encoding)
        if fault is not None:
            self._complain(errors.BadMessage(fault), payload)

    def _send_on(self, worker: Worker, message: Custom, payload: bytes) -> None:
        """A message of the user's own, for another connection or the broker's plugins."""
        if message.kind is None:
            return
        refusal = self._entrant.gate.message(message.kind, message.to)
        if refusal is not None:
            self._complain(errors.Forbidden(refusal.text), payload)
            return
        data = self._codec.null if message.data is UNSET else message.data
        try:
            self._context.post.send(message.kind, data, self.encoding, worker.worker_id, message.to)
        except TaskferryError as error:
            self._complain(error, payload)

    def _large_result(self, worker: Worker, msg_id: str, result: Raw | UnsetType, now: float) -> bool:
        """A result that may be larger than a requester's message can carry is no success: nobody could fetch it."""
        size_bytes = 0 if result is UNSET else len(result)
        if size_bytes <= self._data_size_bytes_max:
            return self._core.succeeded(worker, msg_id, result, now)
        text = errors.size_fault("result", size_bytes, self._data_size_bytes_max)
        return self._core.failed(worker, msg_id, text, errors.TooLarge.code, now, None)

    def _answer_heartbeat(self, message: messages.Heartbeat) -> None:
        self.link.send(self._codec.encode(messages.Heartbeat(message.msg_id, time.time())))

    def _leaving(self, worker: Worker, now: float) -> None:
        """It is given nothing more, and whatever it does not finish is no fault of its jobs."""
        desk = self._context.desk
        if desk is not None:
            desk.jobs.worker_leaving(worker.worker_id)
        self._core.worker_draining(worker, now)

    def _unknown_answered(self, msg_id: str, payload: bytes) -> None:
        """It has answered what it has not been given, or an attempt that has ended without it: it may not know so."""
        if EPOCH_END in msg_id:
            self.settled(msg_id)
            if self._context.desk is not None:
                self._context.desk.answered_late(msg_id)
        else:
            text = f"msg_id: no assignment {msg_id!r} at this worker"
            self._complain(errors.UnknownAssignment(text), payload)

    def _report_forbidden(self, hello: messages.Hello, payload: bytes) -> None:
        """The worker serves fewer commands than it wants to."""
        gate = self._entrant.gate
        served = frozenset(gate.served)
        forbidden = tuple(command for command in hello.commands if command not in served)
        named = ", ".join(forbidden[:COMMANDS_NAMED_COUNT_MAX])
        rest = len(forbidden) - COMMANDS_NAMED_COUNT_MAX
        if rest > 0:
            named = f"{named} and {rest} more"
        log_event(logger, events.CommandsForbidden(self._who, gate.identity.name, named))
        text = f"data.commands: {gate.identity.name} may not serve {named}; it serves the others"
        self._send_fault(errors.Forbidden(text), payload)

    def _renew(self, message: messages.WorkerAuth) -> None:
        login = self._entrant.renew(message.data.token)
        answer = messages.WorkerLoggedIn(login, message.msg_id, time.time())
        self.link.send(self._codec.encode(answer))
        self._entrant.renewal_answered()

    def _refuse(
        self, error: TaskferryError, payload: bytes, worker_id: str = "?", code: int = POLICY_VIOLATION
    ) -> None:
        """Send the error, and close with `code`. `worker_id`: the one that it wanted."""
        self._is_over = True
        reason = without_quoted(error.text)
        log_event(logger, events.WorkerRefused(worker_id, self.link.peer, error.code, reason))
        self._send_fault(error, payload)
        self.link.close(code, error.text)

    def _is_of_a_requester(self, payload: bytes) -> bool:
        """What could not be decoded is a message for the requester port. Only there messages have a request_id, or
        these types."""
        ids = self._codec.ids_in(payload)
        return isinstance(ids.request_id, str) or (
            isinstance(ids.type, str) and ids.type in messages.ABOUT_JOBS
        )

    def _complain(self, error: TaskferryError, payload: bytes) -> None:
        """Send the error in a worker's message; the connection stays open."""
        log_event(logger, events.WorkerMessageRefused(self._who, error.code, without_quoted(error.text)))
        self._send_fault(error, payload)

    def _complain_of_fault(self, text: str, payload: bytes) -> None:
        """The same for a message that does not decode; after many in a row the connection closes."""
        self._complain(errors.BadMessage(text), payload)
        if self._faults.add(self.link.sent_count):
            self._is_over = True
            self._leave(TOO_MANY_FAULTS)
            self.link.close(POLICY_VIOLATION, TOO_MANY_FAULTS)

    def _send_fault(self, error: TaskferryError, payload: bytes) -> None:
        msg_id = messages.text_or_none(self._codec.ids_in(payload).msg_id)
        again_s = error.retry_after_s
        fault = messages.Fault(error.code, error.text, UNSET if again_s is None else again_s)
        self.link.send(self._codec.encode(messages.ErrorMessage(fault, msg_id, time.time())))


def _rate_limited(limited: Failure, field: str = "") -> TaskferryError:
    """The error of a message that came too early, with the time to send it again. `field`: what the text begins
    with."""
    error = errors.RateLimited(f"{field}{limited.text}")
    error.retry_after_s = limited.retry_after_s
    return error
