"""One process for handlers, seen from the worker: started, given a call, watched, cancelled, killed.

Each has a channel of its own, so that one that dies, in whatever it is doing, leaves the others untouched. Everything
happens in the event loop, which also sees the process end; there are no threads.
"""

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import Final

from ..program import exit_codes
from ..transport.forks import keep_from_forks, open_to_forks
from . import limits
from .handler_process import (
    CANCEL,
    CREDIT,
    LEFT_TO_WORKER,
    PREFIX_SIZE_BYTES,
    READY,
    REPORT,
    ProcessReport,
    framed,
    run_handlers,
)

_SPAWN: Final = multiprocessing.get_context("spawn")
"""A fork would copy the event loop and its sockets."""


class Channel(asyncio.Protocol):
    """The worker's end of a channel: whole messages, neither of which blocks the event loop.

    `received` is called with each message, `closed` once the process has closed its end, with whether it had not read
    all that it was sent.
    """

    def __init__(self, received: Callable[[bytes], None], closed: Callable[[bool], None]) -> None:
        self._received = received
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._buffer = bytearray()
        self._is_closing = False

    @property
    def is_open(self) -> bool:
        """It may still carry a message. If not, `closed` has been called, or will be."""
        return not (self._is_closing or (self._transport is not None and self._transport.is_closing()))

    def send(self, payload: bytes) -> None:
        """Send a message, as soon as there is a connection; nothing, if it is closed."""
        if not self.is_open:
            return
        if self._transport is None:
            self._unsent.append(framed(payload))
        else:
            self._transport.write(framed(payload))

    def close(self) -> None:
        """Close it, whatever has not been sent. `closed` is called later."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's are no subclass
        if self._is_closing:
            transport.abort()  # type: ignore[attr-defined]
            return
        for message in self._unsent:
            transport.write(message)  # type: ignore[attr-defined]
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= PREFIX_SIZE_BYTES:
            end = PREFIX_SIZE_BYTES + int.from_bytes(buffer[:PREFIX_SIZE_BYTES], "big")
            if len(buffer) < end:
                return
            payload = bytes(memoryview(buffer)[PREFIX_SIZE_BYTES:end])
            del buffer[:end]
            self._received(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        # A pair of local sockets is exact about this on Linux: "reset" if something sent was not read before the other
        # end was closed, "broken pipe" if it was sent afterwards. Systems that report less never report too much.
        self._closed(isinstance(exc, ConnectionResetError | BrokenPipeError))


class Place:
    """One process. Making one starts it; raises OSError if it cannot be started.

    `said` is called with each chunk, and word of progress, of the call that it was given: with the message; `reported`
    when that call has ended; `ended`, once, when the process has ended and there is nothing more to come from it. `how`
    then says how it ended, to follow a noun, and `is_call_unread` whether it certainly had not read its last call.
    `calls_count` is the number of calls that it was given; `is_ready`: it has been able to run one.
    """

    __slots__ = (
        "_channel",
        "_connecting",
        "_ended",
        "_has_exited",
        "_is_call_last",
        "_is_channel_closed",
        "_is_retiring",
        "_loop",
        "_pid_descriptor",
        "_process",
        "_reported",
        "_said",
        "_socket_descriptor",
        "_timer",
        "calls_count",
        "how",
        "is_call_unread",
        "is_ready",
    )

    def __init__(
        self,
        said: Callable[["Place", bytes], None],
        reported: Callable[["Place", ProcessReport], None],
        ended: Callable[["Place"], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._said = said
        self._reported = reported
        self._ended = ended
        self.calls_count = 0
        self.is_ready = False
        self.is_call_unread = False
        self.how = ""
        self._is_call_last = False
        """Nothing was sent after the call, so that what has not been read is of it."""
        self._timer: asyncio.TimerHandle | None = None
        self._has_exited = False
        self._is_channel_closed = False
        self._is_retiring = False
        ours, theirs = socket.socketpair()
        self._process = _SPAWN.Process(target=run_handlers, args=(theirs,), name="handlers")
        try:
            with theirs, _signals_blocked():
                self._process.start()
        except BaseException:
            ours.close()
            raise
        self._socket_descriptor = ours.fileno()
        keep_from_forks(self._socket_descriptor)
        self._channel = Channel(self._received, self._channel_closed)
        self._connecting = self._loop.create_task(self._connect(ours))
        self._pid_descriptor = _pid_descriptor(self._process.pid)
        # Windows: there it is the channel alone that shows the end.
        with contextlib.suppress(NotImplementedError):
            self._loop.add_reader(self._end_descriptor, self._exited)

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """A call may be given to it. If not, it ends soon."""
        return self._channel.is_open

    def run(self, payload: bytes) -> None:
        """Run this pickled call. One at once."""
        self.calls_count += 1
        self._is_call_last = True
        self._channel.send(payload)

    def credit(self, sequence: int) -> None:
        """The broker has taken the chunks of its call up to this one."""
        self._is_call_last = False
        self._channel.send(CREDIT + b"%d" % sequence)

    def cancel(self) -> None:
        """Interrupt the handler, and kill the process a little later."""
        self._is_call_last = False
        self._channel.send(CANCEL)
        self._kill_later()

    def retire(self) -> None:
        """It has nothing to do, and gets nothing more: let it end by itself, but not for long."""
        self._is_retiring = True
        self._channel.close()
        self._kill_later()

    def kill(self) -> None:
        """End the process at once, with all that its handlers have started."""
        if self._has_exited:
            return
        self._channel.close()
        self._kill_group()
        self._process.kill()

    def join(self, timeout_s: float) -> None:
        """Wait until a process that was killed has ended, and finish without the event loop."""
        self._process.join(timeout_s)
        self._exited()
        self._channel.close()
        self._finish()

    def _kill_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(limits.PROCESS_GRACE_S, self.kill)

    def _kill_group(self) -> None:
        # As long as the process has not been waited for, no other one can have its number.
        if hasattr(os, "killpg") and self._process.pid is not None:
            with contextlib.suppress(OSError):  # there is no group yet, or nobody is left in it
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def _end_descriptor(self) -> int:
        """Readable once the process has ended."""
        return self._process.sentinel if self._pid_descriptor is None else self._pid_descriptor

    async def _connect(self, ours: socket.socket) -> None:
        await self._loop.create_connection(lambda: self._channel, sock=ours)

    def _received(self, payload: bytes) -> None:
        if payload == READY:
            self.is_ready = True
        elif self.how:
            return
        elif payload[:1] == REPORT:
            report = ProcessReport(*pickle.loads(memoryview(payload)[1:]))  # noqa: S301  a process of ours
            self._reported(self, report)
        else:
            self._said(self, payload)

    def _channel_closed(self, is_unread: bool) -> None:
        open_to_forks(self._socket_descriptor)
        self.is_call_unread = is_unread and self._is_call_last
        self._is_channel_closed = True
        if self._has_exited:
            self._finish()
        else:
            self._kill_later()  # a process that cannot report anything is of no use

    def _exited(self) -> None:
        """The process has ended. What it has reported may still be on its way."""
        if self._has_exited:
            return
        with contextlib.suppress(NotImplementedError):
            self._loop.remove_reader(self._end_descriptor)
        if not self._is_retiring:
            self._kill_group()
        self._has_exited = True
        if self._timer is not None:
            self._timer.cancel()
        if self._is_channel_closed:
            self._finish()
        else:  # what a handler has started, and left, may have the other end
            self._timer = self._loop.call_later(limits.PROCESS_GRACE_S, self._finish)

    def _finish(self) -> None:
        if self.how:
            return
        self.how = exit_codes.describe(self._process.exitcode)
        if self._timer is not None:
            self._timer.cancel()
        self._channel.close()
        if self._pid_descriptor is not None:
            os.close(self._pid_descriptor)
        with contextlib.suppress(ValueError):  # it could not be waited for
            self._process.close()
        self._ended(self)


def _pid_descriptor(pid: int | None) -> int | None:
    """A descriptor of the process itself; None where there is none. Its sentinel, a pipe, may be inherited by what it
    has started, and then does not show its end."""
    try:
        return os.pidfd_open(pid or 0)
    except (AttributeError, OSError):
        return None


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process started here starts with these signals blocked: Ctrl-C goes to the whole terminal group, and would
    print a traceback from a process that is still importing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Its first use starts a process, and some versions of Python then unblock the signals.
    resource_tracker.ensure_running()
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_WORKER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
