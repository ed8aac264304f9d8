"""What is remembered about a worker by its name, even while it is away: failures in a row, ejections, drain requests.

Without it, a worker that crashes on every request would come back with a clean record each time, and a drained worker
whose link breaks would come back undrained.
"""

from collections import OrderedDict
from typing import Final

from ..health.streak import Streak

RECORDS_COUNT_MAX: Final = 10_000
"""Records kept of workers that are away; beyond it the oldest is dropped. A worker without failures, ejections or a
drain has none."""


class Record:
    """`streak`: its failures in a row, without a success between them. `ejections_count` determines how long the next
    ejection lasts. `ejected_until` and `trusted_since` are times of the core's clock; `ejected_until` keeps its value
    after an ejection until a probe has readmitted the worker, and is 0 otherwise."""

    __slots__ = ("ejected_until", "ejections_count", "is_drained", "streak", "trusted_since")

    def __init__(self) -> None:
        self.streak = Streak()
        self.ejections_count = 0
        self.ejected_until = 0.0
        self.trusted_since = 0.0
        self.is_drained = False

    @property
    def is_clean(self) -> bool:
        """It need not be kept."""
        return not (self.streak.count or self.ejections_count or self.is_drained)


class Records:
    """Records of workers that are away, by worker_id."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: OrderedDict[str, Record] = OrderedDict()

    def keep(self, worker_id: str, record: Record) -> None:
        """Keep the record of a worker that has left, unless it is clean."""
        if record.is_clean:
            return
        self._records[worker_id] = record
        if len(self._records) > RECORDS_COUNT_MAX:
            self._records.popitem(last=False)

    def take(self, worker_id: str) -> Record | None:
        """Remove and return the record of a worker that is back; None if there is none."""
        return self._records.pop(worker_id, None)
