"""Ends a worker's process in time, although something still runs that Python would wait for.

Once a program has ended, Python waits for its threads: those of `asyncio.to_thread`, of any executor, and all others
that are no daemons. Nothing can stop one from outside, so when the time is up the process ends without them: what is
registered with `atexit` is called first, and the standard streams are flushed. What is registered may wait as well, as
`multiprocessing` does for processes: if nothing comes after the worker, that too is over when the time is up.
"""

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as executors
from typing import Final, NoReturn

from ..log.event import log_event
from . import limits
from .events import EndedWithoutThreads

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S: Final = 0.05
"""Between two checks whether a thread has ended, or the program has."""


class UnwaitedExecutor(ThreadPoolExecutor):
    """The executor of an event loop that does not wait for its threads when it closes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Start nothing more."""
        super().shutdown(wait=False, cancel_futures=True)


class LastMoment:
    """When a worker's process must have ended, and with which exit code. Made by the main thread; a thread of its own
    sees to it. `ends_at`: from when on no thread is waited for that is left, by `time.monotonic()`; infinite while
    nothing has asked it to end. `is_whole`: the process is for the worker alone; if not, threads that were there before
    are the program's own.
    """

    __slots__ = (
        "_exits_at",
        "_is_whole",
        "_latest_at",
        "_left",
        "_moved",
        "_others",
        "code",
        "ends_at",
    )

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._exits_at: float | None = None
        """When Python began to call exit functions, if nothing comes after the worker."""
        self._others = frozenset() if is_whole else frozenset(threading.enumerate())
        self.ends_at = float("inf")
        self.code = 0
        self._latest_at = float("inf")
        self._moved = threading.Condition()
        self._left: list[threading.Thread] | None = None
        """The threads that are left, once the worker has ended; None while it runs."""
        with contextlib.suppress(RuntimeError):  # no thread can be started now: it ends when it ends
            threading.Thread(target=self._watch, name="last-moment", daemon=True).start()

    def stop(self, within_s: float, code: int = 0) -> None:
        """The worker is to end in so many seconds: in order, or if that is 0 at once. May be called by a handler of
        signals."""
        with self._moved:  # reentrant, as the same thread may be here already
            self.ends_at, self.code = time.monotonic() + within_s, code
            self._latest_at = self.ends_at + (limits.LEAVING_S_MAX if within_s else limits.STOPPING_S_MAX)
            self._moved.notify()

    def worker_ended(self) -> None:
        """Only the event loop is still to be closed."""
        with self._moved:
            self._latest_at = min(self._latest_at, time.monotonic() + limits.CLOSING_S_MAX)
            self._moved.notify()

    def loop_closed(self) -> None:
        """The program goes on without the worker. Once it has ended too, threads that the worker's handlers have left
        are waited for until `ends_at`."""
        with self._moved:
            self._left = [thread for thread in _waited_for() if thread not in self._others]
            self._moved.notify()

    def wait(self) -> None:
        """The program has nothing more to do. Wait for threads that are left, until `ends_at`, and end the process
        without those that still run then."""
        self.loop_closed()
        left = self._left or []
        while left and time.monotonic() < self.ends_at:
            left[0].join(LOOK_INTERVAL_S)
            left = [thread for thread in left if thread.is_alive()]
        if left:
            end_without(left, self.code)
        with self._moved:
            self._exits_at = time.monotonic()
            self._moved.notify()

    def _watch(self) -> None:
        with self._moved:
            while self._left is None and (left_s := self._latest_at - time.monotonic()) > 0:
                self._moved.wait(min(left_s, threading.TIMEOUT_MAX))
        if self._left is None:
            end_without([], self.code)
        if self._is_whole:
            self._watch_exit()
        while self.ends_at < float("inf") and any(thread.is_alive() for thread in self._left):
            if time.monotonic() >= self.ends_at and _is_exiting():
                end_without([thread for thread in self._left if thread.is_alive()], self.code)
            time.sleep(LOOK_INTERVAL_S)

    def _watch_exit(self) -> NoReturn:
        """The program ends as Python ends it, which calls exit functions; in time, or without the rest of them."""
        with self._moved:
            while self._exits_at is None:
                self._moved.wait()
            while True:
                left_s = max(self.ends_at, self._exits_at + limits.FLUSH_S_MAX) - time.monotonic()
                if left_s <= 0:
                    break
                self._moved.wait(min(left_s, threading.TIMEOUT_MAX))
        end_flushed("exit functions", self.code, _flush_streams)


def _waited_for() -> list[threading.Thread]:
    """The threads that Python waits for when the program ends: of executors also daemons, as those are that a thread
    which is one has started."""
    of_executors: object = getattr(executors, "_threads_queues", ())
    waited_for = of_executors if isinstance(of_executors, Container) else ()
    main = threading.main_thread()
    return [
        thread
        for thread in threading.enumerate()
        if (not thread.daemon or thread in waited_for) and thread is not main
    ]


def end_without(left: list[threading.Thread], code: int) -> NoReturn:
    """End the process: exit functions, flushed, and nothing else. Takes FLUSH_S_MAX at most."""
    end_flushed(", ".join(thread.name for thread in left) or "the event loop", code, _flush)


def end_flushed(what: str, code: int, flush: Callable[[], None]) -> NoReturn:
    """End the process, although `what` still runs. `flush` may take FLUSH_S_MAX."""
    log_event(logger, EndedWithoutThreads(what))
    flushing = threading.Thread(target=flush, name="flush", daemon=True)
    try:
        flushing.start()
        flushing.join(limits.FLUSH_S_MAX)
    except RuntimeError:  # there is no thread for it
        flush()
    os._exit(code)


def _flush() -> None:
    atexit._run_exitfuncs()  # as Python does; there is no other way to them
    _flush_streams()


def _flush_streams() -> None:
    for handler in logging.root.handlers:
        handler.flush()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _is_exiting() -> bool:
    """The program has ended, and Python waits for its threads."""
    shutdown: Callable[[], None] = threading._shutdown  # type: ignore[attr-defined]
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_code is shutdown.__code__:
            return True
        frame = frame.f_back
    return False
