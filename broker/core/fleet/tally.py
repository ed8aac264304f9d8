"""How one worker has done with one command: counts, and what became of the latest ones.

Knows nothing of what is made of these numbers; health.py and outliers.py judge.
"""

from typing import Final

RECENT_COUNT_MIN: Final = 20
"""Results since the last look from which on these alone count. With fewer, chance decides: the whole past is asked."""


class Tally:
    """Counts of ended assignments since the worker connected.

    `neutral_count` are failures that say nothing of the worker, because the requester is to blame for them.
    """

    __slots__ = ("failed_before", "failed_count", "neutral_count", "succeeded_before", "succeeded_count")

    def __init__(self) -> None:
        self.succeeded_count = 0
        self.failed_count = 0
        self.neutral_count = 0
        self.succeeded_before = 0
        self.failed_before = 0
        """The two counts at the last look."""

    @property
    def ended_count(self) -> int:
        """Assignments that the worker has reported, or had taken from it."""
        return self.succeeded_count + self.failed_count + self.neutral_count

    @property
    def recent_count(self) -> int:
        """Successes and failures since the last look."""
        return self.succeeded_count + self.failed_count - self.succeeded_before - self.failed_before

    def failure_share(self) -> float | None:
        """Which part of its results were failures, in [0, 1]: of the recent ones where these are enough, else of all.
        None where there are none."""
        recent_count = self.recent_count
        if recent_count >= RECENT_COUNT_MIN:
            return (self.failed_count - self.failed_before) / recent_count
        count = self.succeeded_count + self.failed_count
        return self.failed_count / count if count else None

    def look(self) -> None:
        """What is recent begins anew."""
        self.succeeded_before = self.succeeded_count
        self.failed_before = self.failed_count
