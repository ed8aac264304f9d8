"""What a forked child of one of our programs must not share with it: its signals.

A handler may fork, as `multiprocessing` does. The child inherits signal handlers that act on this program's event loop,
and the descriptor that wakes it: a SIGTERM for the child would stop its parent. So a child has Python's own handlers
again. What it must not hold of connections is in transport/forks.py.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

_DEFAULTS: Final = {signal.SIGINT: signal.default_int_handler}
"""Where Python's own handler is not that of the system."""

_restored: dict[signal.Signals, Any] = {}
"""The handlers that children get."""

_masks: Final = threading.local()


@contextlib.contextmanager
def signals_restored_in_forks(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Children that are forked within the block handle these signals as a new Python does, those that are ignored now
    excepted. Enter it before the program's own handlers are there."""
    for number in numbers:
        is_ignored = signal.getsignal(number) == signal.SIG_IGN
        _restored[number] = signal.SIG_IGN if is_ignored else _DEFAULTS.get(number, signal.SIG_DFL)
    try:
        yield
    finally:
        _restored.clear()


def _before() -> None:
    # One that arrived in the child before it has its handlers would still reach this program.
    if _restored:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _restored)


def _after_in_parent() -> None:
    before = _masks.__dict__.pop("before", None)
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _after_in_child() -> None:
    if _restored:
        signal.set_wakeup_fd(-1)
        for number, handler in _restored.items():
            signal.signal(number, handler)
        _restored.clear()
    _after_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
