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
from .interrupts import HANDLED, ignore_signals

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def signals_handled(
    on_stop: Callable[[signal.Signals], None],
    on_reload: Callable[[], None],
    afterwards: Callable[[], None] = ignore_signals,
) -> Iterator[None]:
    """Within the block, call `on_stop` in the running loop at each SIGINT and SIGTERM, and `on_reload` at SIGHUP. After
    it they change nothing, unless `afterwards` sees to something else: the program is about to end.

    SIGHUP from a terminal that was closed counts as SIGTERM. Has no effect outside the main thread, where Python cannot
    handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    terminal = Terminal()

    def hang_up() -> None:
        if terminal.is_gone:
            on_stop(signal.SIGTERM)
        else:
            on_reload()

    def stop_in_loop(number: int, _: object) -> None:
        loop.call_soon_threadsafe(on_stop, signal.Signals(number))

    with signals_restored_in_forks(HANDLED):
        for number in STOPPING:
            try:
                loop.add_signal_handler(number, on_stop, number)
            except NotImplementedError:  # event loops on Windows handle no signals
                signal.signal(number, stop_in_loop)
        if SIGHUP is not None:
            loop.add_signal_handler(SIGHUP, hang_up)
            receive_hangups()
        try:
            yield
        finally:
            with _signals_blocked():  # in between they would end the process
                for number in HANDLED:
                    with contextlib.suppress(NotImplementedError):
                        loop.remove_signal_handler(number)
                afterwards()


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
