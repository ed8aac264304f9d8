"""One end of a WebSocket connection, in any program: takes asyncio's calls and passes on whole messages.

Joins writes, holds back what the peer cannot take yet, finds out when the peer has died, and notifies its receiver.
Knows bytes and seconds, and nothing of what messages mean.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, cast

from msgspec import Raw
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from ..protocol.encodings import SUBPROTOCOLS, Encoding
from .admission import Admit, RefusalReason
from .backlog import BATCH_SIZE_BYTES_MAX, Backlog
from .counts import LinkCounts
from .forks import keep_from_forks, open_to_forks
from .framing import Framing
from .group import BUSY_READ_SIZE_BYTES, NO_BOUND, READ_S_MAX, SHORT_READ_S_MAX, SLOW_READER, LinkGroup
from .handshake import Handshake, describe_handshake
from .receiver import Receiver
from .settings import LinkSettings
from .taken import Taking

logger = logging.getLogger(__name__)

_OPCODES: Final = {Encoding.JSON: Opcode.TEXT, Encoding.MSGPACK: Opcode.BINARY}
PARTS_SIZE_BYTES_MIN: Final = 8 * 1024
"""A message's body of at least this size is better sent as a separate part (`send_parts`)."""
_JOINED_SIZE_BYTES_MAX: Final = 4096
"""Queued pieces that are smaller than this, on average, are joined into one write: to copy so little costs less than
another entry in the list that is passed to the operating system."""
_CLOSE_REASON_SIZE_BYTES_MAX: Final = 123
"""The room for the reason that RFC 6455 (5.5) leaves in a control frame, after the close code."""

_PRIVATE_USE: Final = " (private use)"
"""What `websockets` says of a code from 4000; ours come with a reason."""

_SAYS_WHAT_IS_LEFT: Final = sys.platform != "win32"
"""The event loop knows how much of what it was passed is still in its buffer. Windows takes that buffer as it is, and
says only when it is done."""

SUSPICION_S: Final = 1.0
"""A peer that has not answered a ping by then may be gone: a round trip around the world takes a third of it."""


class Link:
    """A connection that is opening, open, or closing.

    `admit`, for a server: decides from the handshake whether it may open (see admission.py). `request`, for a client:
    the handshake that it sends.

    Attributes: `encoding` (after `link_opened`), `opened`, `closed` (no connection: not yet, or no longer), `peer`
    ("host:port"), `received_count` (messages so far), `sent_count` (messages queued so far), `written_count` (of these,
    passed whole to the operating system; the rest has certainly not left this process), `is_silent` (a ping has been
    unanswered for `SUSPICION_S`), `receiver` (its owner; may be replaced), `counts` (to which it adds what passes
    through it: its port's, or its own), `resumed` (called, if it is set, when the peer, after it had not kept up, has
    taken all that the event loop was passed).
    """

    __slots__ = (
        "_backlog",
        "_can_send",
        "_deadline",
        "_deadline_reason",
        "_descriptor",
        "_framing",
        "_group",
        "_handshake",
        "_headers",
        "_heard",
        "_heard_at",
        "_is_counted",
        "_is_end_due",
        "_is_flush_due",
        "_is_paused",
        "_is_pinged",
        "_is_tls",
        "_is_waiting_turn",
        "_missing_size",
        "_out",
        "_out_size",
        "_pinged_at",
        "_protocol",
        "_read_size",
        "_reason",
        "_request",
        "_settings",
        "_taking",
        "_transport",
        "closed",
        "counts",
        "encoding",
        "is_silent",
        "opened",
        "peer",
        "received_count",
        "receiver",
        "resumed",
        "sent_count",
        "written_count",
    )

    _transport: asyncio.Transport
    _taking: Taking
    _framing: Framing
    encoding: Encoding

    def __init__(
        self,
        protocol: ServerProtocol | ClientProtocol,
        receiver: Receiver,
        group: LinkGroup,
        settings: LinkSettings,
        *,
        admit: Admit | None = None,
        request: Request | None = None,
        counts: LinkCounts | None = None,
    ) -> None:
        self._protocol = protocol
        self.receiver = receiver
        self._group = group
        self._settings = settings
        self._handshake: Handshake | None = Handshake(protocol, settings.handshake_size_bytes_max, admit)
        self._request = request
        self._headers: tuple[bytes, ...] = ()
        self._can_send = False
        self._out: list[bytes | memoryview] = []
        self._out_size = 0
        self._is_counted = False
        self._is_end_due = False
        self._is_flush_due = False
        self._backlog: Backlog | None = None
        """Set while the peer does not take all at once."""
        self._is_tls = False
        self._is_paused = False
        self._is_waiting_turn = False
        self._missing_size = 0
        self._read_size = group.read_sizes[0]
        self._heard = False
        self._heard_at = 0.0
        self._is_pinged = False
        self._pinged_at = 0.0
        self.is_silent = False
        self._deadline: float | None = None
        self._deadline_reason = ""
        self._descriptor = -1
        self._reason = ""
        self.opened = False
        self.closed = True  # there is no connection yet
        self.peer = "?"
        self.received_count = 0
        self.sent_count = 0
        self.written_count = 0
        self.resumed: Callable[[], None] | None = None
        self.counts = LinkCounts() if counts is None else counts

    # --- sending ---

    def send(self, payload: bytes) -> int:
        """Queue one message; it leaves with all others of this turn of the loop. Returns its number: compare it with
        `written_count`.

        On a link that is closing or closed it is dropped, and `written_count` never reaches its number. A peer is a
        slow reader if more than `unsent_size_bytes_max` is queued for it, and its link is aborted.
        """
        if not self._can_send:
            return self.sent_count + 1
        self.sent_count += 1
        size = len(payload)
        if size < len(self._headers):
            self._out.append(self._headers[size])
            self._out.append(payload)
        else:
            self._out += self._framing.frame(payload)
        self._out_size += size
        self._flush_soon()
        return self.sent_count

    def send_parts(self, head: bytes, body: Raw, tail: bytes) -> int:
        """The same for a message that consists of these three parts, without a copy of `body`. For servers: what a
        client sends is masked, and so copied anyway."""
        if not self._can_send:
            return self.sent_count + 1
        self.sent_count += 1
        size = len(head) + len(body) + len(tail)
        self._out.append(self._framing.head(size) + head)
        self._out.append(memoryview(body))
        self._out.append(tail)
        self._out_size += size
        self._flush_soon()
        return self.sent_count

    def flush(self) -> None:
        """Pass what is queued to the operating system, as much as it takes."""
        if self._is_paused or self.closed:
            return
        self._is_flush_due = False
        out, size = self._out, self._out_size
        if self._backlog is not None or size > BATCH_SIZE_BYTES_MAX:
            self._flush_backlog()
            return
        if not out:
            return
        self._out = []
        self._out_size = 0
        counts = self.counts
        before = self.written_count
        counts.sent_count += self.sent_count - before
        self.written_count = self.sent_count
        if size >= len(out) * _JOINED_SIZE_BYTES_MAX:
            counts.sent_bytes_count += sum(map(len, out))
            self._transport.writelines(out)
        else:
            data = b"".join(out)
            counts.sent_bytes_count += len(data)
            self._transport.write(data)
        if self._is_paused:
            self._backlog = backlog = Backlog(before)
            backlog.add(out)
            backlog.take(NO_BOUND)  # all of it was passed on
            self._note_written()
            self._note_unsent()

    def pause_writing(self) -> None:
        """The peer does not keep up. If the settings say so, read nothing more from it until it does."""
        self._is_paused = True
        self._taking.begins(time.monotonic())
        if self._settings.reads_only_while_writable and not self.closed:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer has taken all that the event loop was passed."""
        self._is_paused = False
        if self._backlog is not None:
            self.written_count = self._backlog.passed_count
        self.flush()
        if self.resumed is not None:
            self.resumed()
        if self._is_paused or self.closed:
            return
        if self._settings.reads_only_while_writable and not self._is_waiting_turn:
            self._transport.resume_reading()
        if self._is_end_due:
            self._end_writing()

    @property
    def is_blocked(self) -> bool:
        """The peer does not take all at once: something waits here until it does."""
        return self._is_paused

    @property
    def unsent_size_bytes(self) -> int:
        """Bytes of what is queued and has not been passed on."""
        return self._out_size + (0 if self._backlog is None else self._backlog.size_bytes)

    def stalled_s(self, now: float) -> float:
        """How long the peer has been known to take nothing, while something waits for it."""
        return now - self._taking.at

    # --- ending ---

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close in order: what is queued is sent first, then the closing handshake, bounded by `close_s_max`."""
        if self.closed:
            return
        if self._protocol.state is State.OPEN:
            self._reason = self._reason or reason or "closed here"
            reason = reason.encode()[:_CLOSE_REASON_SIZE_BYTES_MAX].decode(errors="ignore")
            self._protocol.send_close(code, reason)
            self._write_protocol()
        elif self._protocol.state is State.CONNECTING:
            self.abort(reason or "closed here")

    def abort(self, reason: str) -> None:
        """Drop the connection at once, and send nothing more."""
        if self.closed:
            return
        self._reason = self._reason or reason
        self._note_written()
        self._drop_unsent()
        self._transport.abort()

    # --- health ---

    def check(self, now: float) -> None:
        """Check deadlines and the peer's silence; ping it, or drop it. Called twice a second."""
        settings = self._settings
        if self._deadline is not None and now >= self._deadline:
            if self._handshake is not None and self._handshake.refused_as is None:
                self._handshake.refused_as = RefusalReason.TOO_SLOW
            self.abort(self._deadline_reason)
            return
        if self._is_paused and (self._has_stalled(now) or settings.reads_only_while_writable):
            return
        if self._heard:
            self._heard = False
            self._is_pinged = False
            self.is_silent = False
            self._heard_at = now
            return
        silence_s = now - self._heard_at
        if silence_s < settings.heartbeat_interval_s or not self.opened:
            return
        if not self._is_pinged:
            # However long the silence is: it may be this process that was stopped for a while.
            self._is_pinged = True
            self._pinged_at = now
            self._taking.pinged()
            if self._can_send:
                self._out.append(self._framing.ping())
                if not self._is_flush_due:
                    self._is_flush_due = True
                    self._group.flush_soon(self)
        elif self._taking.goes_on_before_ping(now):
            self._heard_at = self._pinged_at = now
        elif silence_s >= settings.silence_s_max:
            self.abort(f"silent for {settings.silence_s_max:g} s")
        elif now - self._pinged_at >= SUSPICION_S and not self.is_silent:
            self.is_silent = True
            self.counts.heartbeats_missed_count += 1

    def heard_s(self, now: float) -> float:
        """How long ago the peer was last heard, to half a second."""
        return 0.0 if self._heard else max(0.0, now - self._heard_at)

    # --- asyncio's calls, see loop_protocol.py ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP (and TLS) is connected; the WebSocket handshake starts."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        now = time.monotonic()
        self._taking = Taking(self._transport, now)
        self.closed = False
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        # Whatever the system does not take at once pauses the link. TLS counts a limit of 0 as reached by nothing.
        self._transport.set_write_buffer_limits(high=1 if self._is_tls else 0, low=0)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            # On a socket for both, a peer of IPv4 has an address of IPv6 (RFC 4291, 2.5.5.2).
            self.peer = f"{address[0].removeprefix('::ffff:')}:{address[1]}"
        connection = transport.get_extra_info("socket")
        self._descriptor = -1 if connection is None else connection.fileno()
        keep_from_forks(self._descriptor)
        assert self._handshake is not None, "it begins now"
        self._handshake.connected(address, transport.get_extra_info("peercert"))
        self.counts.connections_count += 1
        self._is_counted = True
        self._heard_at = now
        self._set_deadline(now + self._settings.handshake_s_max, "handshake not finished in time")
        self._group.links.add(self)
        if isinstance(self._protocol, ClientProtocol) and self._request is not None:
            self._protocol.send_request(self._request)
            self._request = None  # it may hold a token
            self._write_protocol()

    def get_buffer(self, sizehint: int) -> memoryview:
        """What asyncio reads into: one buffer for all links, because each read is processed before the next."""
        if self._missing_size:
            return self._group.read_buffer[: self._read_size + self._missing_size]
        return self._group.buffers[self._read_size]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes from the peer."""
        self._heard = True
        counts = self.counts
        counts.received_bytes_count += nbytes
        if self._group.is_between_turns:
            self._group.open_turn()
        data: bytes | memoryview = self._group.read_buffer[:nbytes]
        if self._handshake is not None:
            rest = self._receive_handshake(self._handshake, bytes(data))
            if not rest or not self.opened:
                return
            data = rest
        was_missing_size = self._missing_size
        messages = self._framing.receive(data)
        self._missing_size = self._framing.missing_size
        if self._protocol.writes and self._protocol.state is State.OPEN:
            self._write_protocol()  # a pong goes before the answer to a message whose end came after the ping
        if messages:
            count = len(messages)
            counts.received_count += count
            self.received_count += count
            try:
                self.receiver.messages_received(messages)
            except Exception:
                logger.exception("a defect: closing the connection of %s", self.peer)
                self.close(CloseCode.INTERNAL_ERROR, "internal error")
        while self._framing.wrong_kind_count:
            self._framing.wrong_kind_count -= 1
            self.receiver.wrong_kind_received()
        if self._protocol.writes:
            self._write_protocol()
        if nbytes >= BUSY_READ_SIZE_BYTES or nbytes >= self._read_size:
            self._take_turns(nbytes, was_missing_size)

    def read_on(self) -> None:
        """Read again, after others had their turns."""
        self._is_waiting_turn = False
        if not self.closed and not (self._is_paused and self._settings.reads_only_while_writable):
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer has half-closed, which ends a WebSocket."""
        self._protocol.receive_eof()
        self._write_protocol()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whichever side closed it."""
        self.closed = True
        open_to_forks(self._descriptor)
        if self._is_counted:
            self.counts.connections_count -= 1
        self._group.links.discard(self)
        if self._backlog is not None and self._is_paused:
            # How much the loop has written lately is not known any more; but not all of it, or it would have said so.
            self.written_count = self._backlog.written_count(1)
        self._drop_unsent()
        if self._handshake is not None and self._handshake.refused_as is not None:
            self.counts.handshakes_refused[self._handshake.refused_as] += 1
        self.receiver.link_closed(self._reason or self._describe_end(exc))

    # --- inside ---

    def _take_turns(self, size: int, was_missing_size: int) -> None:
        """Decide, after a read of `size` bytes, which is much, whether to read on in this turn, and how much at once
        (see group.py). `was_missing_size`: of an unfinished frame, before."""
        turn_s = time.monotonic() - self._group.turn_began_at
        sizes = self._group.read_sizes
        # The rest of a large message often comes alone.
        is_large = size >= 2 * sizes[-1] or max(was_missing_size, self._missing_size) > sizes[-1] // 2
        turn_s_max = READ_S_MAX if is_large else SHORT_READ_S_MAX
        if turn_s < turn_s_max:
            self._read_size = min(sizes[-1], 2 * self._read_size)
            return
        if turn_s >= 1.5 * turn_s_max:
            self._read_size = max(sizes[0], self._read_size // 2)
        if not self._is_waiting_turn and not self.closed:
            self._is_waiting_turn = True
            self._transport.pause_reading()
            self._group.wait_turn(self, turn_s_max)

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._group.flush_soon(self)
        elif self._is_paused:
            self._note_unsent()

    def _flush_backlog(self) -> None:
        """Pass on what waits batch by batch, until the peer does not take all of one."""
        backlog = self._backlog
        if backlog is None:
            backlog = self._backlog = Backlog(self.written_count)
        backlog.add(self._out)
        self._out = []
        self._out_size = 0
        while not self._is_paused and not self.closed:
            pieces = backlog.take()
            if not pieces:
                self._backlog = None
                break
            size = backlog.batch_size_bytes
            self.counts.sent_count += backlog.passed_count - self.written_count
            self.counts.sent_bytes_count += size
            self.written_count = backlog.passed_count
            if size >= len(pieces) * _JOINED_SIZE_BYTES_MAX:
                self._transport.writelines(pieces)
            else:
                self._transport.write(b"".join(pieces))
        self._note_written()
        self._note_unsent()

    def _note_written(self) -> None:
        """Find out how many messages have left the event loop's buffer."""
        if self._backlog is not None and self._is_paused and _SAYS_WHAT_IS_LEFT:
            # TLS says how much is left of what it has encrypted, which is longer; but not all of it was written.
            left_size = 1 if self._is_tls else self._transport.get_write_buffer_size()
            self.written_count = self._backlog.written_count(left_size)

    def _note_unsent(self) -> None:
        """Count what waits for the peer, and drop the link if that is too much."""
        if self.closed:
            return
        size = 0
        if self._is_paused:
            size = self.unsent_size_bytes
        if size > self._settings.unsent_size_bytes_max:
            self.abort(f"{SLOW_READER}: over {self._settings.unsent_size_bytes_max} bytes wait for it")
        else:
            self._group.note_unsent(self, size)

    def _has_stalled(self, now: float) -> bool:
        """Drop the link if its peer takes nothing any more."""
        self._note_written()
        if self._taking.goes_on(now):
            self._heard = True  # it reads, if slowly; its pong can only come after all that was sent before
        elif now - self._taking.at >= self._settings.silence_s_max:
            self.abort(f"{SLOW_READER}: took nothing for {self._settings.silence_s_max:g} s")
            return True
        return False

    def _drop_unsent(self) -> None:
        self._can_send = False
        self._backlog = None
        self._out = []
        self._out_size = 0
        self._group.note_unsent(self, 0)

    def _set_deadline(self, deadline: float, reason: str = "") -> None:
        """Drop the connection at `deadline`. Without `reason`, the reason is the one for which it is being closed."""
        self._deadline = deadline
        self._deadline_reason = reason

    def _receive_handshake(self, handshake: Handshake, data: bytes) -> bytes:
        """Take in what comes before the connection is open. Returns what follows the handshake."""
        rest = handshake.receive(data)
        self._reason = self._reason or handshake.reason
        if handshake.refused_as is not None and self._is_counted:
            self._is_counted = False
            self.counts.connections_count -= 1
        if self._protocol.state is State.OPEN:
            self._open()
        self._write_protocol()
        if handshake.is_hopeless:
            self._transport.abort()
        return rest

    def _open(self) -> None:
        name = self._protocol.subprotocol
        self.encoding = Encoding.JSON if name is None else SUBPROTOCOLS[name]
        self._framing = Framing(
            self._protocol, _OPCODES[self.encoding], self._settings.message_size_bytes_max
        )
        self._headers = self._framing.headers
        self._handshake = None
        self.opened = True
        self._can_send = True
        self._deadline = None
        self._write_protocol()
        self.receiver.link_opened(self)

    def _write_protocol(self) -> None:
        """Send at once what the protocol object has to send, after all that is queued."""
        self._can_send = self.opened and self._protocol.state is State.OPEN
        is_ending = False
        for data in self._protocol.data_to_send():
            if data:
                self._out.append(data)
                self._out_size += len(data)
            else:
                is_ending = True
        if not self.closed:
            self.flush()
            if self._is_paused:
                self._note_unsent()
            if is_ending:
                self._end_writing()
        if self._protocol.close_expected() and self._deadline is None:
            self._set_deadline(time.monotonic() + self._settings.close_s_max)

    def _end_writing(self) -> None:
        """Half-close after all that is queued; if the peer does not take that yet, once it does."""
        self._set_deadline(time.monotonic() + self._settings.close_s_max)
        self._is_end_due = self._is_paused
        if self._is_end_due:
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _describe_end(self, exc: Exception | None) -> str:
        protocol = self._protocol
        if protocol.handshake_exc is not None:
            is_server = isinstance(protocol, ServerProtocol)
            return describe_handshake(protocol.handshake_exc, hides_headers=is_server)
        sent, received = protocol.close_sent, protocol.close_rcvd
        if sent is not None and (received is None or protocol.parser_exc is not None):
            return f"protocol broken: {sent}"  # our own `close` would have left a reason
        if received is not None:
            return f"closed by peer: {str(received).replace(_PRIVATE_USE, '')}"
        return f"connection lost: {exc}" if exc is not None else "connection lost"
