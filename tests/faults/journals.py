"""Reading the file of a journal without the program that wrote it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
from taskferry.broker.jobs.rows import JobChange
from taskferry.broker.jobs.states import JobState


class JobRow(NamedTuple):
    """What a journal has of a job: its life, and its result if it has one."""

    life: JobChange
    result: bytes | None

    @property
    def state(self) -> str:
        """`accepted`, `held`, ..."""
        return JobState(self.life.state).name.lower()


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
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchall():
            return {}  # killed before its first write
        rows = connection.execute(
            "SELECT job_id, seq, life.packed, result FROM job JOIN life USING (seq) LEFT JOIN result USING (seq)"
        ).fetchall()
    return {
        job_id: JobRow(JobChange(seq, *msgspec.msgpack.decode(packed)), result)
        for job_id, seq, packed, result in rows
    }
