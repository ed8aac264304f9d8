"""A journal in a temporary folder, and how tests ask it and wait for it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskferry.broker.jobs.ports import Find, JournalError, Opened, Opening, Query
from taskferry.broker.jobs.rows import Batch, JobChange, LaneRow, NewJob, StoredJob
from taskferry.broker.jobs.states import JobState
from taskferry.broker.storage.sqlite_journal import SqliteJournal

NOW = 1_790_000_000.5


class Seen:
    """An observer that keeps what it was notified of."""

    def __init__(self) -> None:
        self.rows_counts: list[int] = []
        self.failures: list[str] = []
        self.recoveries_count = 0

    def committed(self, rows_count: int, duration_s: float) -> None:
        assert duration_s > 0
        self.rows_counts.append(rows_count)

    def failed(self, error: JournalError) -> None:
        self.failures.append(str(error))

    def recovered(self) -> None:
        self.recoveries_count += 1


@asynccontextmanager
async def opened(path: Path, seen: Seen | None = None) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(path, seen or Seen())
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def write(journal: SqliteJournal, batch: Batch) -> JournalError | None:
    answer: asyncio.Future[JournalError | None] = asyncio.get_running_loop().create_future()
    journal.write(batch, answer.set_result)
    return await answer


async def ask(journal: SqliteJournal, query: Query) -> Any:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    journal.read(query, answer.set_result)
    return await answer


async def open_counts(journal: SqliteJournal) -> dict[str, int]:
    found = await ask(journal, Opening())
    assert isinstance(found, Opened)
    return found.open_counts


async def find(journal: SqliteJournal, *job_ids: str) -> list[StoredJob]:
    found: list[StoredJob] = await ask(
        journal, Find(list(job_ids), with_data=True, result_size_bytes_max=10**9)
    )
    return found


def submissions(seqs: Iterable[int], data: bytes = b"{}") -> Batch:
    """A batch of jobs `job-<seq>` of lane 1."""
    batch = Batch()
    batch.lanes.append(LaneRow(1, "resize", None))
    for seq in seqs:
        batch.jobs.append(new_job(seq, data))
        batch.changes.append(change(seq, JobState.ACCEPTED))
    return batch


def new_job(seq: int, data: bytes = b"{}") -> NewJob:
    return NewJob(
        seq, f"job-{seq}", None, 1, "anna", None, NOW, 5, None, None, None, None, b"\x80", "json", data
    )


def change(seq: int, state: JobState) -> JobChange:
    ended_at = NOW if state > JobState.ASSIGNED else None
    remove_at = NOW + 86_400 if ended_at else None
    return JobChange(seq, state, 0, NOW, 0, 0, 0, None, None, None, ended_at, remove_at, None, None)


def changes(seqs: Iterable[int], state: JobState) -> Batch:
    batch = Batch()
    batch.changes += [change(seq, state) for seq in seqs]
    return batch
