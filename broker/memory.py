"""Keeps memory that was freed for the next message, and gives it back to the system after much of it was in use.

glibc by itself does neither well. It gives the top of its heap back as soon as some hundred kilobytes are free there,
and asks for them again: with messages of 256 KiB that is six system calls and 64 page faults for each, a quarter of its
CPU. And it keeps what lies below: a broker that once held 500 MB for slow readers would be that large for ever, beside
others on its machine. `mallopt` ends the one; `malloc_trim` gives everything back that is free, in some milliseconds
for a gigabyte, so it is called only after much was freed. Elsewhere (musl, macOS, Windows) there is neither.
"""

import contextlib
import ctypes
from collections.abc import Callable
from typing import Final

TRIM_SIZE_BYTES_MIN: Final = 32 * 1024 * 1024
"""So much must have been freed before it is given back. Less is soon in use again, and to ask the system for it anew
costs more than it is worth. What is in use is looked at twice a second, so the most that ever was is not seen: around
that, much more was allocated and freed."""

MAPPED_SIZE_BYTES_MIN: Final = 32 * 1024 * 1024
"""From this size on a block is a mapping of its own, which goes back when it is freed. The most that glibc takes, and
more than a message has."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Of `mallopt`, in glibc's malloc.h."""


class Memory:
    """`used_size_bytes`: what the broker holds for others now. `trim`: gives back what is free."""

    def __init__(self, used_size_bytes: Callable[[], int], trim: Callable[[], None] | None = None) -> None:
        self._used_size_bytes = used_size_bytes
        self._trim = trim or _malloc_trim()
        self._peak_size_bytes = 0

    def check(self) -> None:
        """Give memory back if much was freed since the last time. To be called twice a second."""
        used = self._used_size_bytes()
        self._peak_size_bytes = max(self._peak_size_bytes, used)
        if self._peak_size_bytes - used >= TRIM_SIZE_BYTES_MIN:
            self._peak_size_bytes = used
            self._trim()


def _malloc_trim() -> Callable[[], None]:
    """That of the C library; nothing if it has none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda: None
    return lambda: trim(0)


def keep_freed() -> None:
    """Let the C library keep up to TRIM_SIZE_BYTES_MIN at the top of its heap. For the whole process; does nothing
    where there is no `mallopt`."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        # Each setting stops glibc from adjusting the other by itself, so both are needed.
        mallopt(_M_TRIM_THRESHOLD, TRIM_SIZE_BYTES_MIN)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_SIZE_BYTES_MIN)
