"""All schedules: which is due next, and what its run becomes."""

from msgspec import Raw

from ....protocol.messages import Schedule, ScheduleAction
from ..job import Job
from ..ports import Asker, Opened


class Schedules:
    """Not there yet."""

    __slots__ = ()
    next_at = float("inf")

    def advance(self, now: float) -> None:
        """Submit what is due."""

    def opened(self, opened: Opened, now: float) -> None:
        """What the journal has."""

    def add(self, asker: Asker, message: Schedule, data: Raw, now: float) -> None:
        """Add a schedule, or replace it."""

    def act(self, asker: Asker, message: ScheduleAction, now: float) -> None:
        """List, pause, ..."""

    def accepted(self, job: Job) -> None:
        """A run is a job now."""

    def ended(self, job: Job, now: float) -> None:
        """A run has ended."""
