"""A disk that is full, read-only or failing: one clear line, nothing acknowledged, and on again once it is not."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from taskferry.broker.jobs.ports import JournalError, Opening
from taskferry.broker.jobs.rows import Batch
from taskferry.broker.jobs.states import JobState
from taskferry.broker.storage import database
from taskferry.broker.storage.sqlite_journal import SqliteJournal

from .journals import Seen, ask, changes, find, open_counts, opened, submissions, write

if sys.platform == "win32":
    pytest.skip("Windows has neither file size limits nor mounts", allow_module_level=True)

import resource

MIB = 1024**2
AS_ROOT = os.geteuid() == 0


@contextlib.contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """A disk on which no file can grow further: write() fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_write_that_fails_acknowledges_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    seen = Seen()
    path = tmp_path / "journal.db"
    async with opened(path, seen) as journal:
        assert await write(journal, submissions([1])) is None
        with files_of_at_most(MIB // 4):
            for seq in (2, 3):
                error = await write(journal, submissions([seq], bytes(MIB)))
                assert str(error) == (
                    f"journal {path}: the disk fails (SQLITE_IOERR_WRITE); check it and the system's log"
                )
                assert journal.is_failing
                assert await find(journal, f"job-{seq}") == []
            assert await open_counts(journal) == {"anna": 1}
            assert await write(journal, Batch()) is None  # which is small enough
            assert not journal.is_failing
        with files_of_at_most(0):
            for _ in range(2):
                assert isinstance(await write(journal, Batch()), JournalError)
                assert journal.is_failing
        assert await write(journal, Batch()) is None
        assert not journal.is_failing
        assert await write(journal, changes([1], JobState.DONE)) is None
        assert await write(journal, submissions([4], bytes(MIB))) is None
        assert (len(seen.failures), seen.recoveries_count) == (2, 2)
    async with opened(path) as journal:
        assert await open_counts(journal) == {"anna": 1}
        assert await find(journal, "job-2", "job-3") == []


@contextlib.contextmanager
def disk_in(folder: Path, *options: str) -> Iterator[Path]:
    """A small disk in memory. Skips the test if it cannot be mounted."""
    if not AS_ROOT or shutil.which("mount") is None:
        pytest.skip("needs root, to mount a disk")
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", disk], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


async def test_a_full_disk(tmp_path: Path) -> None:
    with disk_in(tmp_path, "-o", "size=1m") as disk:
        path = disk / "journal.db"
        async with opened(path) as journal:
            accepted = 0
            while (error := await write(journal, submissions([accepted + 1], bytes(30_000)))) is None:
                accepted += 1
            assert str(error) == f"journal {path}: the disk is full; free space on it, or use another disk"
            assert accepted > 10
            assert await open_counts(journal) == {"anna": accepted}
            subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
            assert await write(journal, submissions([accepted + 1])) is None
        async with opened(path) as journal:
            assert await open_counts(journal) == {"anna": accepted + 1}


async def test_a_disk_that_became_read_only(tmp_path: Path) -> None:
    with disk_in(tmp_path) as disk:
        path = disk / "journal.db"
        async with opened(path) as journal:
            assert await write(journal, submissions([1])) is None
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(JournalError, match=r"Read-only file system; check its permissions"):
            await SqliteJournal(path, Seen()).open()
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        async with opened(path) as journal:
            assert await open_counts(journal) == {"anna": 1}


@pytest.mark.skipif(AS_ROOT, reason="modes do not bind root")
async def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(0o500)
    with pytest.raises(JournalError, match=r"journal .*journal.db: Permission denied; check its permissions"):
        await SqliteJournal(folder / "journal.db", Seen()).open()


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"journal .*journal.db: (File exists|Not a directory); check"):
        await SqliteJournal(tmp_path / "file" / "journal.db", Seen()).open()


async def test_the_file_cannot_be_made_at_the_first_write(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        with files_of_at_most(0):
            assert "the disk fails" in str(await write(journal, submissions([1])))
            assert journal.is_failing
        assert await write(journal, submissions([2])) is None
        assert [job.new.seq for job in await find(journal, "job-1", "job-2")] == [2]


FAILING_SYNC = """
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>
static int fails(void) { return access("%s", F_OK) == 0; }
int fsync(int fd) { if (fails()) { errno = EIO; return -1; } return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { if (fails()) { errno = EIO; return -1; } return syscall(SYS_fdatasync, fd); }
"""

SYNCED = """
import asyncio, sys
from pathlib import Path
from tests.unit.broker.storage.journals import *

async def main(path, failing):
    async with opened(path) as journal:
        assert await write(journal, submissions([1])) is None
        failing.touch()
        for seq in (2, 3):
            error = await write(journal, submissions([seq]))
            assert "the disk fails (SQLITE_IOERR_FSYNC)" in str(error), error
        answer = await ask(journal, Opening())
        failing.unlink()
        assert await write(journal, submissions([4])) is None
        assert [job.new.seq for job in await find(journal, *(f"job-{seq}" for seq in range(1, 5)))] == [1, 4]
    async with opened(path) as journal:
        assert await open_counts(journal) == {"anna": 2}

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
def test_an_fsync_that_fails(tmp_path: Path) -> None:
    failing, source, library = tmp_path / "failing", tmp_path / "sync.c", tmp_path / "sync.so"
    source.write_text("#include <sys/syscall.h>\n" + FAILING_SYNC % failing)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    subprocess.run(
        [sys.executable, "-c", SYNCED, tmp_path / "journal.db", failing],
        env={**os.environ, "LD_PRELOAD": str(library)},
        check=True,
        timeout=30,
    )


async def test_a_journal_that_vanished_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        assert await write(journal, submissions([1])) is None
        with files_of_at_most(MIB // 4):
            assert isinstance(await write(journal, submissions([2], bytes(MIB))), JournalError)
        path.write_bytes(b"no database any more" * 100)
        answer = await ask(journal, Opening())
        assert "this is not a journal of Taskferry" in str(answer)


async def test_nothing_is_acknowledged_into_a_file_that_is_gone(tmp_path: Path) -> None:
    path, moved = tmp_path / "journal.db", tmp_path / "moved.db"
    async with opened(path) as journal:
        assert await write(journal, submissions([1])) is None
        path.rename(moved)
        for _ in range(2):
            assert str(await write(journal, submissions([2]))) == (
                f"journal {path}: the file was moved, removed or replaced while it was in use; put it back, "
                "or restart the broker"
            )
            path.write_bytes(b"another file")
        assert journal.is_failing
        moved.replace(path)
        assert await write(journal, submissions([3])) is None
        assert [job.new.seq for job in await find(journal, "job-1", "job-2", "job-3")] == [1, 3]


@pytest.mark.parametrize("is_new", [True, False])
async def test_nothing_is_acknowledged_into_a_wal_that_is_gone(tmp_path: Path, is_new: bool) -> None:
    path, moved = tmp_path / "journal.db", tmp_path / "moved.db"
    wal = tmp_path / "journal.db-wal"
    if not is_new:
        async with opened(path) as journal:
            assert await write(journal, submissions([1])) is None
        assert not wal.exists()
    async with opened(path) as journal:
        for seq in (2, 3):
            assert await write(journal, submissions([seq])) is None
        wal.rename(moved)
        for _ in range(2):
            assert str(await write(journal, submissions([4]))) == (
                f"journal {wal}: the file was moved, removed or replaced while it was in use; put it back, "
                "or restart the broker"
            )
            wal.write_bytes(b"another file")
        assert journal.is_failing
        moved.replace(wal)
        assert await write(journal, submissions([5])) is None
        wal.unlink()
        assert isinstance(await write(journal, submissions([6])), JournalError)
    async with opened(path) as journal:
        found = await find(journal, *(f"job-{seq}" for seq in range(2, 7)))
        assert [job.new.seq for job in found] == [2, 3, 5]


async def test_another_program_that_writes_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        assert await write(journal, submissions([1])) is None
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert str(await write(journal, submissions([2]))) == (
            f"journal {path}: another program has locked it; no other may write it"
        )
        assert await open_counts(journal) == {"anna": 1}
        other.execute("ROLLBACK")
        other.close()
        assert await write(journal, submissions([3])) is None
        assert await open_counts(journal) == {"anna": 2}
