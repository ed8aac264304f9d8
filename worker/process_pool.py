"""Processes for handlers that keep a core busy: made when first needed, replaced when one dies.

The handler's name and arguments cross the process boundary one way, finished bytes the other way, so that no exception
and no result of a handler can fail to be pickled.
"""

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

from ..log.traceback import places
from ..protocol.codec import CODECS
from ..protocol.encodings import Encoding
from .failure import CommandError, describe_exception, describe_unencodable, outcome_of
from .own_context import call_in

logger = logging.getLogger(__name__)

CLOSING_S_MAX: Final = 1.0
"""How long `close` waits for the processes to end. They end at once, except one that is still importing a module."""

_STOPPING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class ProcessReport(NamedTuple):
    """How a handler ended in its process: `result` (encoded), or `error`, `code` and `retry`, and a traceback to log.

    `is_expired`: it did not run, because its deadline had passed before a process was free."""

    result: bytes | None
    error: str = ""
    code: str | None = None
    traceback: str = ""
    is_expired: bool = False
    retry: bool | float | None = None


class ProcessPool:
    """At most `count_max` processes, started with `spawn`: a fork would copy the event loop and its sockets."""

    __slots__ = ("_count_max", "_executor", "_lifeline")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._executor: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None

    def submit(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        encoding: Encoding,
        deadline: float,
    ) -> "Future[ProcessReport]":
        """Run `function` in a process, unless `deadline` (`time.monotonic()`) has passed before it can start.

        The future fails with BrokenProcessPool if a process died meanwhile, and with whatever pickling raises if the
        call cannot be sent there.
        """
        try:
            return self._submit(function, arguments, keywords, encoding, deadline)
        except BrokenProcessPool:
            self.close()
            return self._submit(function, arguments, keywords, encoding, deadline)

    def close(self) -> None:
        """End the processes at once, whatever they are doing, and wait for that a little. A later `submit` makes new
        ones."""
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if self._executor is not None:
            executor, self._executor = self._executor, None
            # Python wakes the pool's thread as it exits, and prints a traceback if that is just closing its pipe.
            closing = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
            closing.start()
            closing.join(CLOSING_S_MAX)

    def _submit(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        encoding: Encoding,
        deadline: float,
    ) -> "Future[ProcessReport]":
        with _stopping_signals_blocked(), _garbage_collection_paused():
            executor = self._executor
            if executor is None:
                executor = self._executor = self._make_executor()
            return executor.submit(_run_handler, function, arguments, keywords, encoding, deadline)

    def _make_executor(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        reader, self._lifeline = context.Pipe(duplex=False)
        return ProcessPoolExecutor(
            self._count_max, mp_context=context, initializer=_prepare_process, initargs=(reader,)
        )


@contextlib.contextmanager
def _stopping_signals_blocked() -> Iterator[None]:
    """A process started here starts with SIGINT and SIGTERM blocked: Ctrl-C goes to the whole terminal group, and would
    print a traceback from a process that is still importing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)


@contextlib.contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """multiprocessing talks to its resource tracker while it makes semaphores and processes. A garbage collection that
    finds an earlier pool in the middle of that would talk to it too, which it refuses, with a confusing warning.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _prepare_process(lifeline: Connection) -> None:
    """In the new process: leave signals to the worker, and exit with it, however it ends."""
    for stopping_signal in _STOPPING_SIGNALS:
        # A handler that does nothing, rather than SIG_IGN, which programs started from here would inherit.
        signal.signal(stopping_signal, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING_SIGNALS)
    threading.Thread(target=_exit_with_worker, args=(lifeline,), name="lifeline", daemon=True).start()


def _exit_with_worker(lifeline: Connection) -> None:
    with contextlib.suppress(OSError):
        lifeline.poll(None)
    os._exit(0)


def _run_handler(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    encoding: Encoding,
    deadline: float,
) -> ProcessReport:
    """In the process: run the handler, and turn its outcome into plain values."""
    # Checked here too, as the pool hands over one call more than it has processes, and that one cannot be taken back.
    # All processes of a machine read the same monotonic clock.
    if time.monotonic() >= deadline:
        return ProcessReport(None, is_expired=True)
    try:
        result = call_in(contextvars.copy_context(), _call, (function, arguments, keywords), {})
    except CommandError as error:
        outcome = outcome_of(error)
        return ProcessReport(None, outcome.text, outcome.code, retry=outcome.retry)
    except BaseException as error:
        return ProcessReport(None, describe_exception(error), None, places(error))
    try:
        return ProcessReport(CODECS[encoding].encode(result))
    except Exception as error:
        failure = describe_unencodable(error, encoding)
        return ProcessReport(None, failure.text, failure.code)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    result = function(*arguments, **keywords)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Awaitable[object]) -> object:
    return await result
