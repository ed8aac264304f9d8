"""Runs a coroutine that SIGINT cancels: where it waits, and not in the middle of whatever Python does.

Must not know what the coroutine does.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from .exit_codes import INTERRUPTED
from .interrupts import handlers_restored

Result = TypeVar("Result")


def run_interruptible(
    main: Callable[[], Coroutine[Any, Any, Result]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Result:
    """The result of `main()`, run in a new event loop. The first SIGINT cancels it, and raises KeyboardInterrupt once
    it has ended; the second ends the process at once. A SIGINT that is ignored stays so."""
    with handlers_restored(), asyncio.Runner(loop_factory=loop_factory) as runner:
        interruption = _Interruption(runner.get_loop())
        if _can_be_interrupted():
            signal.signal(signal.SIGINT, interruption.receive)
        try:
            return runner.run(interruption.guard(main))
        except asyncio.CancelledError:
            if interruption.has_come:
                raise KeyboardInterrupt from None
            raise


class _Interruption:
    __slots__ = ("_loop", "_task", "has_come")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self.has_come = False

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        if self.has_come:
            os._exit(INTERRUPTED)
        self.has_come = True
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def guard(self, main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        self._task = asyncio.current_task()
        if self.has_come:
            raise asyncio.CancelledError
        return await main()


def _can_be_interrupted() -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
