"""What went wrong with the journal, in one line: what, where, what to do."""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from ..jobs.ports import JournalError

FAULTS: Final[dict[int, str]] = {
    sqlite3.SQLITE_FULL: "the disk is full; free space on it, or use another disk",
    sqlite3.SQLITE_READONLY: "it cannot be written; check its permissions and those of its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check its permissions and those of its folder",
    sqlite3.SQLITE_PERM: "it cannot be opened; check its permissions and those of its folder",
    sqlite3.SQLITE_NOTADB: "this is not a journal of Taskferry; name another file with --journal",
    sqlite3.SQLITE_CORRUPT: "it is damaged; see `taskferry journal check`, and restore a backup",
    sqlite3.SQLITE_BUSY: "another program has locked it; no other may write it",
    sqlite3.SQLITE_LOCKED: "another program has locked it; no other may write it",
}
"""By SQLite's primary result code. https://www.sqlite.org/rescode.html"""

PRIMARY_CODE: Final = 0xFF
"""The bits of the primary code in an extended one."""


def journal_error(path: Path, error: Exception) -> JournalError:
    """What the operator is shown for an error of SQLite or of the file system."""
    return JournalError(f"journal {path}: {fault(error)}")


def fault(error: Exception) -> str:
    """What went wrong, and what to do."""
    if isinstance(error, sqlite3.Error):
        code = primary_code(error)
        if code == sqlite3.SQLITE_IOERR:
            return f"the disk fails ({error.sqlite_errorname}); check it and the system's log"
        return FAULTS.get(code, f"SQLite reports: {error}")
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return FAULTS[sqlite3.SQLITE_FULL]
        return f"{os.strerror(error.errno) if error.errno else error}; check its permissions and those of its folder"
    return f"{type(error).__name__}: {error}"


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors of the module itself."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE
