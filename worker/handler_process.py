"""What a process for handlers does: one call after another, as they arrive over its channel to the worker.

A handler's name and arguments cross the process boundary one way, finished bytes the other way, so that no exception
and no result of a handler can fail to be pickled. The main thread runs handlers. Another one reads the channel: so a
handler can be cancelled while it runs, and the process ends with its worker, however that ends.
"""

import asyncio
import contextlib
import contextvars
import inspect
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from ..log.traceback import places
from ..program.forks import signals_restored_in_forks
from ..program.interrupts import HANDLED
from ..protocol.codec import CODECS
from ..protocol.encodings import Encoding
from . import limits
from .failure import (
    CommandError,
    ContextCancelled,
    describe_exception,
    describe_unencodable,
    outcome_of,
    outside,
)
from .own_context import call_in
from .process_outlet import UNWANTED, Reporter, RunningHere, Setting

PREFIX_SIZE_BYTES: Final = 8
"""Each message on a channel follows its length: this many bytes, the highest first."""

CANCEL: Final = b""
"""To the process: the result of the handler that runs is not needed."""

CREDIT: Final = b"t"
"""To the process: the first byte of a message with a sequence, in decimal digits: the chunks of the handler that runs
were taken up to this one. Every other message is a pickled ProcessCall, whose first byte is another."""

READY: Final = b""
"""From the process: it can run handlers. Other messages start with CHUNK or PROGRESS, or with this byte:"""

REPORT: Final = b"r"
"""From the process: the first byte of a message with a pickled ProcessReport."""

LEFT_TO_WORKER: Final = HANDLED
"""Terminals and service managers send these to all processes of a worker. It is the worker that reacts to them."""


class ProcessCall(NamedTuple):
    """A handler, its arguments, the encoding of its result, and until when (`time.monotonic()`) it may start.
    `setting`: if it has a context, or yields chunks."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    encoding: Encoding
    deadline: float
    setting: Setting | None = None


class ProcessReport(NamedTuple):
    """How a call ended: `result` (encoded), or `error`, `code` and `retry`, and a traceback to log.

    `is_expired`: it did not run, because it was cancelled or its deadline had passed before it could. `how`, if
    its process has died: in which way, to follow a noun. `is_lost`: it died while it may have run it."""

    result: bytes | None = None
    how: str = ""
    error: str = ""
    code: str | None = None
    traceback: str = ""
    is_expired: bool = False
    is_lost: bool = False
    retry: bool | float | None = None


EXPIRED: Final = ProcessReport(is_expired=True)


def packed(call: ProcessCall) -> bytes:
    """A call as a message. Raises whatever pickling raises."""
    return pickle.dumps(tuple(call))


def framed(payload: bytes) -> bytes:
    """A message as it is sent over a channel."""
    return len(payload).to_bytes(PREFIX_SIZE_BYTES, "big") + payload


def run_handlers(channel: socket.socket) -> None:
    """All that the process does, until the worker closes the other end of `channel`."""
    HandlerProcess(channel).run()


class HandlerProcess:
    """The process, seen from inside."""

    __slots__ = (
        "_calls",
        "_channel",
        "_is_cancelled",
        "_is_running",
        "_is_writing",
        "_reporter",
        "_running",
        "_write_lock",
    )

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._write_lock = threading.Lock()
        self._calls: SimpleQueue[bytes | None] = SimpleQueue()
        self._is_running = False
        self._is_cancelled = False
        self._is_writing = False
        """The main thread writes to the channel, or waits for that: it must not be interrupted within a message."""
        self._running: RunningHere | None = None
        self._reporter = Reporter(self._write)

    def run(self) -> None:
        """Run what arrives, until there is nothing more to come."""
        if hasattr(os, "setpgid"):
            # A group of its own, so that what a handler has started ends with it if it is killed.
            os.setpgid(0, 0)
        with signals_restored_in_forks(LEFT_TO_WORKER):
            for number in LEFT_TO_WORKER:
                # A handler that does nothing, rather than SIG_IGN, which programs started from here would inherit.
                signal.signal(number, self._interrupt)
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_WORKER)
            threading.Thread(target=self._listen, name="channel", daemon=True).start()
            # Cancelled at the very end of a handler: the worker has another process started.
            with contextlib.suppress(ContextCancelled, BrokenPipeError, ConnectionResetError):
                self._write(READY)
                while (payload := self._calls.get()) is not None:
                    self._write(REPORT + pickle.dumps(self._run(payload)))

    def _run(self, payload: bytes) -> ProcessReport:
        self._is_running = True
        try:
            if self._is_cancelled:
                return EXPIRED
            return self._run_call(payload)
        finally:
            self._is_running = False
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):  # closed, or replaced by the handler
                    stream.flush()

    def _interrupt(self, *_: object) -> None:
        """A signal has arrived. If it is `_listen` that has sent it, a handler ends here, once."""
        if self._is_cancelled and self._is_running and not self._is_writing:
            self._is_running = False
            raise ContextCancelled(UNWANTED.reason)

    def _write(self, payload: bytes) -> None:
        """Send a whole message. From any thread."""
        if threading.current_thread() is not threading.main_thread():
            with self._write_lock:
                self._channel.sendall(framed(payload))
            return
        self._is_writing = True
        try:
            with self._write_lock:
                self._channel.sendall(framed(payload))
        finally:
            self._is_writing = False
        self._interrupt()  # by a signal that came meanwhile

    def _listen(self) -> None:
        """In a thread: take what the worker sends, and see to it that the process ends when the worker does."""
        with contextlib.suppress(OSError):
            while (payload := self._receive()) is not None:
                running = self._running
                if payload[:1] == CREDIT:
                    if running is not None:
                        running.credit(int(payload[1:]))
                    continue
                if payload != CANCEL:
                    self._calls.put(payload)
                    continue
                self._is_cancelled = True
                if running is not None:
                    running.cancel()
                if hasattr(signal, "pthread_kill"):
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        if not self._is_running:
            self._calls.put(None)
            time.sleep(limits.PROCESS_GRACE_S)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)

    def _receive(self) -> bytes | None:
        """The next message; None once the worker has closed the channel."""
        prefix = self._channel.recv(PREFIX_SIZE_BYTES, socket.MSG_WAITALL)
        if len(prefix) < PREFIX_SIZE_BYTES:
            return None
        size_bytes = int.from_bytes(prefix, "big")
        payload = bytearray()
        while len(payload) < size_bytes:
            part = self._channel.recv(min(size_bytes - len(payload), limits.CHANNEL_READ_SIZE_BYTES))
            if not part:
                return None
            payload += part
        return bytes(payload)

    def _run_call(self, payload: bytes) -> ProcessReport:
        """Run a call, and turn its outcome into plain values."""
        try:
            # This may import the handler's module.
            call = ProcessCall(*pickle.loads(payload))  # noqa: S301  the worker has sent it
            # Checked here too, as importing may take long. All processes of a machine read the same monotonic clock.
            if time.monotonic() >= call.deadline:
                return EXPIRED
            context = contextvars.copy_context()
            keywords = call.keywords
            if call.setting is not None:
                self._running = RunningHere(
                    call.setting, call.deadline, call.encoding, self._write, self._reporter
                )
                if self._is_cancelled:
                    return EXPIRED
                keywords = context.run(self._running.keywords, keywords)
            result = call_in(context, _call, (call.function, call.arguments, keywords), {})
        except CommandError as error:
            outcome = outcome_of(error)
            return ProcessReport(error=outcome.text, code=outcome.code, retry=outcome.retry)
        except BaseException as error:
            return ProcessReport(error=describe_exception(error), traceback=places(outside(error)))
        finally:
            if self._running is not None:
                self._running.close()
                self._running = None
        try:
            return ProcessReport(result=CODECS[call.encoding].encode(result))
        except Exception as error:
            failure = describe_unencodable(error, call.encoding)
            return ProcessReport(error=failure.text, code=failure.code)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    result = function(*arguments, **keywords)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Awaitable[object]) -> object:
    return await result
