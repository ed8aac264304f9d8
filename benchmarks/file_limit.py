"""How many files, and so connections, this process may have open. On Windows there is no limit to raise."""

import contextlib
import sys

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module or nothing: checked below


def raise_file_limit() -> None:
    """As far as the system allows, for this process and those that it starts."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def files_count_max() -> int:
    """How many files this process may have open at once."""
    if resource is None:
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
