"""Whether a source file has changed, been made or been removed since a worker was started: the basis of `--reload`.

watchfiles notices what a file's time does not show: one that is replaced by an older one, or that was not there before.
Where the system reports no changes, as on some mounted file systems, its WATCHFILES_FORCE_POLLING=1 makes it look.
"""

import contextlib
import time
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

from watchfiles import Change, PythonFilter, watch

POLL_INTERVAL_S: Final = 0.25
"""Between two checks: a person who saves a file and looks up sees the worker starting."""

_INSTALLED: Final = "site-packages"
_GLANCE_MS: Final = 1
"""How long a check waits for a change, at most: it is made in the event loop."""


class WatchError(Exception):
    """The files cannot be watched: one line that says why, and what to do."""


class SourceWatch:
    """The Python files in the current directory and all below, except what tools and installers put there. `changed` is
    one that has changed since this was made. Raises WatchError."""

    __slots__ = ("_changes", "_is_settling", "changed")

    def __init__(self) -> None:
        self.changed: Path | None = None
        self._is_settling = False
        try:
            self._changes = watch(
                Path.cwd(),
                watch_filter=_is_source,
                debounce=_GLANCE_MS,
                step=_GLANCE_MS,
                rust_timeout=_GLANCE_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
            next(self._changes)  # from here on it sees all
        except OSError as error:
            raise WatchError(
                f"--reload: the current directory cannot be watched: {error}; if it has too many directories for the "
                "system's limit, set WATCHFILES_FORCE_POLLING=1"
            ) from None

    def look(self) -> bool:
        """Whether a file has changed, and none has since the last check: an editor may write one in several steps."""
        changes = next(self._changes)
        if changes:
            self.changed = self.changed or Path(min(path for _, path in changes))
            self._is_settling = True
            for _, path in changes:
                # Python takes what it compiled for current as long as size and time, in whole seconds, are the same.
                with contextlib.suppress(OSError):
                    Path(cache_from_source(path)).unlink()
            return False
        is_settled = self._is_settling
        self._is_settling = False
        return is_settled

    def wait(self) -> None:
        """Block until a file has changed."""
        while not self.look():
            time.sleep(POLL_INTERVAL_S)


_is_python: Final = PythonFilter()


def _is_source(change: Change, path: str) -> bool:
    return _is_python(change, path) and _INSTALLED not in path
