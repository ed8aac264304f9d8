"""What SIGHUP means: reload the configuration, or, if the terminal has just been closed, stop.

Must not know how a program does either.
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
        """Whether there was one and it has been closed. `isatty` is then false for the descriptors that led to it."""
        return bool(self._descriptors) and not any(os.isatty(descriptor) for descriptor in self._descriptors)


@contextlib.contextmanager
def hangups_blocked() -> Iterator[None]:
    """A process started within the block has SIGHUP blocked until it calls `receive_hangups`."""
    if SIGHUP is None:
        yield
        return
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)


def receive_hangups() -> None:
    """Unblock SIGHUP, which may have been blocked when this process was started. Call it once there is a handler."""
    if SIGHUP is not None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGHUP})
