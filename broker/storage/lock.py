"""The file lock that keeps a second broker off a journal.

It is on a file of its own, `<journal>.lock`, so that it can be taken before there is a journal. The system releases it
when the process ends, however it ends; the file stays.
"""

import os
import sys
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600


class Locked(Exception):
    """Another process has the lock. `holder`: its process id, if it could be read."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class FileLock:
    """A lock on a file, which is made if there is none."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take it, or raise Locked at once. Raises OSError if the file cannot be made."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            take(descriptor)
        except OSError:
            holder = os.pread(descriptor, 32, 1).decode("ascii", "replace") if sys.platform != "win32" else ""
            os.close(descriptor)
            raise Locked(holder.strip()) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f" {os.getpid()}\n".encode())
        self._descriptor = descriptor
        HELD.add(self)

    def release(self) -> None:
        """Give it back, if it is held."""
        HELD.discard(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


HELD: Final[set[FileLock]] = set()
"""The locks that this process holds."""


def release_in_child() -> None:
    """A child made by `fork` has a copy of each descriptor, and would hold the lock on after the broker's end. Closing
    the copies leaves the broker its locks."""
    for lock in list(HELD):
        lock.release()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=release_in_child)


if sys.platform == "win32":
    import msvcrt

    def take(descriptor: int) -> None:
        """Lock the first byte. Raises OSError if another process has it."""
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def take(descriptor: int) -> None:
        """Lock the file. Raises OSError if another process has it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
