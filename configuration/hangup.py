"""What SIGHUP means: to a program without a terminal, a wish that it read its configuration anew; to one whose terminal
has just been closed, the end.

Knows terminals; must not know what a program does in either case.
"""

import os
import signal
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
