"""The journal's thread: it takes all that waits as one transaction, commits it, and reports what it has come to.

Whatever goes wrong, each of those that wait gets an answer: any exception is one for them, and never ends the thread.
"""

import contextlib
import queue
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..jobs.ports import CountMatching, JournalError, Opened, Query, Select
from ..jobs.rows import Batch
from .changes import Changes
from .database import Database
from .errors import journal_error, primary_code
from .queries import answer
from .scans import Scan
from .schema import OPENED

TRANSACTION_ROWS_MAX: Final = 20_000
"""Rows of one transaction, or a few more: the first of them wait for the last."""


PROBE: Final = "UPDATE meta SET value = 1 - value WHERE name = 'probe'"
"""Makes a transaction without rows reach the disk: whoever writes nothing wants to know whether it could. A row that
stays as it is would not be written."""


class Written(NamedTuple):
    """A batch to write."""

    batch: Batch
    then: Callable[[JournalError | None], None]


class Asked(NamedTuple):
    """A query to answer."""

    query: Query
    then: Callable[[Any], None]


class Outcome(NamedTuple):
    """What one transaction has come to. `answers`: what each `then` is called with. `has_written`: it is on disk.
    `error`: it was to be, and is not."""

    answers: list[tuple[Callable[[Any], None], object]]
    has_written: bool = False
    rows_count: int = 0
    duration_s: float = 0.0
    error: JournalError | None = None


class JournalThread:
    """What the thread does: it alone touches the database."""

    def __init__(
        self,
        database: Database,
        waiting: "queue.SimpleQueue[Written | Asked | None]",
        report: Callable[[Outcome], None],
    ) -> None:
        self._database = database
        self._waiting = waiting
        self._report = report
        self._is_counted = True
        """It is noted in the file that this broker has begun with it. If it may not be, the next write does it."""
        self._scans: deque[tuple[Scan, Callable[[Any], None]]] = deque()
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
            ended(None)
            return
        opened(None)
        is_open = True
        while is_open:
            items, is_open = self._take()
            if items:
                self._report(self._work(items))
            if self._scans:
                self._scan()
        closed = JournalError(f"journal {self._database.path}: it is closed")
        self._report(Outcome([(then, closed) for _, then in self._scans]))
        self._database.close()
        ended(None)

    def _take(self) -> tuple[list[Written | Asked], bool]:
        """All that waits, up to a bound, and whether there will be more. Waits for something to do. Lists and counts
        are put aside, and come after it."""
        items: list[Written | Asked] = []
        rows_count = 0
        try:
            item = self._waiting.get(block=not self._scans)
            while item is not None:
                if isinstance(item, Asked) and isinstance(item.query, Select | CountMatching):
                    self._scans.append((Scan(item.query), item.then))
                else:
                    items.append(item)
                if isinstance(item, Written):
                    rows_count += len(item.batch.jobs) + len(item.batch.changes)
                if rows_count >= TRANSACTION_ROWS_MAX:
                    return items, True
                item = self._waiting.get_nowait()
        except queue.Empty:
            return items, True
        return items, False

    def _scan(self) -> None:
        """The next slice of the list or count that has waited longest for one."""
        scan, then = self._scans.popleft()
        try:
            self._database.open()
            if not scan.step(self._database.connection):
                self._scans.append((scan, then))
                return
            found: object = scan.answer
        except Exception as error:
            found = self._read_error(error)
        self._report(Outcome([(then, found)]))

    def _work(self, items: list[Written | Asked]) -> Outcome:
        """One transaction. If it fails, its writes fail, and its queries are answered without them."""
        started = time.perf_counter()
        has_writes = any(isinstance(item, Written) for item in items)
        try:
            answers, rows_count = self._transact(items, has_writes)
        except Exception as error:
            failure = self._fail(items, error)
            return Outcome(self._answers_without(items, failure), error=failure if has_writes else None)
        return Outcome(answers, has_writes, rows_count, time.perf_counter() - started)

    def _transact(
        self, items: list[Written | Asked], has_writes: bool
    ) -> tuple[list[tuple[Callable[[Any], None], object]], int]:
        database = self._database
        if has_writes:
            database.make()
        else:
            database.open()
        connection = database.connection
        connection.execute("BEGIN IMMEDIATE" if has_writes else "BEGIN")
        if has_writes and not self._is_counted:
            connection.execute(OPENED)
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
            answers.append((item.then, self._answer(item.query)))
        rows_count += changes.count
        changes.write(connection)
        if has_writes and not rows_count:
            connection.execute(PROBE)
        connection.execute("COMMIT")
        if has_writes:
            self._is_counted = True
            self._refused.clear()
        return answers, rows_count

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
        return [
            (item.then, failure if isinstance(item, Written) else self._answer_alone(item.query))
            for item in items
        ]

    def _answer_alone(self, query: Query) -> object:
        try:
            self._database.open()
            return self._answer(query)
        except Exception as error:
            return self._read_error(error)

    def _answer(self, query: Query) -> object:
        found = answer(self._database.connection, query)
        if isinstance(found, Opened):  # to count once too often does no harm
            self._is_counted = found.was_stopped
        return found

    def _read_error(self, error: Exception) -> JournalError:
        return error if isinstance(error, JournalError) else journal_error(self._database.path, error)
