"""Signals in an event loop: what asks a program to stop, and what asks it to reload.

Must not know how a program does either.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Final

from .forks import signals_restored_in_forks
from .hangup import SIGHUP, Terminal, receive_hangups
from .interrupts import HANDLED, ignore_signal

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals_handled(
    on_stop: Callable[[signal.Signals], None],
    on_reload: Callable[[], None],
    afterwards: Callable[[int], None] = ignore_signal,
) -> Iterator[None]:
    """Within the block, call `on_stop` in the running loop at each SIGINT and SIGTERM, and `on_reload` at SIGHUP. After
    it they change nothing, unless `afterwards`, called with each of them, sees to something else: the program is about
    to end.

    SIGHUP from a terminal that was closed counts as SIGTERM. Has no effect outside the main thread, where Python cannot
    handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    terminal = Terminal()
    is_over = False

    def stop(number: signal.Signals) -> None:
        if not is_over:
            on_stop(number)

    def hang_up() -> None:
        if terminal.is_gone:
            stop(signal.SIGTERM)
        elif not is_over:
            on_reload()

    def stop_in_loop(number: int, _: object) -> None:
        loop.call_soon_threadsafe(stop, signal.Signals(number))

    with signals_restored_in_forks(HANDLED):
        for number in STOPPING:
            try:
                loop.add_signal_handler(number, stop, number)
            except NotImplementedError:  # event loops on Windows handle no signals
                signal.signal(number, stop_in_loop)
        if SIGHUP is not None:
            loop.add_signal_handler(SIGHUP, hang_up)
            receive_hangups()
        try:
            yield
        finally:
            is_over = True
            with _signals_blocked():  # in between they would end the process
                for number in HANDLED:
                    # uvloop changes nothing any more once it has stopped. While it runs, to remove a handler brings the
                    # default back for a moment, and another thread, where the signal is not blocked, may get it then.
                    if isinstance(loop, asyncio.BaseEventLoop):
                        with contextlib.suppress(NotImplementedError):
                            loop.remove_signal_handler(number)
                    afterwards(number)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Signals that come within the block come after it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
