"""What SIGHUP means: to a program without a terminal, a wish that it read its configuration anew; to one whose terminal
has just been closed, the end.

Knows terminals; must not know what a program does in either case.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Final

SIGHUP: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)
"""None on Windows."""


class Terminal:
    """The terminal that a program was started in, if any."""

    __slots__ = ("_descriptors",)

    def __init__(self) -> None:
        self._descriptors = [descriptor for descriptor in range(3) if os.isatty(descriptor)]

    @property
    def is_gone(self) -> bool:
        """It was there and is closed. A descriptor that leads to it is none of a terminal any more."""
        return bool(self._descriptors) and not any(os.isatty(descriptor) for descriptor in self._descriptors)


@contextlib.contextmanager
def hangups_blocked() -> Iterator[None]:
    """A process that is started in here begins with SIGHUP blocked, until it says `receive_hangups`."""
    if SIGHUP is None:
        yield
        return
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)


def receive_hangups() -> None:
    """Let SIGHUP come, if it was blocked when this process was started: its handler is there now."""
    if SIGHUP is not None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGHUP})
