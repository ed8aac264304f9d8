"""One requester's connection: turns frames into calls of the core, and the core's answers into frames.

Knows the wire of the requester port and which call each message means; knows no rule of what happens to a request.
"""

import logging
import time
import uuid

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import astuple

from ..log.event import log_event
from ..protocol import errors, messages
from ..protocol.codec import CODECS, DECODE_ERRORS, Codec, describe
from ..protocol.encodings import Encoding
from ..protocol.frequent import FrequentMessages
from ..protocol.large import LARGE_REQUEST_DECODERS, LARGE_SIZE_BYTES
from ..protocol.limits import ENVELOPE_SIZE_BYTES_MAX, PRIORITY_DEFAULT
from ..protocol.messages import Cancel, Pong, text_or_none
from ..protocol.transcode import transcode
from ..transport.link import PARTS_SIZE_BYTES_MIN, SLOW_READER, Link
from .access.identity import ANONYMOUS
from .core.account import unlimited
from .core.call import Call
from .core.core import Core
from .core.failure import Failure, failure_of
from .core.requester import Requester
from .core_timer import CoreTimer
from .events import SlowReaderClosed
from .session_context import SessionContext

logger = logging.getLogger(__name__)


class RequesterSession:
    """Receives from one link, and is the core's port to it."""

    __slots__ = (
        "_codec",
        "_context",
        "_core",
        "_data_size_bytes_max",
        "_decode_large",
        "_frequent",
        "_link",
        "_requester",
        "_sessions",
        "_timer",
        "encoding",
    )

    _link: Link
    _requester: Requester
    _codec: Codec
    _frequent: FrequentMessages
    encoding: Encoding

    def __init__(self, context: SessionContext, sessions: dict["RequesterSession", None]) -> None:
        """`sessions`: those of its port, to which it belongs while its link is open."""
        self._context = context
        self._sessions = sessions
        self._core: Core = context.core
        self._timer: CoreTimer = context.timer
        self._data_size_bytes_max = context.data_size_bytes_max

    # --- from the link ---

    def link_opened(self, link: Link) -> None:
        self._link = link
        self.encoding = link.encoding
        self._codec = CODECS[link.encoding]
        self._decode_large = LARGE_REQUEST_DECODERS[link.encoding]
        self._frequent = self._context.frequent[link.encoding]
        self._requester = self._core.requester_joined(self, unlimited(ANONYMOUS))
        self._sessions[self] = None

    def messages_received(self, payloads: list[bytes]) -> None:
        now = time.monotonic()
        decode = self._codec.request
        decode_large = self._decode_large
        core = self._core
        requester = self._requester
        for payload in payloads:
            try:
                message = decode(payload) if len(payload) < LARGE_SIZE_BYTES else decode_large(payload)
            except DECODE_ERRORS as error:
                self._refuse(errors.BadRequest(describe(error, self.encoding)), payload)
                continue
            command = message.command
            data = message.data
            if command is UNSET:
                self._control(payload, message.type, now)
                continue
            if data is UNSET:
                data = self._codec.empty_data
            elif len(payload) > ENVELOPE_SIZE_BYTES_MAX:
                if len(data) > self._data_size_bytes_max:
                    text = f"data: {len(data)} bytes, at most {self._data_size_bytes_max}"
                    self._refuse(errors.TooLarge(text), payload)
                    continue
                if len(payload) - len(data) > ENVELOPE_SIZE_BYTES_MAX:
                    # A Raw keeps its whole message in memory, but the queue's bound counts `data` alone.
                    data = data.copy()
            # One call for all fields: each read of a Struct's field costs compiled code as much.
            _, request_id, _, timeout_s, idempotent, priority, affinity, trace, target, hedge, _ = astuple(
                message
            )
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
            )
            core.submit(requester, call, now)
        if core.deadlines.next_at < self._timer.wakes_at:  # nothing else that is due has moved forward
            self._timer.wake_at(core.deadlines.next_at)

    def wrong_kind_received(self) -> None:
        kind = "text" if self.encoding is Encoding.JSON else "binary"
        text = f"message: {self.encoding.subprotocol} takes {kind} frames only"
        self._refuse(errors.BadRequest(text), b"")

    def link_closed(self, reason: str) -> None:
        del self._sessions[self]
        if reason.startswith(SLOW_READER):
            log_event(logger, SlowReaderClosed("requester", self._link.peer, reason))
        self._core.requester_left(self._requester, time.monotonic())

    # --- from the core ---

    def succeed(self, request_id: str, result: Raw | UnsetType, encoding: Encoding, worker_id: str) -> None:
        if result is UNSET:
            result = self._codec.null
        elif encoding is not self.encoding:
            result = transcode(result, encoding, self.encoding)
        size = len(result)
        if size > self._data_size_bytes_max:
            raise errors.TooLarge(f"result: {size} bytes, at most {self._data_size_bytes_max}")
        if size < PARTS_SIZE_BYTES_MIN:
            self._link.send(self._frequent.success(request_id, result, worker_id))
        else:
            head, tail = self._frequent.around_data(request_id, worker_id)
            self._link.send_parts(head, result, tail)

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        code, text, retry_after_s, delivery, queue_wait_s = failure
        message = messages.Failure(request_id, False, None, text, worker_id, code)
        if delivery is not None:
            message.delivery = delivery
        if queue_wait_s is not None:
            message.queue_wait = queue_wait_s
        if retry_after_s is not None:
            message.retry_after = retry_after_s
        self._link.send(self._codec.encode(message))

    # --- inside ---

    def close(self, code: int, reason: str) -> None:
        """Close the connection once all that is queued for it has been sent."""
        self._link.close(code, reason)

    def _control(self, payload: bytes, type_: str | UnsetType, now: float) -> None:
        if type_ is UNSET:
            self._refuse(errors.BadRequest("command: missing"), payload)
            return
        try:
            message = self._codec.requester_control(payload)
        except DECODE_ERRORS as error:
            self._refuse(errors.BadRequest(describe(error, self.encoding)), payload)
            return
        if isinstance(message, Cancel):
            self._core.cancel(self._requester, message.request_id, now)
        else:
            self._link.send(self._codec.encode(Pong(message.request_id)))

    def _refuse(self, error: errors.TaskferryError, payload: bytes) -> None:
        """Answer a message that could not even be submitted, under its request_id if that can be read."""
        request_id = text_or_none(self._codec.ids_in(payload).request_id)
        self._core.refuse(self._requester, request_id, failure_of(error))
