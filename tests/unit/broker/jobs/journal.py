"""A journal in memory, which answers when it is told to, and in order; what it has not committed is lost in a crash."""

from collections import deque
from collections.abc import Callable
from typing import Any

from taskferry.broker.jobs.ports import JournalError, Query
from taskferry.broker.jobs.rows import Batch

from tests.unit.broker.storage.model import Model


class FakeJournal:
    """`disk` is what survives. `is_full`: writes fail; `is_broken`: reads do."""

    def __init__(self, disk: Model) -> None:
        self.disk = disk
        self.write_to_disk = disk.write
        self.is_failing = False
        self.is_full = False
        self.is_broken = False
        self.broken_reads: set[str] = set()
        """Queries that fail, by name."""
        self.queries: list[str] = []
        self._asked: deque[tuple[Batch | Query, Callable[[Any], None]]] = deque()
        self._answers: deque[tuple[Callable[[Any], None], object]] = deque()
        self.writes_count = 0
        self.rows_count = 0

    def write(self, batch: Batch, then: Callable[[JournalError | None], None]) -> None:
        self._asked.append((batch, then))

    def read(self, query: Query, then: Callable[[object], None]) -> None:
        self.queries.append(type(query).__name__)
        self._asked.append((query, then))

    @property
    def is_idle(self) -> bool:
        return not self._asked and not self._answers

    def work(self) -> bool:
        """Commit or look up one thing that was asked for. False: there is none."""
        if not self._asked:
            return False
        asked, then = self._asked.popleft()
        is_read = not isinstance(asked, Batch)
        if is_read and (self.is_broken or type(asked).__name__ in self.broken_reads):
            self._answers.append((then, JournalError("the disk is broken")))
        elif not isinstance(asked, Batch):
            self._answers.append((then, self.disk.answer(asked)))
        elif self.is_full:
            self.is_failing = True
            self._answers.append((then, JournalError("the disk is full")))
        else:
            self.is_failing = False
            self.writes_count += 1
            self.rows_count += len(asked.jobs) + len(asked.changes)
            self.write_to_disk(asked)
            self._answers.append((then, None))
        return True

    def answer(self) -> bool:
        """Hand over one answer. False: there is none."""
        if not self._answers:
            return False
        then, answer = self._answers.popleft()
        then(answer)
        return True
