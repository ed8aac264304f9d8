"""Detects, from its own thread, that the event loop is blocked, and reports which handler blocks it.

A handler that blocks the loop keeps heartbeats from being answered until the broker considers the worker dead; from
inside the loop that shows only afterwards. The thread asks the loop for a sign of life and, if none comes, inspects the
loop's stack. Source of the idea: the "event loop was unresponsive" warning of Dask's workers.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Iterable
from types import CodeType, FrameType

from ..log.event import log_event
from ..protocol.limits import SILENCE_S_MAX
from .command import Command, Execution
from .events import LoopBlocked, LoopUnwatched

logger = logging.getLogger(__name__)

PAUSE_S = 0.5
"""Between two signs of life: each costs one wake-up of a thread."""


class LoopWatch:
    """Watches the running loop from `start` to `stop`, and warns once each time that it is blocked for over
    `blocked_s_max` seconds."""

    __slots__ = ("_blocked_s_max", "_commands", "_loop", "_loop_thread_id", "_stopped", "_thread")

    def __init__(self, commands: Iterable[Command], blocked_s_max: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread_id = threading.get_ident()
        self._blocked_s_max = blocked_s_max
        self._commands: dict[CodeType, str] = {
            code: command.name
            for command in commands
            if command.execution is Execution.COROUTINE
            and (code := getattr(command.function, "__code__", None)) is not None
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watch", daemon=True)

    def start(self) -> None:
        """Without a thread to be had, nothing is watched."""
        try:
            self._thread.start()
        except RuntimeError as error:
            log_event(logger, LoopUnwatched(str(error)))

    def stop(self) -> None:
        """Returns at once; the thread ends by itself."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(PAUSE_S):
            turned = threading.Event()
            try:
                self._loop.call_soon_threadsafe(turned.set)
            except RuntimeError:  # the loop is closed
                return
            if not turned.wait(self._blocked_s_max) and not self._stopped.is_set():
                self._warn()
                turned.wait()

    def _warn(self) -> None:
        frame = sys._current_frames().get(self._loop_thread_id)
        command, place = self._find_handler(frame)
        what = command or "code that is not a handler's"
        log_event(logger, LoopBlocked(what, place, self._blocked_s_max, SILENCE_S_MAX))

    def _find_handler(self, frame: FrameType | None) -> tuple[str | None, str]:
        """The command whose handler is on the stack, and its current line; else just the innermost line."""
        place = _place(frame)
        while frame is not None:
            command = self._commands.get(frame.f_code)
            if command is not None:
                return command, _place(frame)
            frame = frame.f_back
        return None, place


def _place(frame: FrameType | None) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place"
