"""The SQLite file: made, opened, brought up to date, closed. Everything in it happens in the one thread that owns it.

Until the first write there is no file, and what is read is read from an empty database in memory.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from ..jobs.ports import JournalError
from .errors import journal_error
from .lock import FILE_MODE
from .multi_row import STATEMENTS_KEPT
from .schema import APPLICATION_ID, NEVER_OPENED, SCHEMA, Schema

SQLITE_MIN: Final = (3, 32, 0)
"""Older ones take 999 values in a statement, which is too few for its rows."""

PAGES_KEPT_KIB: Final = 32_768
"""Pages of the file in memory. The working set is the right edge of a few trees, and the jobs that run."""

CHECKPOINT_PAGES: Final = 4_000
"""Pages in the WAL (16 MB) at which it is copied into the database."""

WAL_SIZE_BYTES_MAX: Final = 64 * 1024**2
"""What the WAL is cut back to after one large transaction."""

BUSY_S: Final = 2.0
"""How long a read-only connection (`taskferry journal backup`) may hold up a checkpoint."""


NO_FILE: Final = (0, 0)


class Database:
    """One journal file and its only writing connection. `connection` is one in memory while there is no file."""

    def __init__(self, path: Path, schema: Schema = SCHEMA) -> None:
        self.path = path
        self._schema = schema
        self.connection = in_memory(schema)
        self.is_open = False
        self._wal_path = path.with_name(f"{path.name}-wal")
        self._identity = self._wal_identity = NO_FILE

    def open(self) -> None:
        """Open the file, if there is one and it is not open. Raises JournalError."""
        if not self.is_open and self.path.exists():
            self._connect()

    def make(self) -> None:
        """Open the file, which is made if there is none, unless it is open. Raises JournalError; also if the open file,
        or its WAL, is not the one with its name any more, for what is written to it would be lost."""
        if not self.is_open:
            self._connect()
            return
        if self._wal_identity == NO_FILE:  # the first write makes it
            self._wal_identity = identity(self._wal_path)
        files = ((self.path, self._identity), (self._wal_path, self._wal_identity))
        for path, known in files:
            if identity(path) != known:
                raise JournalError(
                    f"journal {path}: the file was moved, removed or replaced while it was in use; put it back, "
                    "or restart the broker"
                )

    def _connect(self) -> None:
        if sqlite3.sqlite_version_info < SQLITE_MIN:
            needed = ".".join(map(str, SQLITE_MIN))
            raise JournalError(
                f"journal {self.path}: Python has SQLite {sqlite3.sqlite_version} here, and it needs {needed} or newer"
            )
        try:
            make_file(self.path)
            connection = connect(self.path, self._schema)
        except (sqlite3.Error, OSError) as error:
            raise journal_error(self.path, error) from None
        self.connection.close()
        self.connection = connection
        self._identity = identity(self.path)
        self._wal_identity = identity(self._wal_path)
        self.is_open = True

    def close(self) -> None:
        """Close the file. SQLite then copies the WAL into it, and removes the WAL."""
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(sqlite3.Error):
                self.connection.close()
            self.connection = in_memory(self._schema)


def identity(path: Path) -> tuple[int, int]:
    """What a file is known by, whatever its name; zeros if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return NO_FILE
    return found.st_dev, found.st_ino


def in_memory(schema: Schema) -> sqlite3.Connection:
    """An empty journal."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for statement in (*schema.tables, NEVER_OPENED):
        connection.execute(statement)
    return connection


def make_file(path: Path) -> None:
    """Make an empty file that only its owner may read, unless there is one. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return
    os.close(descriptor)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new entries of a folder durable, if the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def connect(path: Path, schema: Schema) -> sqlite3.Connection:
    """The writing connection, to a database of today. Raises JournalError and sqlite3.Error."""
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, cached_statements=STATEMENTS_KEPT, check_same_thread=False
    )
    try:
        version = recognize(connection, path, schema)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = {-PAGES_KEPT_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_BYTES_MAX}")
        if version is None:
            run_in_one(connection, schema.tables, schema.version)
        elif version < schema.version:
            back_up(connection, path.with_name(f"{path.name}.{version}.bak"))
            statements = [text for older in range(version, schema.version) for text in schema.upgrades[older]]
            run_in_one(connection, statements, schema.version)
    except BaseException:
        connection.close()
        raise
    return connection


def recognize(connection: sqlite3.Connection, path: Path, schema: Schema) -> int | None:
    """The schema version of a file; None if it is empty. Changes nothing. Raises JournalError if it is not one of ours,
    or a newer one, and sqlite3.Error."""
    application_id = pragma(connection, "application_id")
    if application_id == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return None
    if application_id != APPLICATION_ID:
        raise JournalError(
            f"journal {path}: this is a database of another program; name another file with --journal"
        )
    version = pragma(connection, "user_version")
    if version > schema.version:
        raise JournalError(
            f"journal {path}: a newer Taskferry wrote it (schema {version}, this one knows {schema.version}); "
            "run that one, or name another file with --journal"
        )
    return version


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """The value of one of SQLite's settings that is a number."""
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def run_in_one(connection: sqlite3.Connection, statements: tuple[str, ...] | list[str], version: int) -> None:
    """Run them in one transaction, which also makes the file one of this version."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the database, as it is now, to a file that replaces any of this name only once it is whole and on disk.
    Raises sqlite3.Error and OSError."""
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    make_file(part)
    try:
        copy = sqlite3.connect(part, isolation_level=None)
        try:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
