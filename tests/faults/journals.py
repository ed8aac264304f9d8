"""Reading the file of a journal without the program that wrote it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

STATES: Final = ("accepted", "held", "assigned", "done", "dead", "cancelled")
"""By the number that is stored."""


class JobRow(NamedTuple):
    """What a journal has of a job, apart from its data."""

    state: str
    attempt: int
    failures_count: int
    losses_count: int
    code: str | None
    ended_at: float | None
    result: bytes | None


def read_journal(path: Path, folder: Path) -> dict[str, JobRow]:
    """The jobs in the journal at `path`, by job_id, as the next broker would find them; from a copy in `folder`. No
    broker may be running on it. Raises AssertionError if SQLite finds it damaged."""
    copy = folder / "copy.db"
    for suffix in ("", "-wal"):
        copied = Path(f"{copy}{suffix}")
        copied.unlink(missing_ok=True)
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", copied)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT job_id, state, attempt, failures_count, losses_count, code, ended_at, result"
            " FROM jobs LEFT JOIN results USING (seq)"
        ).fetchall()
    return {job_id: JobRow(STATES[state], *rest) for job_id, state, *rest in rows}
