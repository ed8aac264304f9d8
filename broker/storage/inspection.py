"""A journal as an operator sees it, whether a broker runs on it or not: what is in it, is it sound, a copy of it.

Each opens a connection of its own that can only read. That does not disturb the broker: readers of a WAL see what was
committed when they began, and block no writer; only a WAL that a long reader needs is not cut back meanwhile.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ..jobs.ports import JournalError
from ..jobs.states import JobState
from .database import BUSY_S, back_up, recognize
from .errors import fault, journal_error
from .schema import SCHEMA

FAULTS_COUNT_MAX: Final = 20
"""Lines that `check` finds at most."""


class CommandCounts(NamedTuple):
    """Jobs of one command, by state."""

    command: str
    counts: dict[str, int]


class JournalInfo(NamedTuple):
    """What is in a journal. `size_bytes`: the file; `wal_size_bytes`: what is not yet copied into it;
    `free_size_bytes`: room in the file, which is used again. `open_size_bytes`, `kept_size_bytes`: data of open jobs,
    and data and results of ended ones. Times: seconds since 1970."""

    path: str
    schema: int
    size_bytes: int
    wal_size_bytes: int
    free_size_bytes: int
    counts: dict[str, int]
    commands: list[CommandCounts]
    open_size_bytes: int
    kept_size_bytes: int
    oldest_submitted_at: float | None
    schedules_count: int
    inboxes_count: int


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, in a transaction: all that is read is of one moment. Raises JournalError."""
    if not path.is_file():
        raise JournalError(f"journal {path}: there is no such file; the first job makes it")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
        try:
            connection.isolation_level = None
            connection.execute("BEGIN")
            version = recognize(connection, path, SCHEMA)
            if version is not None and version < SCHEMA.version:
                raise JournalError(
                    f"journal {path}: an older Taskferry wrote it (schema {version}, this one reads "
                    f"{SCHEMA.version}); a broker of this version upgrades it when it starts"
                )
            if version is None:
                raise JournalError(f"journal {path}: it is empty; the first job makes its tables")
            yield connection
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise journal_error(path, error) from None


def info(path: Path) -> JournalInfo:
    """What is in a journal. Raises JournalError."""
    with reading(path) as connection:
        rows = connection.execute(
            "SELECT coalesce(command, '?'), state, count(*), total(data_size_bytes), total(result_size_bytes), "
            "min(submitted_at) FROM life LEFT JOIN lane USING (lane) GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
        commands: dict[str, dict[str, int]] = {}
        counts = {state.name.lower(): 0 for state in JobState}
        open_size_bytes = kept_size_bytes = 0
        oldest: list[float] = []
        for command, state, count, data_size_bytes, result_size_bytes, submitted_at in rows:
            name = JobState(state).name.lower()
            counts[name] += count
            commands.setdefault(command, dict.fromkeys(counts, 0))[name] += count
            if state > JobState.ASSIGNED:
                kept_size_bytes += int(data_size_bytes + result_size_bytes)
            else:
                open_size_bytes += int(data_size_bytes)
                oldest.append(submitted_at)
        wal = path.with_name(f"{path.name}-wal")
        return JournalInfo(
            path=str(path),
            schema=number(connection, "PRAGMA user_version"),
            size_bytes=path.stat().st_size,
            wal_size_bytes=wal.stat().st_size if wal.exists() else 0,
            free_size_bytes=number(connection, "PRAGMA freelist_count")
            * number(connection, "PRAGMA page_size"),
            counts=counts,
            commands=[CommandCounts(*found) for found in commands.items()],
            open_size_bytes=open_size_bytes,
            kept_size_bytes=kept_size_bytes,
            oldest_submitted_at=min(oldest, default=None),
            schedules_count=number(connection, "SELECT count(*) FROM schedule"),
            inboxes_count=number(connection, "SELECT count(*) FROM client"),
        )


def number(connection: sqlite3.Connection, statement: str) -> int:
    """The one number that a statement finds."""
    found: int = connection.execute(statement).fetchone()[0]
    return found


ORPHANS: Final = {
    "jobs without a state": "SELECT count(*) FROM job WHERE seq NOT IN (SELECT seq FROM life)",
    "states without a job": "SELECT count(*) FROM life WHERE seq NOT IN (SELECT seq FROM job)",
    "jobs of an unknown lane": "SELECT count(*) FROM life WHERE lane NOT IN (SELECT lane FROM lane)",
    "results without a job": "SELECT count(*) FROM result WHERE seq NOT IN (SELECT seq FROM job)",
    "attempts without a job": "SELECT count(*) FROM attempt WHERE seq NOT IN (SELECT seq FROM job)",
    "inbox messages without a job": "SELECT count(*) FROM inbox WHERE seq NOT IN (SELECT seq FROM job)",
    "waits without a job": "SELECT count(*) FROM after WHERE seq NOT IN (SELECT seq FROM job)",
}


def check(path: Path) -> list[str]:
    """What is wrong with a journal, a line each: pages that are damaged, and rows that belong to nothing. Reads all of
    it. Raises JournalError if it cannot be opened."""
    faults: list[str] = []
    with reading(path) as connection:
        try:
            for (line,) in connection.execute(f"PRAGMA integrity_check({FAULTS_COUNT_MAX})"):
                faults += [] if line == "ok" else line.splitlines()
            for what, statement in ORPHANS.items():
                if count := number(connection, statement):
                    faults.append(f"{count} {what}")
        except sqlite3.DatabaseError as error:
            faults.append(f"it cannot be read on: {error}")
    return faults[:FAULTS_COUNT_MAX]


def backup(path: Path, target: Path) -> int:
    """Copy a journal as it is at this moment, all of it or nothing. `target` is replaced once the copy is on disk; it
    is a journal by itself. Its size in bytes. Raises JournalError."""
    if target.exists() and path.exists() and target.samefile(path):
        raise JournalError(f"journal {path}: {target} is the journal itself; name another file")
    with reading(path) as connection:
        try:
            back_up(connection, target)
        except (OSError, sqlite3.OperationalError) as error:
            raise JournalError(f"backup {target}: {fault(error)}") from None
    return target.stat().st_size
