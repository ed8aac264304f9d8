"""How one worker has done with one command: counts, in all and since the last check.

health.py, ejection.py and outliers.py judge by them.
"""

from typing import Final

RECENT_COUNT_MIN: Final = 20
"""With at least this many results since the last check, only these count; fewer are left to chance, so all count."""


class Tally:
    """Counts of ended assignments since the worker connected.

    `neutral_count` counts failures that say nothing about the worker, because the requester caused them;
    `doubted_count` those of `failed_count` that the requester may have caused.
    """

    __slots__ = (
        "doubted_before",
        "doubted_count",
        "failed_before",
        "failed_count",
        "neutral_count",
        "succeeded_before",
        "succeeded_count",
    )

    def __init__(self) -> None:
        self.succeeded_count = 0
        self.failed_count = 0
        self.neutral_count = 0
        self.doubted_count = 0
        self.succeeded_before = 0
        self.failed_before = 0
        self.doubted_before = 0
        """The three counts at the last check."""

    @property
    def ended_count(self) -> int:
        """Assignments that the worker has ended, or that timed out or were lost with it."""
        return self.succeeded_count + self.failed_count + self.neutral_count

    @property
    def recent_count(self) -> int:
        """Successes and failures since the last check."""
        return self.succeeded_count + self.failed_count - self.succeeded_before - self.failed_before

    @property
    def certain_count(self) -> int:
        """The same without failures that the requester may have caused."""
        return self.recent_count - self.doubted_count + self.doubted_before

    def failure_share(self) -> float | None:
        """The share of failures in its results, in [0, 1]: of the recent ones if there are enough, else of all. None if
        there are no results."""
        recent_count = self.recent_count
        if recent_count >= RECENT_COUNT_MIN:
            return (self.failed_count - self.failed_before) / recent_count
        count = self.succeeded_count + self.failed_count
        return self.failed_count / count if count else None

    def look(self) -> None:
        """Start counting recent results again."""
        self.succeeded_before = self.succeeded_count
        self.failed_before = self.failed_count
        self.doubted_before = self.doubted_count
