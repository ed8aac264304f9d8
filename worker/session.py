"""One link to a broker, from the worker's `connect` to the end: dispatches what arrives, sends what is due.

How handlers are run is in runner.py, when to reconnect in service.py. Calls come from the event loop, one at a time.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec import structs

from ..credentials.renewal import Renewal
from ..credentials.source import TokenSource
from ..credentials.token import Token
from ..log.event import log_event, without_quoted
from ..program.own_messages import MessageHandlers
from ..protocol import errors, messages
from ..protocol import limits as wire
from ..protocol.codec import CODECS, DECODE_ERRORS, Codec, describe
from ..protocol.gather_messages import Delivered
from ..protocol.stream_messages import WorkerCredit
from ..tracing.switch import SWITCH
from ..transport.group import LinkGroup
from ..transport.link import Link
from . import events, limits
from .own_message import value_of
from .runner import Runner
from .steps import Steps

logger = logging.getLogger(__name__)

_CONNECT_ID: Final = "connect"
_AUTH_ID: Final = "auth"

REQUESTER_PORT: Final = "that is the port of requesters; workers connect to another one, by default 8765"
NO_WORKER_PORT: Final = "what answers there is no broker's worker port"


class Session:
    """The receiver of one link.

    `hello` is what the worker declares, to which its claims are added. `runner` runs what arrives. `welcomed` is called
    with the Welcome once the broker has registered the worker. `closed` is done, with the reason, when the link is
    gone, and the runner knows it. `refusal` is the broker's error if it refused the worker. `token` is what the link is
    opened with, set before it opens.
    """

    __slots__ = (
        "_codec",
        "_disconnected",
        "_group",
        "_handlers",
        "_heartbeat_interval_s",
        "_hello",
        "_is_draining",
        "_is_stopping",
        "_is_welcomed",
        "_link",
        "_loop",
        "_public_url",
        "_registered",
        "_renewal",
        "_runner",
        "_timer",
        "_tokens",
        "_welcomed",
        "closed",
        "refusal",
        "token",
    )

    _codec: Codec

    def __init__(
        self,
        hello: messages.Hello,
        runner: Runner,
        group: LinkGroup,
        welcomed: Callable[[messages.Welcome], None],
        *,
        tokens: TokenSource,
        public_url: str,
        is_draining: bool,
        handlers: MessageHandlers,
    ) -> None:
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._hello = hello
        self._runner = runner
        self._group = group
        self._welcomed = welcomed
        self._tokens = tokens
        self._public_url = public_url
        self._renewal: Renewal | None = None
        self.token: Token | None = None
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heartbeat_interval_s = 0.0
        self._is_welcomed = False
        self._is_stopping = False
        self._is_draining = is_draining
        self._registered: asyncio.Future[None] = self._loop.create_future()
        self._disconnected: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.refusal: messages.Fault | None = None

    # --- from the link ---

    def link_opened(self, link: Link) -> None:
        self._link = link
        self._codec = CODECS[link.encoding]
        self._renewal = Renewal(self._tokens, self.token, self._public_url, self._send_token)
        hello = structs.replace(self._hello, running=self._runner.claims())
        if self._is_draining:
            # No slot but for what it claims, so that nothing is assigned before it can say so.
            hello.concurrency = min(max(1, len(hello.running)), wire.CONCURRENCY_MAX)
        self._send(messages.WorkerConnect(hello, _CONNECT_ID, time.time()))
        self._timer = self._loop.call_later(wire.HANDSHAKE_S_MAX, self._welcome_overdue)

    def messages_received(self, payloads: list[bytes]) -> None:
        if self._is_stopping:
            return  # the broker settles what still arrives while the link closes
        now = time.monotonic()
        decode = self._codec.from_broker
        for payload in payloads:
            try:
                message = decode(payload)
            except DECODE_ERRORS as error:
                if not self._is_welcomed:
                    # What a requester port sends has this key, in either encoding.
                    self._abort(REQUESTER_PORT if b"success" in payload else NO_WORKER_PORT)
                    return
                self._complain(describe(error, self._codec.encoding), payload)
                continue
            if type(message) is not messages.AssignmentMessage:
                self._control(message)
            elif not self._is_welcomed:
                self._complain("type: a request before the answer to connect", payload)
            elif not self._runner.start(message, now):
                self._complain(f"msg_id: assignment {message.msg_id[:128]!r} is running already", payload)
        if self._link is not None:
            # Coroutine handlers start in the next turn, if they have not started yet, and many end in it. Requested
            # now, the flush comes after them in that same turn; requested by their `send` it would take another one.
            self._group.flush_soon(self._link)

    def wrong_kind_received(self) -> None:
        self._complain("message: wrong kind of frame: JSON is text, MessagePack is binary", b"")

    def link_closed(self, reason: str) -> None:
        self._cancel_timer()
        if self._renewal is not None:
            self._renewal.close()
        if self._is_welcomed:
            self._runner.link_closed()
        if not self.closed.done():
            self.closed.set_result(reason)

    def send_encoded(self, encoded: bytes) -> None:
        """Send a message of the user's own, if the broker has registered this worker."""
        if self._link is not None and self._is_welcomed:
            self._link.send(encoded)

    # --- ending ---

    async def drain(self, grace_s: float, ends_at: float) -> None:
        """Take nothing new, finish what runs by `ends_at`, when the `grace_s` seconds are over, and wait until the
        broker has settled the results of jobs. What of jobs does not finish is given back. Returns early if the link
        closes: what has not been settled by then may be over the next one.

        Ordinary assignments that do not finish get no response: the broker settles them by its rule for lost workers,
        which may run them elsewhere.
        """
        runner = self._runner
        if not self._is_welcomed:
            self._is_draining = True
            if runner.in_flight or len(runner.kept):
                await self._wait(self._registered, ends_at - self._loop.time())
            if not self._is_welcomed:
                return
        elif not self._is_draining:
            self._is_draining = True
            self._send_disconnect()
        await self._wait(self._disconnected, min(grace_s, limits.DISCONNECT_ANSWER_S_MAX))
        await self._wait(runner.when_idle(), ends_at - self._loop.time())
        if self.closed.done():
            return  # nobody is there to give anything back to
        if runner.in_flight:
            self._report_unfinished(grace_s)
            runner.give_back()
            await self._wait(runner.when_idle(), limits.STOP_S_MAX)
        left_s = ends_at - self._loop.time()
        await self._wait(runner.kept.when_all_settled(), max(left_s, limits.SETTLED_S_MAX))

    def leave(self) -> None:
        """Take nothing more, and begin to close the link."""
        self._is_stopping = True
        self._cancel_timer()
        if self._link is not None:
            self._link.close(1000, "worker stopped")

    async def left(self) -> None:
        """Wait a moment until the link is closed, and drop it if it is not."""
        if self._link is not None:
            await asyncio.wait({self.closed}, timeout=limits.STOP_S_MAX)
            self._abort("worker stopped")

    async def _wait(self, awaited: "asyncio.Future[None]", timeout_s: float) -> None:
        """Wait until it is done, the link is gone, or the time is up."""
        futures: set[asyncio.Future[Any]] = {awaited, self.closed}
        await asyncio.wait(futures, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)

    # --- inside ---

    def _control(self, message: messages.FromBroker) -> None:
        match message:
            case WorkerCredit():
                self._credit(message)
            case messages.CancelAssignment():
                self._runner.cancel(message.msg_id, message.data.reason or "by the broker")
            case messages.Settled():
                self._runner.settle(message.msg_id)
            case Delivered():
                self._handle(message)
            case messages.Heartbeat():
                pass  # the link has noted that the broker is alive
            case messages.Connected():
                self._begin(message.data)
            case messages.Disconnect():
                self._disconnect(message.data.reason)
            case messages.ErrorMessage():
                self._fault(message.data)
            case messages.WorkerExpiring() if self._renewal is not None:
                self._renewal.expiring(message.data.expires_in)
            case messages.WorkerLoggedIn() if self._renewal is not None:
                login = message.data
                self._renewal.answered(None if login.success else login.error or login.code or "refused")
            case messages.AssignmentMessage():
                raise AssertionError("assignments are handled before")

    def _handle(self, message: Delivered) -> None:
        """A message of the user's own."""
        if not self._handlers.has(message.kind):
            self._handlers.ignored_count += 1
            return
        try:
            data = value_of(message.data, self._codec.encoding)
        except DECODE_ERRORS as error:
            self._refuse(f"data: {describe(error, self._codec.encoding)}", None)
        else:
            self._handlers.received(message.kind, data, message.sender)

    def _credit(self, message: WorkerCredit) -> None:
        try:
            self._runner.credit(message.msg_id, message.data.sequence)
        except ValueError as error:
            self._refuse(f"data.{error}", message.msg_id)

    def _begin(self, welcome: messages.Welcome) -> None:
        if self._is_welcomed or self._link is None:
            return
        self._is_welcomed = True
        self._cancel_timer()
        self._registered.set_result(None)
        if self._is_draining:
            self._send_disconnect()  # before any response, which would free a slot
        self._runner.link_opened(
            self._link.send,
            worker_id=welcome.worker_id,
            message_size_bytes_max=welcome.message_size_bytes_max,
            steps=_steps_followed(welcome.worker_id),
        )
        self._heartbeat_interval_s = max(welcome.heartbeat_interval, limits.HEARTBEAT_INTERVAL_S_MIN)
        self._timer = self._loop.call_later(self._heartbeat_interval_s, self._heartbeat)
        self._welcomed(welcome)

    def _heartbeat(self) -> None:
        self._send(messages.Heartbeat(timestamp=time.time()))
        self._timer = self._loop.call_later(self._heartbeat_interval_s, self._heartbeat)

    def _disconnect(self, reason: str | None) -> None:
        """The answer to ours, or the broker is leaving: then what runs is finished for as long as the link stays."""
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        if reason is not None:
            log_event(logger, events.BrokerLeaving(reason))

    def _fault(self, fault: messages.Fault) -> None:
        if not self._is_welcomed:
            self.refusal = fault
        elif fault.code == errors.Forbidden.code:
            log_event(logger, events.CommandsForbidden(fault.error))
        else:
            log_event(logger, events.BrokerComplained(fault.code, without_quoted(fault.error)))

    def _report_unfinished(self, grace_s: float) -> None:
        unfinished = self._runner.in_flight.values()
        attempts_count = sum(assignment.job is not None for assignment in unfinished)
        requests_count = len(unfinished) - attempts_count
        if requests_count:
            log_event(logger, events.AssignmentsUnfinished(requests_count, grace_s))
        if attempts_count:
            log_event(logger, events.AttemptsGivenBack(attempts_count, grace_s))

    def _welcome_overdue(self) -> None:
        self._abort(f"the broker did not answer connect within {wire.HANDSHAKE_S_MAX:g} s")

    def _abort(self, reason: str) -> None:
        if self._link is not None:
            self._link.abort(reason)

    def _complain(self, text: str, payload: bytes) -> None:
        """Report to the broker that a message was not understood; the link stays open."""
        self._refuse(text, messages.text_or_none(self._codec.ids_in(payload).msg_id))

    def _refuse(self, text: str, msg_id: str | None) -> None:
        log_event(logger, events.BrokerMessageRefused(without_quoted(text)))
        self._send(messages.ErrorMessage(messages.Fault(errors.BadMessage.code, text), msg_id, time.time()))

    def _send_disconnect(self) -> None:
        self._send(messages.Disconnect(messages.Reason("worker is stopping"), timestamp=time.time()))

    def _send_token(self, token: Token) -> None:
        self._send(messages.WorkerAuth(messages.Credential(token.reveal()), _AUTH_ID, time.time()))

    def _send(self, message: object) -> None:
        if self._link is not None:
            self._link.send(self._codec.encode(message))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _steps_followed(worker_id: str) -> Steps | None:
    """The listener of a link's steps: its spans if tracing is on, else none."""
    if SWITCH.tracer is None:
        return None
    from .assignment_spans import AssignmentSpans  # noqa: PLC0415  needs what only tracing installs

    return AssignmentSpans(SWITCH.tracer, worker_id)
