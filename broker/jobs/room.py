"""Is there room for one more open job? The same bounds hold for a submission and for a retry by hand."""

from typing import Final

from ...protocol import errors
from ..core.failure import Failure
from .counts import JobCounts
from .job import Job
from .lives import Lives
from .settings import JobSettings

TRIED_KEYS_COUNT_MAX: Final = 100_000
"""Unique keys that a dry run may remember (20 MB), so that it counts one job of each."""


class Tried:
    """What a dry run of retries has counted so far, as if these jobs were open: `count`, `size_bytes`, by owner, and by
    unique key whether one of them has had no attempt."""

    __slots__ = ("count", "owned", "size_bytes", "unique")

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0
        self.owned: dict[str, int] = {}
        self.unique: dict[tuple[str, str], bool] = {}

    @property
    def is_full(self) -> bool:
        """It cannot remember more keys."""
        return len(self.unique) >= TRIED_KEYS_COUNT_MAX

    def add(self, job: Job) -> None:
        """This one would be open."""
        owner = job.new.owner
        self.count += 1
        self.size_bytes += job.data_size_bytes
        self.owned[owner] = self.owned.get(owner, 0) + 1
        terms = job.terms.unique
        if terms is not None:
            key = job.lane.command, terms.key
            self.unique[key] = self.unique.get(key, False) or not job.attempt

    def bars(self, job: Job) -> bool:
        """One of them would have the unique key that `job` has."""
        terms = job.terms.unique
        assert terms is not None
        has_unstarted = self.unique.get((job.lane.command, terms.key))
        return has_unstarted is not None and (terms.until == "ended" or has_unstarted)


class Room:
    """Knows what is open, and the bounds."""

    __slots__ = ("_counts", "_lives", "settings")

    def __init__(self, counts: JobCounts, lives: Lives, settings: JobSettings) -> None:
        self._counts = counts
        self._lives = lives
        self.settings = settings

    def is_full(self, tried: Tried) -> bool:
        """There is room for no job at all, if `tried` were open as well."""
        return self._counts.open_count + tried.count >= self.settings.open_count_max

    def refusal(self, owner: str, size_bytes: int) -> Failure | None:
        """Why `owner` may not have one more open job with so much data."""
        counts = self._counts
        owned_count = self._lives.owners.get(owner, 0)
        return self._judge(owner, counts.open_count, counts.open_size_bytes + size_bytes, owned_count)

    def refusal_after(self, tried: Tried, owner: str, size_bytes: int) -> Failure | None:
        """The same if `tried` were open as well."""
        counts = self._counts
        owned_count = self._lives.owners.get(owner, 0) + tried.owned.get(owner, 0)
        open_size_bytes = counts.open_size_bytes + tried.size_bytes + size_bytes
        return self._judge(owner, counts.open_count + tried.count, open_size_bytes, owned_count)

    def _judge(self, owner: str, open_count: int, open_size_bytes: int, owned_count: int) -> Failure | None:
        settings = self.settings
        if open_count >= settings.open_count_max:
            return overloaded(f"{settings.open_count_max} jobs are open (open_count_max)")
        if open_size_bytes > settings.open_size_bytes_max:
            bound = settings.open_size_bytes_max
            return overloaded(f"open jobs have {bound} bytes of data (open_size_bytes_max)")
        if owned_count >= settings.account_open_count_max:
            bound = settings.account_open_count_max
            return overloaded(f"{owner} has {bound} open jobs (account_open_count_max)")
        return None


def overloaded(text: str) -> Failure:
    """A bound is reached."""
    return Failure(errors.Overloaded.code, text, None, errors.NOT_DELIVERED)
