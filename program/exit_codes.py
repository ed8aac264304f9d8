"""Exit codes that mean the same in every program of ours."""

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
