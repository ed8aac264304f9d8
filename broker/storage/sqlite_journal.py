"""The journal of jobs in an SQLite file: the port, the queue, and the thread that owns the connection.

The event loop hands over batches and queries. The thread takes all that waits as one transaction, in order, commits it
(WAL, `synchronous=FULL`: an fsync), and answers all of it by one call into the loop. So a commit is shared by whatever
arrived during the one before, and what was read is on disk when it is answered.
"""

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from ..jobs.ports import JournalError, Query
from ..jobs.rows import Batch
from .database import Database
from .errors import journal_error
from .journal_thread import Asked, JournalThread, Outcome, Written
from .lock import FileLock, Locked

FOLDER_MODE: Final = 0o700


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
        work = JournalThread(Database(self.path), self._waiting, self._reporter(loop))
        settlers = self._settler(loop, opened), self._settler(loop, self._ended)
        threading.Thread(target=work.run, args=settlers, name="journal", daemon=True).start()
        try:
            await asyncio.shield(opened)
        except JournalError:
            self._lock.release()
            raise
        except asyncio.CancelledError:  # the thread is still opening it, perhaps upgrading it
            self._waiting.put(None)
            self._ended.add_done_callback(lambda _: self._lock.release())
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
        elif outcome.has_written:
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
