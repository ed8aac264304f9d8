"""One requester's connection: turns frames into calls of the core, and the core's answers into frames.

Knows the wire of the requester port and which call each message means; knows no rule of what happens to a request.
"""

import logging
import time
import uuid
from typing import Final

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import astuple

from ..log.event import log_event
from ..protocol import errors, messages
from ..protocol.close_codes import POLICY_VIOLATION
from ..protocol.codec import CODECS, DECODE_ERRORS, Codec, describe
from ..protocol.encodings import Encoding
from ..protocol.frequent import FrequentMessages
from ..protocol.gather_messages import Broadcast, Send
from ..protocol.job_messages import Greeted, Greeting
from ..protocol.large import LARGE_REQUEST_DECODERS, LARGE_SIZE_BYTES
from ..protocol.limits import ENVELOPE_SIZE_BYTES_MAX, PRIORITY_DEFAULT
from ..protocol.messages import (
    ABOUT_JOBS,
    ABOUT_TOPICS,
    WITH_COMMAND,
    Auth,
    Cancel,
    Expiring,
    LoggedIn,
    Ping,
    Pong,
    WorkerConnect,
    is_about_jobs,
    text_or_none,
)
from ..protocol.stream_messages import Chunk, Credit, Progress, Stream
from ..protocol.topic_messages import Publish, Subscribe, Unsubscribe
from ..protocol.transcode import transcode
from ..transport.group import SLOW_READER
from ..transport.link import PARTS_SIZE_BYTES_MIN, Link
from .access.gate import Gate
from .access.rights import Action
from .access.usage import Usage
from .core.call import Call
from .core.core import Core
from .core.failure import Failure, failure_of
from .core.ports import Piece
from .core.requester import Requester
from .core_timer import CoreTimer
from .entrant import Entrant
from .events import HandshakeRefused, SlowReaderClosed
from .fault_run import TOO_MANY_FAULTS, FaultRun
from .gather.gather import Gather
from .gather_requests import GatherRequests
from .job_requests import JobRequests
from .request_streams import ONLY_PROGRESS, RequestStreams
from .session_context import SessionContext
from .topic_requests import TopicRequests, has_room

logger = logging.getLogger(__name__)

NEVER_LIMITED: Final = tuple(kind.__struct_config__.tag for kind in (Auth, Cancel, Credit))
"""Messages that are taken at any rate. An answer to a cancel would be taken for one to its request, and so would one to
a credit; a login that cannot be renewed ends; and all of them cost next to nothing."""

FOLLOWED_UNSENT_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""While more than this waits for a connection, it is sent no progress and no chunks of the jobs that it follows, which
do not wait for it. A sixteenth of what may wait before the connection is dropped."""

OF_WORKERS: Final = "connect is a worker's message; workers connect to another port, by default 8765"


class RequesterSession:
    """Receives from one link, and is the core's port to it."""

    __slots__ = (
        "_codec",
        "_context",
        "_core",
        "_data_size_bytes_max",
        "_decode_large",
        "_entrant",
        "_faults",
        "_frequent",
        "_gate",
        "_gathered",
        "_gathers",
        "_is_over",
        "_jobs",
        "_kept",
        "_link",
        "_requester",
        "_sessions",
        "_streams",
        "_timer",
        "_topics",
        "_usage",
        "encoding",
    )

    _link: Link
    _requester: Requester
    _jobs: JobRequests
    _kept: dict[str, Call]
    _gathered: dict[str, Gather]
    _gathers: GatherRequests
    _codec: Codec
    _frequent: FrequentMessages
    encoding: Encoding

    def __init__(
        self, context: SessionContext, sessions: dict["RequesterSession", None], entrant: Entrant
    ) -> None:
        """`sessions`: those of its port, to which it belongs while its link is open. `entrant`: whose they are."""
        self._context = context
        self._sessions = sessions
        self._entrant = entrant
        self._gate: Gate = entrant.gate
        self._usage: Usage = entrant.gate.usage
        self._faults = FaultRun()
        self._topics: TopicRequests | None = None
        self._is_over = False
        """Its login has ended, or its link: what still arrives is ignored."""
        self._core: Core = context.core
        self._timer: CoreTimer = context.timer
        self._data_size_bytes_max = context.data_size_bytes_max
        self._streams: RequestStreams | None = None
        """From the first request on that has one."""

    # --- from the link ---

    def link_opened(self, link: Link) -> None:
        self._link = link
        self.encoding = link.encoding
        self._codec = CODECS[link.encoding]
        self._decode_large = LARGE_REQUEST_DECODERS[link.encoding]
        self._frequent = self._context.frequent[link.encoding]
        self._requester = self._core.requester_joined(self, self._usage.account, self._may_call)
        self._jobs = JobRequests(
            self._context.desk, self._gate, self, self._codec.empty_data, self._data_size_bytes_max
        )
        self._kept = self._jobs.kept
        self._gathers = GatherRequests(self._context, self, self._requester, self._entrant, self._codec.null)
        self._gathered = self._gathers.gathered
        self._sessions[self] = None
        self._entrant.opened(self, link)

    def messages_received(self, payloads: list[bytes]) -> None:  # noqa: C901, PLR0912  the hot path
        if self._is_over:
            return
        now = time.monotonic()
        if self._usage.is_metered:
            payloads = self._within_rate(payloads, now)
        allowed = self._gate.allowed
        decode = self._codec.request
        core, requester = self._core, self._requester
        for payload in payloads:
            try:
                message = decode(payload) if len(payload) < LARGE_SIZE_BYTES else self._decode_large(payload)
            except DECODE_ERRORS as error:
                if self._undecoded(payload, error, now):
                    return
                continue
            command, data = message.command, message.data
            if command is UNSET:
                self._control(payload, message.type, now)
                if self._is_over:
                    return
                continue
            if data is UNSET:
                data = self._codec.empty_data
            elif len(payload) > ENVELOPE_SIZE_BYTES_MAX:
                data = self._within_bound(data, payload)
                if data is None:
                    continue
            (
                _,
                request_id,
                _,
                timeout_s,
                idempotent,
                priority,
                affinity,
                trace,
                target,
                hedge,
                otherwise,
                stream,
                gather,
                type_,
            ) = astuple(message)  # one call: each read of a Struct's field costs compiled code as much
            if type_ is not UNSET and type_ in WITH_COMMAND:
                self._control(payload, type_, now)
                continue
            call = Call(
                request_id or str(uuid.uuid4()),
                command,
                data,
                timeout_s,
                idempotent,
                PRIORITY_DEFAULT if priority is None else priority,
                affinity,
                trace,
                target,
                hedge,
                None,
                stream is not False and stream != ONLY_PROGRESS,
            )
            if allowed is not None and (command not in allowed or target is not None) and self._forbids(call):
                continue
            if (gather is not None or self._gathered) and self._gathers.begin(call, message, now):
                continue
            if (otherwise is not None or stream is not False) and call.request_id not in requester.requests:
                self._note_terms(call, otherwise, stream)
            core.submit(requester, call, now)
        if core.deadlines.next_at < self._timer.wakes_at:  # nothing else that is due has moved forward
            self._timer.wake_at(core.deadlines.next_at)

    def wrong_kind_received(self) -> None:
        kind = "text" if self.encoding is Encoding.JSON else "binary"
        text = f"message: {self.encoding.subprotocol} takes {kind} frames only"
        if self._is_over:
            return
        self._refuse(errors.BadRequest(text), b"")
        self._count_fault()

    def link_closed(self, reason: str) -> None:
        del self._sessions[self]
        if reason.startswith(SLOW_READER):
            log_event(logger, SlowReaderClosed("requester", self._link.peer, reason))
        if not self._is_over:
            self._leave()
        self._entrant.left()

    # --- from the core ---

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        if result is UNSET:
            result = self._codec.null
        elif encoding is not self.encoding:
            result = transcode(result, encoding, self.encoding)
        size = len(result)
        if size > self._data_size_bytes_max:
            raise errors.TooLarge(errors.size_fault("result", size, self._data_size_bytes_max))
        if self._kept:
            self._kept.pop(request_id, None)
        if self._streams is not None:
            self._streams.closed(request_id)
        if size < PARTS_SIZE_BYTES_MIN:
            self._link.send(self._frequent.success(request_id, result, worker_id))
        else:
            head, tail = self._frequent.around_data(request_id, worker_id)
            self._link.send_parts(head, result, tail)

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        if (
            self._streams is not None
            and request_id is not None
            and failure.code != errors.DuplicateRequestId.code
        ):
            self._streams.closed(request_id)
        if self._kept and request_id is not None and self._jobs.submit_instead(request_id, failure):
            return
        code, text, retry_after_s, delivery, queue_wait_s, _ = failure
        message = messages.Failure(request_id, False, None, text, worker_id, code)
        if delivery is not None:
            message.delivery = delivery
        if queue_wait_s is not None:
            message.queue_wait = queue_wait_s
        if retry_after_s is not None:
            message.retry_after = retry_after_s
        self._link.send(self._codec.encode(message))

    def assigned(self, request_id: str, worker_id: str, msg_id: str) -> None:
        raise AssertionError("only attempts are followed")

    def progress(self, request_id: str, report: Piece) -> None:
        streams = self._streams
        if streams is None or not streams.wants(request_id):
            return
        try:
            data = transcode(report.data, report.encoding, self.encoding)
        except errors.NotRepresentable:
            return  # the next report may be
        streams.progress(request_id, report.attempt, data)

    def chunk(self, request_id: str, chunk: Piece) -> bool:
        data = chunk.data
        if chunk.encoding is not self.encoding:
            data = transcode(data, chunk.encoding, self.encoding)
            if len(data) > self._data_size_bytes_max:
                raise errors.TooLarge(errors.size_fault("chunk", len(data), self._data_size_bytes_max))
        streams = self._streams
        assert streams is not None, "its request has a stream"
        streams.chunk(request_id, chunk.attempt, chunk.sequence, data)
        return False

    def reset(self, request_id: str, attempt: int) -> None:
        if self._streams is not None:
            self._streams.reset(request_id, attempt)

    # --- from the jobs ---

    @property
    def owner(self) -> str:
        return self._gate.identity.name

    @property
    def sees_all(self) -> bool:
        return self._jobs.sees_all

    @property
    def has_left(self) -> bool:
        return self._is_over

    def answer(self, message: object) -> None:
        self._link.send(self._codec.encode(message))

    def follow(self, job_id: str, piece: Piece, *, is_chunk: bool) -> None:
        if self._link.unsent_size_bytes > FOLLOWED_UNSENT_SIZE_BYTES_MAX:
            return
        try:
            data = transcode(piece.data, piece.encoding, self.encoding)
        except errors.NotRepresentable:
            return
        if len(data) <= self._data_size_bytes_max:
            kind = Chunk if is_chunk else Progress
            message = kind(job_id=job_id, sequence=piece.sequence, attempt=piece.attempt, data=data)
            self._link.send(self._codec.encode(message))

    # --- from the topics ---

    @property
    def has_room(self) -> bool:
        return has_room(self._link)

    def send(self, payload: bytes) -> object:
        return self._link.send(payload)

    def close_slow(self, reason: str) -> None:
        self._leave()
        self._link.abort(f"{SLOW_READER}: {reason}")

    # --- from other connections ---

    def deliver(self, payload: bytes) -> None:
        """Send a message of the user's own."""
        self._link.send(payload)

    # --- from the broker ---

    def login_expires(self, expires_in_s: float) -> None:
        self._link.send(self._codec.encode(Expiring(expires_in_s)))

    def login_ends(self) -> None:
        """A requester is given nothing anyway."""

    def login_ended(self, code: int, reason: str) -> None:
        if not self._is_over:
            self._leave()
            self._link.close(code, reason)

    def close(self, code: int, reason: str) -> None:
        """Close the connection once all that is queued for it has been sent."""
        self._link.close(code, reason)

    # --- inside ---

    def _leave(self) -> None:
        self._is_over = True
        self._gathers.left()
        self._core.requester_left(self._requester, time.monotonic())
        self._jobs.left()
        self._streams = None
        if self._topics is not None:
            self._topics.left()

    def _note_terms(self, call: Call, otherwise: str | None, stream: Stream) -> None:
        """The call may become a job, or has a stream, or both."""
        if otherwise is not None:
            self._kept[call.request_id] = call
        if stream is not False:
            if self._streams is None:
                self._streams = RequestStreams(self._core, self._requester, self._link)
            self._streams.opened(call.request_id, stream)

    def _within_rate(self, payloads: list[bytes], now: float) -> list[bytes]:
        """Those messages that the account may still send; the others are answered."""
        within = []
        for payload in payloads:
            failure = self._usage.spend(len(payload), now)
            if failure is None:
                within.append(payload)
                continue
            try:
                message = self._codec.request(payload)
            except DECODE_ERRORS:
                ids = self._codec.ids_in(payload)
                is_read = isinstance(ids.type, str) and ids.type in ABOUT_JOBS
                request_id = text_or_none(ids.request_id) if is_read else None
                self._core.refuse(self._requester, request_id, failure)
                continue
            if message.command is not UNSET or message.type in ABOUT_JOBS or self._cancels_jobs(payload):
                self._core.refuse(self._requester, message.request_id, failure)
            elif message.type in NEVER_LIMITED:
                within.append(payload)
            elif message.type in ABOUT_TOPICS:
                self._refuse_about_topics(errors.RateLimited(failure.text), payload, failure.retry_after_s)
            else:
                self._core.refuse(self._requester, None, failure)
        return within

    def _within_bound(self, data: Raw, payload: bytes) -> Raw | None:
        """The data of a large message; None, and it is refused, if it is too large."""
        size_bytes = len(data)
        if size_bytes > self._data_size_bytes_max:
            text = errors.size_fault("data", size_bytes, self._data_size_bytes_max)
            self._refuse(errors.TooLarge(text), payload)
            return None
        # A Raw keeps its whole message in memory, but the queue's bound counts `data` alone.
        return data.copy() if len(payload) - size_bytes > ENVELOPE_SIZE_BYTES_MAX else data

    def _forbids(self, call: Call) -> bool:
        refusal = self._gate.call(call.command, call.target)
        if refusal is not None:
            self._core.refuse(self._requester, call.request_id, refusal)
        return refusal is not None

    def _may_call(self, command: str) -> bool:
        return self._gate.decide(Action.CALL, command).is_allowed

    def _cancels_jobs(self, payload: bytes) -> bool:
        try:
            message = self._codec.requester_control(payload)
        except DECODE_ERRORS:
            return False
        return isinstance(message, Cancel) and is_about_jobs(message)

    def _undecoded(self, payload: bytes, error: Exception, now: float) -> bool:
        """What is no valid request may still be a valid message of another type, which has other bounds. True if it was
        one fault too many."""
        type_ = self._codec.ids_in(payload).type
        if isinstance(type_, str) and type_ in ABOUT_JOBS:
            self._control(payload, type_, now)
        else:
            self._refuse(errors.BadRequest(describe(error, self.encoding)), payload)
            self._count_fault()
        return self._is_over

    def _count_fault(self) -> None:
        if self._faults.add(self._link.sent_count):
            self._leave()
            self._link.close(POLICY_VIOLATION, TOO_MANY_FAULTS)

    def _control(  # noqa: PLR0912  a case for each message
        self, payload: bytes, type_: str | UnsetType, now: float
    ) -> None:
        if type_ is UNSET:
            self._refuse(errors.BadRequest("command: missing"), payload)
            self._count_fault()
            return
        try:
            message = self._codec.requester_control(payload)
        except DECODE_ERRORS as error:
            if type_ == WorkerConnect.__struct_config__.tag:
                self._refuse_worker(payload)
                return
            fault = errors.BadRequest(describe(error, self.encoding))
            if type_ in ABOUT_TOPICS:
                self._refuse_about_topics(fault, payload)
            else:
                self._refuse(fault, payload)
            self._count_fault()
            return
        match message:
            case Cancel() if not is_about_jobs(message):
                if not self._gathers.cancel(message.request_id):
                    self._core.cancel(self._requester, message.request_id, now)
            case Auth():
                self._renew(message)
            case Credit():
                if self._streams is not None:
                    self._streams.taken(message)
            case Broadcast() | Send():
                self._gathers.take(message)
            case Ping():
                self._link.send(self._codec.encode(Pong(message.request_id)))
            case Greeting():
                self._greet(message)
            case Subscribe() | Unsubscribe() | Publish():
                self._about_topics.take(message)
            case _:
                self._jobs.take(message)

    @property
    def _about_topics(self) -> TopicRequests:
        """Made when it is first needed: most connections never do."""
        if self._topics is None:
            self._topics = TopicRequests(self._context.topics, self._gate, self)
        return self._topics

    def _refuse_about_topics(
        self, error: errors.TaskferryError, payload: bytes, retry_after_s: float | None = None
    ) -> None:
        error.retry_after_s = retry_after_s
        self._about_topics.refuse(text_or_none(self._codec.ids_in(payload).id), error)

    def _greet(self, message: Greeting) -> None:
        """It says who it is. With a name it has an inbox, if this broker keeps jobs."""
        entrant = self._entrant
        fault = entrant.describe_device(message.device)
        if fault is not None:
            self._core.refuse(self._requester, message.request_id, failure_of(errors.BadRequest(fault)))
            return
        if message.client_id is not None:
            entrant.client_id = message.client_id
            self._jobs.take(message)
        else:
            self._link.send(self._codec.encode(Greeted(message.request_id, entrant.client_id)))

    def _refuse_worker(self, payload: bytes) -> None:
        """A worker would wait here for ever: what it gets has no msg_id."""
        log_event(logger, HandshakeRefused("requester", self._link.peer.rpartition(":")[0], OF_WORKERS))
        self._refuse(errors.BadRequest(f"type: {OF_WORKERS}"), payload)
        self._link.close(POLICY_VIOLATION, OF_WORKERS)

    def _renew(self, auth: Auth) -> None:
        login = self._entrant.renew(auth.token)
        answer = LoggedIn(
            login.success, auth.request_id, login.identity, login.expires_in, login.code, login.error
        )
        self._link.send(self._codec.encode(answer))
        self._entrant.renewal_answered()

    def _refuse(self, error: errors.TaskferryError, payload: bytes) -> None:
        """Answer a message that could not even be submitted, under its request_id if that can be read."""
        request_id = text_or_none(self._codec.ids_in(payload).request_id)
        self._core.refuse(self._requester, request_id, failure_of(error))
