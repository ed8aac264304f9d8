"""Which source files a worker is made of, and whether one of them has changed: the basis of `--reload`.

Modification times are polled, which works on every file system, mounted ones included.
"""

import os
import sys
import time
from pathlib import Path
from typing import Final

POLL_INTERVAL_S: Final = 0.25
"""Between two checks: a person who saves a file and looks up sees the worker starting."""


class SourceWatch:
    """The Python files under `root` that this process has imported, and those included by hand. `changed` is the first
    of them that was found changed."""

    __slots__ = ("_extra", "_root", "_times_ns", "changed")

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._extra: tuple[Path, ...] = ()
        self._times_ns: dict[Path, int] = {}
        self.changed: Path | None = None

    def look(self) -> bool:
        """Whether a file has changed since it was first seen."""
        for path in (*self._extra, *self._imported()):
            try:
                time_ns = path.stat().st_mtime_ns
            except OSError:  # being replaced by an editor, or deleted: what matters is what comes after
                continue
            if self._times_ns.setdefault(path, time_ns) != time_ns:
                self.changed = path
                return True
        return False

    def wait(self) -> None:
        """Block until a file changes."""
        while not self.look():
            time.sleep(POLL_INTERVAL_S)

    def include(self, files: tuple[Path, ...]) -> bool:
        """Watch these too. False if there is still nothing to watch that could change."""
        self._extra = files
        self.look()
        return bool(self._times_ns)

    def _imported(self) -> list[Path]:
        files = [getattr(module, "__file__", None) for module in tuple(sys.modules.values())]
        prefix = f"{self._root}{os.sep}"
        return [
            Path(file)
            for file in files
            if file is not None
            and file.startswith(prefix)
            and "site-packages" not in file
            and file.endswith(".py")
        ]
