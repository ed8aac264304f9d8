"""The life of a journal: when its file is made, what is answered when, and what survives."""

import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from taskferry.broker.jobs.ports import (
    CountMatching,
    Find,
    JournalError,
    NextInLane,
    Opened,
    Opening,
    Query,
    Select,
)
from taskferry.broker.jobs.rows import Batch, JobResult, StoredJob
from taskferry.broker.jobs.states import JobState
from taskferry.broker.storage import journal_thread, opening
from taskferry.broker.storage.changes import LARGE_BYTES
from taskferry.broker.storage.journal_thread import TRANSACTION_ROWS_MAX
from taskferry.broker.storage.multi_row import SIZES
from taskferry.broker.storage.scans import Scan
from taskferry.broker.storage.sqlite_journal import JournalTaken, SqliteJournal
from taskferry.protocol.job_messages import Filter

from .journals import NOW, Seen, ask, change, changes, find, open_counts, opened, submissions, write


async def test_the_first_write_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "taskferry" / "journal.db"
    async with opened(path) as journal:
        assert (await ask(journal, Opening())).seq_max == 0
        assert [entry.name for entry in path.parent.iterdir()] == ["journal.db.lock"]
        assert journal.size_bytes == 0
        assert await write(journal, submissions([1])) is None
        assert journal.size_bytes > 0
        assert [job.new.job_id for job in await find(journal, "job-1")] == ["job-1"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.db"
    before = os.umask(0)
    try:
        async with opened(path) as journal:
            await write(journal, submissions([1]))
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        ["journal.db", "journal.db-shm", "journal.db-wal", "journal.db.lock"], 0o600
    )
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_was_acknowledged_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        await write(journal, submissions(range(1, 701), b"[1]"))
        done = changes(range(1, 301), JobState.DONE)
        done.results += [JobResult(seq, "msgpack", b"\x01") for seq in range(1, 301)]
        await write(journal, done)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["journal.db", "journal.db.lock"]
    async with opened(path) as journal:
        assert await open_counts(journal) == {"anna": 400}
        (job,) = await find(journal, "job-300")
        assert (job.new.data, job.result, job.change.state) == (
            b"[1]",
            JobResult(300, "msgpack", b"\x01"),
            JobState.DONE,
        )


async def was_stopped(journal: SqliteJournal) -> bool:
    found = await ask(journal, Opening())
    assert isinstance(found, Opened)
    return found.was_stopped


async def test_the_next_broker_knows_whether_this_one_has_stopped_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    last = Batch()
    last.is_last = True
    async with opened(path) as journal:
        assert await was_stopped(journal), "nobody was there before"
        await write(journal, submissions([1]))
    async with opened(path) as journal:
        assert not await was_stopped(journal)
        await write(journal, last)
    for is_expected in (True, False, False):
        async with opened(path) as journal:
            assert await was_stopped(journal) is is_expected
    async with opened(path) as journal:
        await write(journal, last)
    async with opened(path) as journal:
        assert await was_stopped(journal)


async def test_that_a_journal_was_opened_is_noted_as_soon_as_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    last = Batch()
    last.is_last = True
    async with opened(path) as journal:
        await write(journal, submissions([1]))
        await write(journal, last)
    with monkeypatch.context() as patched:
        patched.setattr(opening, "OPENED", "this is no statement")  # as on a full disk
        async with opened(path) as journal:
            assert not await was_stopped(journal)
            assert await write(journal, submissions([2])) is None
    async with opened(path) as journal:
        assert not await was_stopped(journal), "the write has noted it"


async def test_all_is_answered_in_order_and_a_query_sees_what_was_written_before_it(tmp_path: Path) -> None:
    order: list[str] = []
    seqs: list[int] = []

    def seen(found: Any) -> None:
        order.append("read")
        seqs.append(found.seq_max)

    async with opened(tmp_path / "journal.db") as journal:
        for seq in range(1, 40):
            journal.write(submissions([seq]), lambda _: order.append("write"))
            journal.read(Opening(), seen)
    assert order == ["write", "read"] * 39
    assert seqs == list(range(1, 40))


async def test_lists_and_counts_see_what_was_written_before_them_and_let_writes_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scan.__init__, "__defaults__", (2,))
    order: list[str] = []
    async with opened(tmp_path / "journal.db") as journal:
        await write(journal, submissions(range(1, 4000)))
        await write(journal, submissions([4000]))
        counted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        listed: asyncio.Future[list[StoredJob]] = asyncio.get_running_loop().create_future()
        journal.read(CountMatching(Filter(code="none"), None), lambda found: order.append(f"count {found}"))
        journal.read(CountMatching(Filter(), None), counted.set_result)
        journal.read(Select(Filter(until=NOW), None, 3, 2), listed.set_result)
        for seq in range(4001, 4011):
            await write(journal, submissions([seq]))
            order.append("write")
        assert 4000 <= await counted <= 4010
        assert [job.new.seq for job in await listed] == [2, 1]
    assert order == ["write"] * 10 + ["count 0"]


async def test_closing_answers_lists_that_are_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scan.__init__, "__defaults__", (1,))
    answers: list[object] = []
    async with opened(tmp_path / "journal.db") as journal:
        await write(journal, submissions(range(1, 4000)))
        journal.read(CountMatching(Filter(), None), answers.append)
    assert [str(found) for found in answers] == [f"journal {tmp_path / 'journal.db'}: it is closed"]


async def test_what_waits_shares_a_transaction(tmp_path: Path) -> None:
    seen = Seen()
    async with opened(tmp_path / "journal.db", seen) as journal:
        await write(journal, Batch())
        for seq in range(1, 501):
            journal.write(submissions([seq]), lambda _: None)
        assert await write(journal, submissions([501])) is None
        assert await open_counts(journal) == {"anna": 501}
    assert sum(seen.rows_counts) == 501 * 3
    assert len(seen.rows_counts) < 250


async def test_a_transaction_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows_max = TRANSACTION_ROWS_MAX // 10
    monkeypatch.setattr(journal_thread, "TRANSACTION_ROWS_MAX", rows_max)
    seen = Seen()
    half = rows_max // 4
    async with opened(tmp_path / "journal.db", seen) as journal:
        for start in range(1, 8 * half, half):
            journal.write(submissions(range(start, start + half)), lambda _: None)
    assert sum(seen.rows_counts) == 8 * (2 * half + 1)
    assert max(seen.rows_counts) <= rows_max + 2 * half + 2


async def test_any_number_of_rows_is_written(tmp_path: Path) -> None:
    """On both sides of the sizes of a statement, and of the size of a blob that is written by itself."""
    async with opened(tmp_path / "journal.db") as journal:
        seq = 0
        for size in SIZES:
            for count in (size - 1, size, size + 1):
                seqs = range(seq + 1, seq + count + 1)
                seq += count
                await write(journal, submissions(seqs))
                job_ids = [f"job-{seq}" for seq in seqs]
                assert len(await find(journal, *job_ids, "none")) == count
                removed = Batch()
                removed.removed += seqs
                await write(journal, removed)
                assert await find(journal, *job_ids) == []
        for size_bytes in (0, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 3 * LARGE_BYTES):
            seq += 1
            data = bytes([seq % 256]) * size_bytes
            batch = submissions([seq], data)
            batch.changes.append(change(seq, JobState.DONE))
            batch.results.append(JobResult(seq, "json", data))
            await write(journal, batch)
            (job,) = await find(journal, f"job-{seq}")
            assert job.result is not None
            assert (job.new.data, job.result.result) == (data, data)
        assert (await ask(journal, Opening())).seq_max == seq


async def test_the_highest_seq_is_known_after_its_job_was_removed(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal.db") as journal:
        await write(journal, submissions([1, 2, 3]))
        batch = Batch()
        batch.removed += [2, 3]
        await write(journal, batch)
    async with opened(tmp_path / "journal.db") as journal:
        assert (await ask(journal, Opening())).seq_max == 3


async def test_a_second_broker_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    link = tmp_path / "other.db"
    async with opened(path) as journal:
        await write(journal, submissions([1]))
        link.symlink_to(path)
        for name in (path, link):
            with pytest.raises(JournalTaken) as caught:
                await SqliteJournal(name, Seen()).open()
            assert f"another broker (process {os.getpid()}) has it" in str(caught.value)
        assert await open_counts(journal) == {"anna": 1}
    async with opened(link) as journal:
        assert await open_counts(journal) == {"anna": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_neither_has_the_lock_nor_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    reading, writing = os.pipe()
    async with opened(path) as journal:
        await write(journal, submissions([1]))
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the test is over
            os._exit(0)
        try:
            with pytest.raises(JournalTaken):
                await SqliteJournal(path, Seen()).open()
            await journal.close()
            async with opened(path) as again:
                assert await open_counts(again) == {"anna": 1}
        finally:
            os.close(writing)
            os.waitpid(child, 0)
            os.close(reading)


async def test_a_journal_that_is_not_open_says_so(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", Seen())
    assert "is not open" in str(await write(journal, Batch()))
    await journal.open()
    await journal.close()
    await journal.close()
    assert "is closed" in str(await write(journal, Batch()))
    assert isinstance(await ask(journal, Opening()), JournalError)


async def test_opening_fails_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_text("Dear diary, " * 100)
    journal = SqliteJournal(path, Seen())
    with pytest.raises(JournalError, match="not a journal"):
        await journal.open()
    path.unlink()
    async with opened(path) as other:  # the lock is free
        assert await write(other, submissions([1])) is None
    await journal.open()
    assert await open_counts(journal) == {"anna": 1}
    await journal.close()


async def test_opening_that_is_cancelled_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    opening = asyncio.create_task(SqliteJournal(path, Seen()).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(10):
        while True:
            try:
                async with opened(path) as journal:
                    assert await write(journal, submissions([1])) is None
                break
            except JournalTaken:
                await asyncio.sleep(0.01)


async def test_closing_writes_and_answers_all_that_waits(tmp_path: Path) -> None:
    answers: list[object] = []
    journal = SqliteJournal(tmp_path / "journal.db", Seen())
    await journal.open()
    for seq in range(1, 301):
        journal.write(submissions([seq]), answers.append)
    await journal.close()
    assert answers == [None] * 300
    async with opened(tmp_path / "journal.db") as journal:
        assert await open_counts(journal) == {"anna": 300}


async def test_an_error_of_ours_in_a_batch_fails_it_and_nothing_else(tmp_path: Path) -> None:
    seen = Seen()
    async with opened(tmp_path / "journal.db", seen) as journal:
        assert await write(journal, submissions([1])) is None
        twice = submissions([2])
        twice.jobs[0] = twice.jobs[0]._replace(job_id="job-1")
        error = await write(journal, twice)
        assert str(error) == (
            f"journal {tmp_path / 'journal.db'}: SQLite reports: UNIQUE constraint failed: job.job_id"
        )
        assert journal.is_failing
        unknown: Query = "what?"  # type: ignore[assignment]
        assert isinstance(await ask(journal, unknown), JournalError)
        assert await write(journal, submissions([3])) is None
        assert not journal.is_failing
        assert await open_counts(journal) == {"anna": 2}
        assert (await ask(journal, NextInLane(1, 5, 100, frozenset(), 2e9))).jobs[1].new.seq == 3
        assert await ask(journal, Find([])) == []
    assert (len(seen.failures), seen.recoveries_count) == (1, 1)
