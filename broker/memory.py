"""Gives memory back to the system after much of it was in use.

glibc keeps what was freed, for later: a broker that once held 500 MB for slow readers would be that large for ever,
beside others on its machine. `malloc_trim` gives it back; a call takes some milliseconds for a gigabyte, so it is made
only after much was freed. Elsewhere (musl, macOS, Windows) freed memory goes back by itself, or not at all.
"""

import ctypes
from collections.abc import Callable
from typing import Final

TRIM_SIZE_BYTES_MIN: Final = 32 * 1024 * 1024
"""So much must have been freed before it is given back. Less is soon in use again, and to ask the system for it anew
costs more than it is worth. What is in use is looked at twice a second, so the most that ever was is not seen: around
that, much more was allocated and freed."""


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
