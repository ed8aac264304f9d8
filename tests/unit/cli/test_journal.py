"""`taskferry journal`: info, check and backup, beside a broker's connection and without one."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from taskferry.broker.jobs.ports import Opening
from taskferry.broker.jobs.rows import Batch, JobResult
from taskferry.broker.jobs.states import JobState
from taskferry.broker.storage.changes import Changes
from taskferry.broker.storage.database import Database
from taskferry.broker.storage.opening import opening
from taskferry.cli.journal import journal

from tests.unit.broker.storage.journals import changes, submissions


def write(database: Database, batch: Batch) -> None:
    database.make()
    database.connection.execute("BEGIN IMMEDIATE")
    folded = Changes()
    folded.add(batch)
    folded.write(database.connection)
    database.connection.execute("COMMIT")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A journal with four jobs, on which a broker is at work."""
    database = Database(tmp_path / "journal.db")
    write(database, submissions([1, 2, 3, 4], b"[1]"))
    done = changes([1], JobState.DONE)
    done.results.append(JobResult(1, "json", b"12345"))
    write(database, done)
    yield database
    database.close()


def run(*arguments: object, **variables: str) -> Result:
    return CliRunner().invoke(journal, [str(argument) for argument in arguments], env=variables)


def test_info_as_json(database: Database) -> None:
    result = run("info", "--journal", database.path, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    counts = {"accepted": 3, "held": 0, "assigned": 0, "done": 1, "dead": 0, "cancelled": 0}
    assert found["counts"] == found["commands"]["resize"] == counts
    assert (found["path"], found["schema"]) == (str(database.path), 1)
    assert (found["open_size_bytes"], found["kept_size_bytes"]) == (9, 8)
    assert found["wal_size_bytes"] > 0
    assert found["oldest_submitted_at"] == 1_790_000_000.5


def test_info_for_people(database: Database) -> None:
    result = run("info", "--journal", database.path)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"file {database.path}" in lines
    assert "command accepted held assigned done dead cancelled" in lines
    assert "resize 3 0 0 1 0 0" in lines
    assert "all 3 0 0 1 0 0" in lines
    assert any(line.startswith("oldest open job 2026-09-21T14:13:20Z, ") for line in lines), lines


def test_the_journal_is_found_as_the_broker_finds_it(database: Database, tmp_path: Path) -> None:
    state = tmp_path / "taskferry"
    state.mkdir()
    (state / "journal.db").symlink_to(database.path)
    for variables in (
        {"TASKFERRY_BROKER_JOURNAL": str(database.path)},
        {"STATE_DIRECTORY": str(state)},
        {"XDG_STATE_HOME": str(tmp_path), "STATE_DIRECTORY": ""},
    ):
        result = run("info", "--json", **variables)
        assert json.loads(result.stdout)["path"] == str(database.path), variables
    config = tmp_path / "taskferry.toml"
    config.write_text(f"[broker]\njournal = '{database.path}'\n")
    assert json.loads(run("info", "--json", "--config", config).stdout)["path"] == str(database.path)
    assert "no such file" in run("info", "--config", config, "--journal", tmp_path / "none.db").stderr
    config.write_text("[broker]\njournal = 'none'\n")
    for arguments in (("--journal", "none"), ("--config", config)):
        result = run("info", *arguments)
        assert result.exit_code == 2
        assert "this broker keeps no jobs" in result.stderr
    config.write_text("[broker]\njournals = 'none'\n")
    result = run("info", "--config", config)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize("command", ["info", "check", "backup"])
def test_a_file_that_cannot_be_read_is_one_line(command: str, tmp_path: Path) -> None:
    target = (tmp_path / "copy.db",) if command == "backup" else ()
    missing, text, other, empty = (tmp_path / name for name in ("missing", "text", "other", "empty"))
    text.write_text("Dear diary, " * 100)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE songs (name)")
    connection.close()
    empty.touch()
    for path, reason in (
        (missing, "there is no such file; the first job makes it"),
        (tmp_path, "there is no such file; the first job makes it"),
        (text, "this is not a journal of Taskferry; name another file with --journal"),
        (other, "this is a database of another program; name another file with --journal"),
        (empty, "it is empty; the first job makes its tables"),
    ):
        result = run(command, *target, "--journal", path)
        assert (result.exit_code, result.stdout) == (1, ""), path
        assert result.stderr == f"error: journal {path}: {reason}\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "other", "text"]


def test_check_of_a_sound_journal(database: Database) -> None:
    result = run("check", "--journal", database.path)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{database.path}: sound\n", "")


def test_check_finds_rows_that_belong_to_nothing(database: Database) -> None:
    database.connection.execute("DELETE FROM job WHERE seq = 1")
    database.connection.execute("DELETE FROM life WHERE seq = 2")
    result = run("check", "--journal", database.path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{database.path}: 1 jobs without a state",
        f"{database.path}: 1 states without a job",
        f"{database.path}: 1 results without a job",
    ]
    assert "put a backup in its place" in result.stderr


def test_check_finds_damaged_pages(database: Database) -> None:
    write(database, submissions(range(10, 2000), bytes(100)))
    database.close()
    pages = bytearray(database.path.read_bytes())
    middle = len(pages) // 2 // 4096 * 4096
    pages[middle : middle + 4096] = bytes(4096)
    database.path.write_bytes(pages)
    result = run("check", "--journal", database.path)
    assert result.exit_code == 1
    assert result.stdout
    assert all(line.startswith(f"{database.path}: ") for line in result.stdout.splitlines())


def test_a_backup_is_a_journal_of_that_moment(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    result = run("backup", target, "--journal", database.path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"copied {database.path} to {target}: 84.0 KiB")
    write(database, submissions([5]))
    assert [entry.name for entry in target.parent.iterdir()] == ["copy.db"]
    if sys.platform != "win32":
        assert target.stat().st_mode & 0o777 == 0o600
    copy = Database(target)
    copy.open()
    assert opening(copy.connection, Opening()).open_counts == {"anna": 3}
    copy.close()
    assert run("backup", target, "--journal", database.path).exit_code == 0
    copy.open()
    assert opening(copy.connection, Opening()).open_counts == {"anna": 4}
    copy.close()


def test_a_backup_that_cannot_be_written_is_one_line(database: Database, tmp_path: Path) -> None:
    (tmp_path / "other.db").symlink_to(database.path)
    result = run("backup", tmp_path / "other.db", "--journal", database.path)
    assert "is the journal itself; name another file" in result.stderr
    result = run("backup", tmp_path / "none" / "copy.db", "--journal", database.path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: backup {tmp_path / 'none' / 'copy.db'}: No such file or directory; "
        "check its permissions and those of its folder\n"
    )


def test_reading_does_not_disturb_the_broker(database: Database, tmp_path: Path) -> None:
    for seq in range(10, 60):
        write(database, submissions([seq]))
        if seq % 10 == 0:
            assert run("backup", tmp_path / f"{seq}.db", "--journal", database.path).exit_code == 0
            assert run("check", "--journal", database.path).exit_code == 0
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert opening(database.connection, Opening()).open_counts == {"anna": 53}
    (verdict,) = database.connection.execute("PRAGMA integrity_check").fetchone()
    assert verdict == "ok"


def test_a_journal_that_a_killed_broker_left_is_read_with_its_wal(database: Database, tmp_path: Path) -> None:
    left = tmp_path / "left.db"
    left.write_bytes(database.path.read_bytes())
    left.with_name("left.db-wal").write_bytes(Path(f"{database.path}-wal").read_bytes())
    result = run("info", "--journal", left, "--json")
    assert json.loads(result.stdout)["counts"]["accepted"] == 3
