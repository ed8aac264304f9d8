"""What the journal reports of its writes, as counts for metrics and as events for the operator."""

import logging
import time

from ..log.event import log_event
from .core.measures.histogram import Histogram
from .events import JournalFailing, JournalRecovered
from .jobs.ports import JournalError

logger = logging.getLogger(__name__)


class JournalWatch:
    """The journal's observer. `commit_duration`: of transactions, fsync included; `rows_count`: written by them;
    `failures_count`: how often a row of failures began; `error`: why the last write failed, None if it did not."""

    __slots__ = ("_failing_since", "commit_duration", "error", "failures_count", "rows_count")

    def __init__(self) -> None:
        self.commit_duration = Histogram()
        self.rows_count = 0
        self.failures_count = 0
        self.error: str | None = None
        self._failing_since = 0.0

    def committed(self, rows_count: int, duration_s: float) -> None:
        """So many rows are on disk, in one transaction."""
        self.commit_duration.observe(duration_s)
        self.rows_count += rows_count

    def failed(self, error: JournalError) -> None:
        """A write failed, the first after one that did not."""
        self.failures_count += 1
        self.error = str(error)
        self._failing_since = time.monotonic()
        log_event(logger, JournalFailing(self.error))

    def recovered(self) -> None:
        """A write succeeded again."""
        self.error = None
        log_event(logger, JournalRecovered(time.monotonic() - self._failing_since))
