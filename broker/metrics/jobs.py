"""Families about jobs and their journal. They are there only if the broker keeps jobs."""

from collections.abc import Callable, Iterable
from typing import Final

from ..job_reading import JobReading
from ..read_model import Subjects
from .family import Family, HistogramFamily, LabelValues, NumberFamily, total

Rows = Iterable[tuple[LabelValues, float]]


def _reading(subjects: Subjects) -> JobReading:
    jobs = subjects.model.jobs
    assert jobs is not None, "these families are read only if there are jobs"
    return jobs


def _by(read: Callable[[JobReading], dict[str, int]]) -> Callable[[Subjects], Rows]:
    """One row for each key."""
    return lambda subjects: [((key,), count) for key, count in read(_reading(subjects)).items()]


def _one(read: Callable[[JobReading], float | None]) -> Callable[[Subjects], Rows]:
    """The one row of a family without labels; none if there is no number."""

    def rows(subjects: Subjects) -> Rows:
        number = read(_reading(subjects))
        return () if number is None else total(number)

    return rows


def _ended(subjects: Subjects) -> Rows:
    ended = _reading(subjects).counts.ended.items()
    return [((outcome, state.name.lower()), count) for (state, outcome), count in ended]


JOBS: Final[tuple[Family, ...]] = (
    NumberFamily(
        "taskferry_jobs",
        "gauge",
        ("state",),
        "Jobs that are kept, by state.",
        _by(lambda jobs: jobs.states()),
    ),
    NumberFamily(
        "taskferry_jobs_oldest_ready_seconds",
        "gauge",
        (),
        "How long the oldest job that is ready has waited for a worker; 0 if none is.",
        _one(lambda jobs: jobs.oldest_ready_s() or 0.0),
    ),
    NumberFamily(
        "taskferry_jobs_submitted_total",
        "counter",
        (),
        "Jobs accepted: on disk, and confirmed by a receipt.",
        _one(lambda jobs: jobs.counts.submitted_count),
    ),
    NumberFamily(
        "taskferry_job_duplicates_total",
        "counter",
        (),
        "Submissions of a job that was there already.",
        _one(lambda jobs: jobs.counts.duplicates_count),
    ),
    NumberFamily(
        "taskferry_jobs_refused_total",
        "counter",
        ("code",),
        "Submissions not accepted.",
        _by(lambda jobs: jobs.counts.refused),
    ),
    NumberFamily(
        "taskferry_jobs_ended_total",
        "counter",
        ("outcome", "state"),
        "Ended jobs.",
        _ended,
    ),
    NumberFamily(
        "taskferry_job_attempts_total",
        "counter",
        ("outcome",),
        "Ended attempts of jobs.",
        _by(lambda jobs: jobs.counts.attempts),
    ),
    NumberFamily(
        "taskferry_job_attempts_lost_total",
        "counter",
        (),
        "Attempts that were lost with their worker and count against their job.",
        _one(lambda jobs: jobs.counts.lost_count),
    ),
    NumberFamily(
        "taskferry_job_attempts_adopted_total",
        "counter",
        (),
        "Attempts that went on after a lost connection or a restart of the broker.",
        _one(lambda jobs: jobs.counts.adopted_count),
    ),
    NumberFamily(
        "taskferry_jobs_open_size_bytes",
        "gauge",
        (),
        "Data of jobs that have not ended.",
        _one(lambda jobs: jobs.counts.open_size_bytes),
    ),
    NumberFamily(
        "taskferry_jobs_kept_size_bytes",
        "gauge",
        (),
        "Data and results of ended jobs that are kept.",
        _one(lambda jobs: jobs.counts.kept_size_bytes),
    ),
    NumberFamily(
        "taskferry_jobs_bound",
        "gauge",
        ("setting",),
        "Bounds of what is kept.",
        _by(lambda jobs: jobs.bounds()),
    ),
    NumberFamily(
        "taskferry_schedules",
        "gauge",
        (),
        "Schedules, paused ones included.",
        _one(lambda jobs: jobs.counts.schedules_count),
    ),
    NumberFamily(
        "taskferry_schedule_runs_total",
        "counter",
        (),
        "Jobs submitted by schedules.",
        _one(lambda jobs: jobs.counts.schedule_runs_count),
    ),
    NumberFamily(
        "taskferry_schedule_runs_skipped_total",
        "counter",
        (),
        "Runs of schedules left out, because the one before had not ended or no job was accepted.",
        _one(lambda jobs: jobs.counts.schedule_skipped_count),
    ),
    NumberFamily(
        "taskferry_inbox_messages",
        "gauge",
        (),
        "Messages in inboxes, not acknowledged.",
        _one(lambda jobs: jobs.counts.inbox_count),
    ),
    NumberFamily(
        "taskferry_inbox_dropped_total",
        "counter",
        (),
        "Messages dropped because an inbox was full.",
        _one(lambda jobs: jobs.counts.inbox_dropped_count),
    ),
    HistogramFamily(
        "taskferry_journal_commit_duration_seconds",
        (),
        "Time of one transaction of the journal, fsync included.",
        lambda subjects: [((), _reading(subjects).commit_duration, None)],
    ),
    NumberFamily(
        "taskferry_journal_rows_total",
        "counter",
        (),
        "Rows written by these transactions.",
        _one(lambda jobs: jobs.rows_count),
    ),
    NumberFamily(
        "taskferry_journal_size_bytes",
        "gauge",
        (),
        "Size of the journal on disk, its log included.",
        _one(lambda jobs: jobs.journal().size_bytes),
    ),
    NumberFamily(
        "taskferry_journal_free_bytes",
        "gauge",
        (),
        "Free space on the journal's disk.",
        _one(lambda jobs: jobs.journal().free_bytes),
    ),
    NumberFamily(
        "taskferry_journal_failing",
        "gauge",
        (),
        "1 while the journal cannot be written and no job is accepted.",
        _one(lambda jobs: int(jobs.is_failing)),
    ),
    NumberFamily(
        "taskferry_journal_failures_total",
        "counter",
        (),
        "How often the journal began to fail.",
        _one(lambda jobs: jobs.failures_count),
    ),
)
