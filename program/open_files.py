"""How many files, and so connections, a process may have open."""

import contextlib

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module or None, checked below


def raise_open_files_limit() -> None:
    """Raise the soft limit, which is often 1,024, to the hard one. Leave it if the system refuses."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
