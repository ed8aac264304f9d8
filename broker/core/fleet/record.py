"""What is remembered of a worker by its name, also while it is away: failures in a row, ejections, an operator's wish.

Without it a worker that crashes on every request would come back each time as good as new, and a drained one whose link
breaks would come back undrained.
"""

from collections import OrderedDict
from typing import Final

RECORDS_COUNT_MAX: Final = 10_000
"""Records kept of workers that are away; beyond it the oldest goes. Only names with something to remember have one."""


class Record:
    """`failures_count`: in a row, with no success between them. `ejections_count`: how long the next ejection is.
    `ejected_until` and `trusted_since` are the core's seconds; the first stays after an ejection until a probe has
    readmitted the worker, and is 0 otherwise."""

    __slots__ = ("ejected_until", "ejections_count", "failures_count", "is_drained", "trusted_since")

    def __init__(self) -> None:
        self.failures_count = 0
        self.ejections_count = 0
        self.ejected_until = 0.0
        self.trusted_since = 0.0
        self.is_drained = False

    @property
    def is_clean(self) -> bool:
        """There is nothing to remember."""
        return not (self.failures_count or self.ejections_count or self.is_drained)


class Records:
    """Records of workers that are away, by worker_id."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: OrderedDict[str, Record] = OrderedDict()

    def keep(self, worker_id: str, record: Record) -> None:
        """The worker has gone."""
        if record.is_clean:
            return
        self._records[worker_id] = record
        if len(self._records) > RECORDS_COUNT_MAX:
            self._records.popitem(last=False)

    def take(self, worker_id: str) -> Record | None:
        """The worker is back; None where nothing is held against it."""
        return self._records.pop(worker_id, None)
