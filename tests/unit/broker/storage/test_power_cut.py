"""The power fails at any moment: the file opens to exactly what had been committed by then.

Each commit ends with an fsync of the WAL, so what a power cut can leave is: the WAL up to any byte of what was written
after the last fsync, with anything behind it; and, during a checkpoint, any of its pages in the database, while the
whole WAL is on disk. https://www.sqlite.org/atomiccommit.html
"""

import hashlib
import itertools
import sqlite3
from pathlib import Path
from random import Random
from typing import Final

from taskferry.broker.storage.changes import Changes
from taskferry.broker.storage.database import Database

from .made_at_random import Maker
from .model import Model

WAL_HEADER_BYTES: Final = 32
FRAME_BYTES: Final = 24 + 4096


def content(connection: sqlite3.Connection) -> str:
    """A digest of every row of every table, but for how often the file was opened."""
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    digest = hashlib.sha256()
    for table in tables:
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
        rows = [row for row in rows if row[0] != "opened"]
        digest.update(repr(sorted(rows, key=repr)).encode())
    return digest.hexdigest()


class Cut:
    """A journal that is written, and what a power cut leaves of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maker = Maker(Random(7), Model(), sizes_bytes=(3, 50, 5000))
        self.database = Database(folder / "journal.db")
        self.database.make()
        self.database.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.committed = [(self.wal_size_bytes, content(self.database.connection))]

    @property
    def wal_size_bytes(self) -> int:
        return len(self.wal)

    @property
    def wal(self) -> bytes:
        return (self._folder / "journal.db-wal").read_bytes()

    @property
    def pages(self) -> bytes:
        return (self._folder / "journal.db").read_bytes()

    def write(self, transactions_count: int) -> None:
        """Commit, and remember how long the WAL is then, and what is in the journal."""
        connection = self.database.connection
        for _ in range(transactions_count):
            changes = Changes()
            changes.add(self._maker.batch())
            connection.execute("BEGIN IMMEDIATE")
            changes.write(connection)
            connection.execute("COMMIT")
            self.committed.append((self.wal_size_bytes, content(connection)))

    def open_again(self, pages: bytes, wal: bytes) -> str:
        """The content of a journal of which this is left."""
        path = self._folder / "left.db"
        path.write_bytes(pages)
        path.with_name("left.db-wal").write_bytes(wal)
        path.with_name("left.db-shm").unlink(missing_ok=True)
        database = Database(path)
        database.open()
        assert database.is_open
        (verdict,) = database.connection.execute("PRAGMA integrity_check").fetchone()
        assert verdict == "ok"
        found = content(database.connection)
        database.connection.execute(
            "PRAGMA synchronous = OFF"
        )  # what is copied back on closing need not last
        database.close()
        return found

    def expected(self, wal_size_bytes: int) -> str:
        """What was committed when the WAL was as long as that."""
        return [digest for size_bytes, digest in self.committed if size_bytes <= wal_size_bytes][-1]


def cuts(wal: bytes) -> list[int]:
    """Every boundary of a page, and in turn a place within each header or page."""
    ends = range(WAL_HEADER_BYTES, len(wal) + 1, FRAME_BYTES)
    within = itertools.cycle((10, 24, 2001, FRAME_BYTES - 1))
    return [at for end in ends for at in (end, end + next(within)) if at <= len(wal)]


def test_the_wal_is_cut_anywhere(tmp_path: Path) -> None:
    cut = Cut(tmp_path)
    cut.write(2)
    cut.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    pages = cut.pages
    cut.committed = [(0, cut.committed[-1][1])]
    cut.write(5)
    wal = cut.wal
    noise = Random(1).randbytes(3 * FRAME_BYTES)
    assert len(cuts(wal)) > 80
    seen = set()
    for index, at in enumerate(cuts(wal)):
        found = cut.open_again(pages, wal[:at] + (noise if index % 2 else b""))
        assert found == cut.expected(at), at
        seen.add(found)
    assert len(seen) == len(cut.committed)
    cut.database.close()


def test_the_wal_is_cut_in_its_second_round(tmp_path: Path) -> None:
    """After a checkpoint the WAL is written from its start again, over the frames of the round before."""
    cut = Cut(tmp_path)
    cut.write(6)
    before = cut.wal
    cut.database.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    pages = cut.pages
    cut.committed = [(0, cut.committed[-1][1])]
    cut.write(2)
    wal = cut.wal
    assert len(wal) == len(before)
    changed = [at for at in range(WAL_HEADER_BYTES, len(wal), FRAME_BYTES) if wal[at:] != before[at:]]
    digests = [digest for _, digest in cut.committed]
    found = [cut.open_again(pages, wal[:at] + before[at:]) for at in cuts(wal[: changed[-1] + FRAME_BYTES])]
    assert found == sorted(found, key=digests.index)
    assert set(found) == set(digests)
    cut.database.close()


def test_a_checkpoint_is_cut_anywhere(tmp_path: Path) -> None:
    cut = Cut(tmp_path)
    cut.write(8)
    wal, before = cut.wal, cut.pages
    cut.database.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    after = cut.pages
    random = Random(3)
    pages_count = len(after) // 4096
    for written_count in range(pages_count + 1):
        pages = bytearray(before.ljust(len(after), b"\0"))
        for page in random.sample(range(pages_count), written_count):
            torn = random.choice((4096, 4096, 512))
            pages[page * 4096 : page * 4096 + torn] = after[page * 4096 : page * 4096 + torn]
        assert cut.open_again(bytes(pages), wal) == cut.committed[-1][1]
    cut.database.close()
