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

PREFIX_SIZE_BYTES: Final = 8
"""Each message on a channel follows its length: this many bytes, the highest first."""

CANCEL: Final = b""
"""To the process: the result of the handler that runs is not needed. Every other message is a pickled ProcessCall."""

READY: Final = b""
"""From the process: it can run handlers. Every other message is a pickled ProcessReport."""

LEFT_TO_WORKER: Final = HANDLED
"""Terminals and service managers send these to all processes of a worker. It is the worker that reacts to them."""


class ProcessCall(NamedTuple):
    """A handler, its arguments, the encoding of its result, and until when (`time.monotonic()`) it may start."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    encoding: Encoding
    deadline: float


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

    __slots__ = ("_calls", "_channel", "_is_cancelled", "_is_running")

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._calls: SimpleQueue[bytes | None] = SimpleQueue()
        self._is_running = False
        self._is_cancelled = False

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
                self._channel.sendall(framed(READY))
                while (payload := self._calls.get()) is not None:
                    self._channel.sendall(framed(pickle.dumps(self._run(payload))))

    def _run(self, payload: bytes) -> ProcessReport:
        self._is_running = True
        try:
            if self._is_cancelled:
                return EXPIRED
            return _run_call(payload)
        finally:
            self._is_running = False
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):  # closed, or replaced by the handler
                    stream.flush()

    def _interrupt(self, *_: object) -> None:
        """A signal has arrived. If it is `_listen` that has sent it, a handler ends here, once."""
        if self._is_cancelled and self._is_running:
            self._is_running = False
            raise ContextCancelled("its result is no longer needed")

    def _listen(self) -> None:
        """In a thread: take what the worker sends, and see to it that the process ends when the worker does."""
        with contextlib.suppress(OSError):
            while (payload := self._receive()) is not None:
                if payload != CANCEL:
                    self._calls.put(payload)
                    continue
                self._is_cancelled = True
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


def _run_call(payload: bytes) -> ProcessReport:
    """Run a call, and turn its outcome into plain values."""
    try:
        # This may import the handler's module.
        call = ProcessCall(*pickle.loads(payload))  # noqa: S301  the worker has sent it
        # Checked here too, as importing may take long. All processes of a machine read the same monotonic clock.
        if time.monotonic() >= call.deadline:
            return EXPIRED
        result = call_in(
            contextvars.copy_context(), _call, (call.function, call.arguments, call.keywords), {}
        )
    except CommandError as error:
        outcome = outcome_of(error)
        return ProcessReport(error=outcome.text, code=outcome.code, retry=outcome.retry)
    except BaseException as error:
        return ProcessReport(error=describe_exception(error), traceback=places(outside(error)))
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
