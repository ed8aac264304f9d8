"""The journal of jobs in an SQLite file: the port, the queue, and the thread that owns the connection.

The event loop hands over batches and queries. The thread takes all that waits as one transaction, in order, commits it
(WAL, `synchronous=FULL`: an fsync), and answers all of it by one call into the loop. So a commit is shared by whatever
arrived during the one before, and what was read is on disk when it is answered.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from ..jobs.ports import JournalError, Query
from ..jobs.rows import Batch
from .changes import Changes
from .database import Database
from .errors import fault, journal_error, primary_code
from .lock import FileLock, Locked
from .queries import answer

FOLDER_MODE: Final = 0o700

TRANSACTION_ROWS_MAX: Final = 20_000
"""Rows of one transaction, or a few more: the first of them wait for the last."""


class JournalTaken(JournalError):
    """Another broker has the journal."""


class JournalObserver(Protocol):
    """Notified, in the event loop, of what an operator measures or may want to act on."""

    def committed(self, rows_count: int, duration_s: float) -> None:
        """A transaction is on disk."""

    def failed(self, error: JournalError) -> None:
        """A write failed; the one before had not."""

    def recovered(self) -> None:
        """A write succeeded; the one before had failed."""


class Written(NamedTuple):
    """A batch to write."""

    batch: Batch
    then: Callable[[JournalError | None], None]


class Asked(NamedTuple):
    """A query to answer."""

    query: Query
    then: Callable[[Any], None]


class Outcome(NamedTuple):
    """What one transaction has come to. `answers`: what each `then` is called with. `rows_count`: 0 if nothing was
    written."""

    answers: list[tuple[Callable[[Any], None], object]]
    rows_count: int
    duration_s: float
    error: JournalError | None


class SqliteJournal:
    """The journal in the file `path`, which the first write makes."""

    def __init__(self, path: Path, observer: JournalObserver) -> None:
        path = Path(os.path.realpath(path))  # two names of one file have one lock
        self.path = path
        self.is_failing = False
        self._observer = observer
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._waiting: queue.SimpleQueue[Written | Asked | None] = queue.SimpleQueue()
        self._closed: JournalError | None = JournalError(f"journal {path}: it is not open")

    # --- in the event loop --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the folder, take the lock, and open the file if there is one, which may upgrade it. Raises JournalTaken,
        or JournalError; nothing is held then."""
        loop = asyncio.get_running_loop()
        self._take_lock()
        opened: asyncio.Future[None] = loop.create_future()
        self._ended = loop.create_future()
        owner = Owner(self.path, self._waiting, self._reporter(loop))
        thread = threading.Thread(
            target=owner.run,
            args=(self._settler(loop, opened), self._settler(loop, self._ended)),
            daemon=True,
        )
        thread.name = "journal"
        thread.start()
        try:
            await asyncio.shield(opened)
        except BaseException:
            self._waiting.put(None)
            self._lock.release()
            raise
        self._closed = None

    def _take_lock(self) -> None:
        try:
            self.path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            self._lock.acquire()
        except Locked as error:
            by = f" (process {error.holder})" if error.holder else ""
            raise JournalTaken(
                f"journal {self.path}: another broker{by} has it; stop that one, or name another file with --journal"
            ) from None
        except OSError as error:
            raise journal_error(self.path, error) from None

    def write(self, batch: Batch, then: Callable[[JournalError | None], None]) -> None:
        """Write a batch; see the port."""
        self._hand_over(Written(batch, then))

    def read(self, query: Query, then: Callable[[Any], None]) -> None:
        """Answer a query; see the port."""
        self._hand_over(Asked(query, then))

    def _hand_over(self, item: Written | Asked) -> None:
        if self._closed is None:
            self._waiting.put(item)
        else:
            asyncio.get_running_loop().call_soon(item.then, self._closed)

    async def close(self) -> None:
        """Write all that waits, answer it, close the file, and release the lock."""
        if self._closed is not None:
            return
        self._closed = JournalError(f"journal {self.path}: it is closed")
        self._waiting.put(None)
        await asyncio.shield(self._ended)
        self._lock.release()

    @property
    def size_bytes(self) -> int:
        """The database and its WAL on disk."""
        return sum(map(file_size_bytes, (self.path, self.path.with_name(f"{self.path.name}-wal"))))

    def _reporter(self, loop: asyncio.AbstractEventLoop) -> Callable[[Outcome], None]:
        def report(outcome: Outcome) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed without us
                loop.call_soon_threadsafe(self._deliver, outcome)

        return report

    @staticmethod
    def _settler(
        loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]"
    ) -> Callable[[JournalError | None], None]:
        def settle(error: JournalError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def settle_soon(error: JournalError | None) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, error)

        return settle_soon

    def _deliver(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            if not self.is_failing:
                self._observer.failed(outcome.error)
            self.is_failing = True
        elif outcome.rows_count:
            if self.is_failing:
                self._observer.recovered()
            self.is_failing = False
            self._observer.committed(outcome.rows_count, outcome.duration_s)
        for then, value in outcome.answers:
            then(value)


def file_size_bytes(path: Path) -> int:
    """0 if there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Owner:
    """The thread's side: it alone touches the database."""

    def __init__(
        self,
        path: Path,
        waiting: "queue.SimpleQueue[Written | Asked | None]",
        report: Callable[[Outcome], None],
    ) -> None:
        self._database = Database(path)
        self._waiting = waiting
        self._report = report
        self._refused: list[int] = []
        """Submissions of transactions that failed. What an fsync that failed was to write may have reached the disk
        after all, so the next transaction removes them first."""

    def run(
        self, opened: Callable[[JournalError | None], None], ended: Callable[[JournalError | None], None]
    ) -> None:
        """Open the file, and work until None is in the queue."""
        try:
            self._database.open()
        except JournalError as error:
            opened(error)
            return
        opened(None)
        is_open = True
        while is_open:
            items, is_open = self._take()
            if items:
                self._report(self._work(items))
        self._database.close()
        ended(None)

    def _take(self) -> tuple[list[Written | Asked], bool]:
        """All that waits, up to a bound, and whether there will be more."""
        items: list[Written | Asked] = []
        rows_count = 0
        item = self._waiting.get()
        while item is not None:
            items.append(item)
            if isinstance(item, Written):
                rows_count += len(item.batch.jobs) + len(item.batch.changes)
            if rows_count >= TRANSACTION_ROWS_MAX:
                return items, True
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return items, True
        return items, False

    def _work(self, items: list[Written | Asked]) -> Outcome:
        """One transaction. If it fails, its writes fail, and its queries are answered without them."""
        started = time.perf_counter()
        try:
            answers, rows_count = self._transact(items)
        except Exception as error:
            failure = self._fail(items, error)
            has_failed = any(isinstance(item, Written) for item in items)
            return Outcome(self._answers_without(items, failure), 0, 0.0, failure if has_failed else None)
        return Outcome(answers, rows_count, time.perf_counter() - started, None)

    def _transact(
        self, items: list[Written | Asked]
    ) -> tuple[list[tuple[Callable[[Any], None], object]], int]:
        database = self._database
        has_writes = any(isinstance(item, Written) for item in items)
        if has_writes:
            database.make()
        else:
            database.open()
        connection = database.connection
        connection.execute("BEGIN IMMEDIATE" if has_writes else "BEGIN")
        answers: list[tuple[Callable[[Any], None], object]] = []
        if has_writes and self._refused:
            removal = Changes()
            removal.remove(self._refused)
            removal.write(connection)
        changes = Changes()
        rows_count = 0
        for item in items:
            if isinstance(item, Written):
                changes.add(item.batch)
                answers.append((item.then, None))
                continue
            rows_count += changes.count
            changes.write(connection)
            changes = Changes()
            answers.append((item.then, answer(connection, item.query)))
        changes.write(connection)
        connection.execute("COMMIT")
        if has_writes:
            self._refused.clear()
        return answers, rows_count + changes.count

    def _fail(self, items: list[Written | Asked], error: Exception) -> JournalError:
        """Roll back, and get the connection into a state in which it can be used again."""
        database = self._database
        with contextlib.suppress(sqlite3.Error):
            if database.connection.in_transaction:
                database.connection.execute("ROLLBACK")
        for item in items:
            if isinstance(item, Written):
                self._refused += [new.seq for new in item.batch.jobs]
        if isinstance(error, JournalError):
            return error
        if isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_IOERR:
            # After an fsync that failed nobody knows what is in the system's cache: read all of it again.
            database.close()
        return journal_error(database.path, error)

    def _answers_without(
        self, items: list[Written | Asked], failure: JournalError
    ) -> list[tuple[Callable[[Any], None], object]]:
        answers: list[tuple[Callable[[Any], None], object]] = []
        for item in items:
            value: object = failure
            if isinstance(item, Asked):
                try:
                    self._database.open()
                    value = answer(self._database.connection, item.query)
                except JournalError as error:
                    value = error
                except Exception as error:
                    value = JournalError(f"journal {self._database.path}: {fault(error)}")
            answers.append((item.then, value))
        return answers
