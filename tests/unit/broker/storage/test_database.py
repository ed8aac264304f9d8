"""Opening a file: a new one, an older one, a newer one, and what is not a journal."""

import sqlite3
from pathlib import Path

import pytest
from taskferry.broker.jobs.ports import JournalError, Opening
from taskferry.broker.storage.changes import Changes
from taskferry.broker.storage.database import SQLITE_MIN, Database
from taskferry.broker.storage.opening import opening
from taskferry.broker.storage.schema import APPLICATION_ID, SCHEMA, Schema

from .journals import submissions

NEXT = SCHEMA._replace(
    version=SCHEMA.version + 1,
    upgrades={
        SCHEMA.version: ("ALTER TABLE lane ADD COLUMN note TEXT", "UPDATE lane SET note = command || '!'")
    },
)


def made(path: Path, schema: Schema = SCHEMA) -> None:
    """A journal with two jobs."""
    database = Database(path, schema)
    database.make()
    changes = Changes()
    changes.add(submissions([1, 2]))
    changes.write(database.connection)
    database.close()


def refusal(path: Path, schema: Schema = SCHEMA) -> str:
    """Why the file is not opened. It stays as it was."""
    before = path.read_bytes()
    database = Database(path, schema)
    with pytest.raises(JournalError) as caught:
        database.open()
    assert not database.is_open
    assert path.read_bytes() == before
    text = str(caught.value)
    assert text.startswith(f"journal {path}: ")
    assert "\n" not in text
    return text.removeprefix(f"journal {path}: ")


def test_a_new_file_is_recognized_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    made(path)
    header = path.read_bytes()[:100]
    assert header[60:64] == SCHEMA.version.to_bytes(4, "big")
    assert header[68:72] == APPLICATION_ID.to_bytes(4, "big") == b"Tfj1"


def test_an_older_file_is_upgraded_after_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    made(path)
    database = Database(path, NEXT)
    database.open()
    assert database.connection.execute("SELECT note FROM lane").fetchall() == [("resize!",)]
    assert opening(database.connection, Opening()).open_counts == {"anna": 2}
    database.close()
    again = Database(path, NEXT)
    again.open()
    again.close()
    backup = tmp_path / f"journal.db.{SCHEMA.version}.bak"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["journal.db", backup.name]
    assert backup.stat().st_mode & 0o777 == path.stat().st_mode & 0o777
    old = Database(backup)
    old.open()
    assert opening(old.connection, Opening()).seq_max == 2
    old.close()


def test_an_upgrade_over_several_versions_goes_through_each(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    made(path)
    later = NEXT._replace(
        version=SCHEMA.version + 2,
        upgrades={**NEXT.upgrades, NEXT.version: ("UPDATE lane SET note = note || '?'",)},
    )
    database = Database(path, later)
    database.open()
    assert database.connection.execute("SELECT note FROM lane").fetchall() == [("resize!?",)]
    database.close()


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    made(path)
    statements = (*NEXT.upgrades[SCHEMA.version], "this is no statement")
    assert "SQLite reports" in refusal(path, NEXT._replace(upgrades={SCHEMA.version: statements}))
    database = Database(path)
    database.open()
    assert opening(database.connection, Opening()).seq_max == 2
    database.close()


def test_an_upgrade_without_room_for_its_backup_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    made(path)
    (tmp_path / f"journal.db.{SCHEMA.version}.bak.part").mkdir()
    assert "check its permissions" in refusal(path, NEXT)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    made(path)
    database = Database(path, NEXT)
    database.open()
    database.close()
    assert refusal(path) == (
        "a newer Taskferry wrote it (schema 2, this one knows 1); run that one, or name another file with --journal"
    )


def test_what_is_not_a_journal_is_refused_and_not_touched(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("Dear diary, " * 100)
    assert refusal(text) == "this is not a journal of Taskferry; name another file with --journal"
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (name)")
    connection.close()
    assert refusal(other) == "this is a database of another program; name another file with --journal"
    damaged = tmp_path / "damaged.db"
    made(damaged)
    pages = bytearray(damaged.read_bytes())
    pages[100:200] = b"\xff" * 100
    damaged.write_bytes(pages)
    assert refusal(damaged) == "it is damaged; see `taskferry journal check`, and restore a backup"


def test_a_file_that_was_only_begun_is_finished(tmp_path: Path) -> None:
    """The broker was killed between making the file and making its tables."""
    empty = tmp_path / "empty.db"
    empty.touch()
    begun = tmp_path / "begun.db"
    connection = sqlite3.connect(begun)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert begun.stat().st_size > 0
    for path in (empty, begun):
        database = Database(path)
        database.open()
        assert opening(database.connection, Opening()).seq_max == 0
        database.close()


def test_an_sqlite_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "journal.db")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", SQLITE_MIN)
    database = Database(tmp_path / "journal.db")
    database.open()
    database.close()
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 9))
    assert "and it needs 3.32.0 or newer" in refusal(tmp_path / "journal.db")
