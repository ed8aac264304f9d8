"""What the clock does to jobs on disk: ended ones are removed after their time, or earlier if they take too much room;
open ones expire."""

from typing import Any, Final

from ...protocol import errors
from .counts import JobCounts
from .lanes import NEVER
from .lives import Lives
from .memory import Memory
from .ports import FindOverdue, JournalError, Overdue
from .reads import Reads
from .rows import ROWS_PER_READ_MAX
from .settings import JobSettings
from .states import JobState

LOOK_INTERVAL_S: Final = 1.0
"""How often the journal is asked for what is overdue, at most, unless it has more than one answer can take."""


class Kept:
    """`next_at`: when to call `advance` next."""

    __slots__ = ("_counts", "_is_reading", "_lives", "_look_at", "_memory", "_reads", "settings")

    def __init__(
        self, *, memory: Memory, lives: Lives, reads: Reads, counts: JobCounts, settings: JobSettings
    ) -> None:
        self._memory = memory
        self._lives = lives
        self._reads = reads
        self._counts = counts
        self._is_reading = False
        self._look_at = 0.0
        self.settings = settings

    @property
    def next_at(self) -> float:
        """When something is due."""
        if self._is_reading:
            return NEVER
        if self._excess_bytes > 0:
            return self._look_at
        return max(min(self._lives.remove_at, self._lives.expires_at), self._look_at)

    @property
    def _excess_bytes(self) -> int:
        return max(0, self._counts.kept_size_bytes - self.settings.kept_size_bytes_max)

    def advance(self, now: float) -> None:
        """Ask for what is due."""
        if now < self.next_at:
            return
        self._is_reading = True
        self._look_at = now + LOOK_INTERVAL_S
        self._lives.remove_at = self._lives.expires_at = NEVER
        self._reads.ask(FindOverdue(now, self._excess_bytes, ROWS_PER_READ_MAX), self._found)

    def clock_stepped(self, by_s: float, now: float) -> None:
        """The clock was set, or has stood still."""
        self._look_at = min(self._look_at + by_s, now + LOOK_INTERVAL_S)

    def _found(self, context: object, answer: Any, now: float) -> None:
        del context
        self._is_reading = False
        lives = self._lives
        if isinstance(answer, JournalError):
            lives.remove_at = lives.expires_at = now + LOOK_INTERVAL_S
            return
        overdue: Overdue = answer
        lives.remove_at = min(lives.remove_at, overdue.remove_at_min or NEVER)
        lives.expires_at = min(lives.expires_at, overdue.expires_at_min or NEVER)
        has_changed = False
        for stored in overdue.removed:
            job = self._memory.take(stored)
            if not job.is_open and not job.is_removed and not job.unwritten_count:
                lives.remove(job)
                has_changed = True
            else:
                self._memory.release(job)
        for stored in overdue.expired:
            job = self._memory.take(stored)
            if job.entry is None and job.state in {JobState.ACCEPTED, JobState.HELD}:
                lives.end(job, JobState.DEAD, now, errors.Expired.code, errors.Expired.message)
                has_changed = True
            else:
                self._memory.release(job)
        is_full = max(len(overdue.removed), len(overdue.expired)) == ROWS_PER_READ_MAX
        if is_full and has_changed:  # else the journal fails, and would answer the same again
            self._look_at = now
