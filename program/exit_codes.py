"""Exit codes that mean the same in every program of ours, and how a process has ended, in words."""

import signal
from typing import Final

SUCCESS: Final = 0
FAILED: Final = 1
USAGE: Final = 2
"""Trying again does not help: an option, a setting or a file is wrong, or a port is taken."""
TIMEOUT: Final = 3
NO_CONNECTION: Final = 5
REFUSED: Final = 6
"""The broker does not know who this is, or this identity may not do that."""
RATE_LIMITED: Final = 7
INTERRUPTED: Final = 130
"""128 + SIGINT, the convention of shells."""


def describe(code: int | None) -> str:
    """How a process ended, to follow a noun: its exit code, or the signal that ended it (negative). None: it is not
    known."""
    if code is None:
        return "has ended"
    if code >= 0:
        return f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL; out of memory?)"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
