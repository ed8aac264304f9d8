"""What SIGINT, which Ctrl-C sends, does to a program of ours from its first line to its last.

By itself Python raises KeyboardInterrupt between any two instructions. In a destructor that is a traceback, and the
program runs on; in the middle of an import or of the interpreter's end it is a traceback, too.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

from .exit_codes import INTERRUPTED
from .hangup import SIGHUP

HANDLED: Final = (signal.SIGINT, signal.SIGTERM, *([] if SIGHUP is None else [SIGHUP]))

_kept: Final[list[Callable[[int, FrameType | None], None]]] = []
"""Handlers that stay when the others are to change nothing."""


def keep_to_the_end(handler: Callable[[int, FrameType | None], None]) -> None:
    """Where `handler`, which raises nothing, handles a signal, `ignore_signals` leaves it there."""
    _kept.append(handler)


def end_at_interrupt() -> None:
    """SIGINT ends the process at once, and without a word. For as long as there is nothing to clean up."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background ignores it
        signal.signal(signal.SIGINT, _end)


def raise_at_interrupt() -> None:
    """SIGINT raises KeyboardInterrupt. For what cleans up after itself, and for code of users."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_signals() -> None:
    """SIGINT, SIGTERM and SIGHUP change nothing: the program has ended. Has no effect outside the main thread.

    Not SIG_IGN, which Python reports if a signal was already on its way.
    """
    if threading.current_thread() is threading.main_thread():
        for number in HANDLED:
            if signal.getsignal(number) not in _kept:
                ignore_signal(number)


def ignore_signal(number: int) -> None:
    """This one changes nothing from now on. In the main thread."""
    signal.signal(number, _ignore)


@contextlib.contextmanager
def handlers_restored() -> Iterator[None]:
    """After the block signals are handled as before it. Has no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass
