"""What operators count of jobs: totals since the start of the broker, and how many there are now."""

from .states import JobState


class JobCounts:
    """Plain numbers. `submitted_count`: jobs that were accepted, without the `duplicates_count` submissions that were
    already; `refused`: submissions, by error code. `ended`: by state and outcome label; `attempts`: that are over, by
    outcome label; `lost_count` of them cost their job a loss, `adopted_count` went on after a lost connection.

    Now: open jobs by state, `kept` ones, and the size of their data (and results)."""

    __slots__ = (
        "accepted_count",
        "adopted_count",
        "assigned_count",
        "attempts",
        "duplicates_count",
        "ended",
        "held_count",
        "inbox_count",
        "inbox_dropped_count",
        "kept",
        "kept_size_bytes",
        "lost_count",
        "open_size_bytes",
        "refused",
        "schedule_runs_count",
        "schedule_skipped_count",
        "schedules_count",
        "submitted_count",
    )

    def __init__(self) -> None:
        self.submitted_count = 0
        self.duplicates_count = 0
        self.refused: dict[str, int] = {}
        self.ended: dict[tuple[JobState, str], int] = {}
        self.attempts: dict[str, int] = {}
        self.lost_count = 0
        self.adopted_count = 0
        self.accepted_count = 0
        self.held_count = 0
        self.assigned_count = 0
        self.kept: dict[JobState, int] = {JobState.DONE: 0, JobState.DEAD: 0, JobState.CANCELLED: 0}
        self.open_size_bytes = 0
        self.kept_size_bytes = 0
        self.inbox_count = 0
        self.inbox_dropped_count = 0
        self.schedules_count = 0
        self.schedule_runs_count = 0
        self.schedule_skipped_count = 0

    @property
    def open_count(self) -> int:
        """Jobs that have not ended."""
        return self.accepted_count + self.held_count + self.assigned_count

    def refuse(self, code: str) -> None:
        """Count a submission that was refused."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def attempt_over(self, outcome: str) -> None:
        """Count an attempt that is over."""
        self.attempts[outcome] = self.attempts.get(outcome, 0) + 1

    def end(self, state: JobState, outcome: str) -> None:
        """Count a job that has ended."""
        self.ended[state, outcome] = self.ended.get((state, outcome), 0) + 1
