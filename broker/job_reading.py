"""What there is to know about the jobs of a running broker, as numbers and rows: the part of the read model that is
there only if the broker keeps jobs.

Most is counted in memory. How many jobs are delayed, and which are the oldest that are ready, only the journal knows:
it is asked when these numbers are read, and rarely enough to cost it nothing.
"""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from typing import Any, Final

from msgspec import Struct

from .core.core import Core
from .core.measures.histogram import Histogram
from .job_desk import JobDesk
from .job_explanation import JobExplainer
from .jobs.counts import JobCounts
from .jobs.ports import Survey, Surveyed
from .jobs.states import ENDED, JobState

OLDEST_COUNT_MAX: Final = 20
"""Jobs that are listed as the oldest that wait: a screenful."""

SURVEY_SHARE_MAX: Final = 0.01
"""The share of time that surveys may take: with a million delayed jobs one takes a few hundredths of a second, for
which submissions wait."""

SURVEY_WAIT_S_MAX: Final = 1.0
"""How long a reader waits for a survey. The numbers of the last one are shown if the journal is busy for longer."""

OPEN_STATES: Final = ("ready", "delayed", "held", "assigned")
STATES: Final = (*OPEN_STATES, *(state.name.lower() for state in sorted(ENDED)))
"""What `jobs` counts: open jobs, of which the accepted ones are ready or delayed; then the ended ones that are kept."""


class OldestRow(Struct, frozen=True):
    """A job that is ready and waits for a worker. `ready_s`: for how long."""

    job_id: str
    command: str
    owner: str
    priority: int
    attempt: int
    ready_s: float


class JobCommandRow(Struct, frozen=True):
    """The open jobs of a command, over all targets; held ones are in no line, and not in it. `loaded`: ready ones that
    wait in memory."""

    command: str
    ready: int
    delayed: int
    assigned: int
    loaded: int


class JournalRow(Struct, frozen=True):
    """The journal. `free_bytes`: of its disk, None if that cannot be read. `error`: why it cannot be written, None if
    it can."""

    path: str
    size_bytes: int
    free_bytes: int | None
    error: str | None


class JobsStatus(Struct, frozen=True):
    """Jobs as a whole, as `/api/status` shows them. `states`: how many are in each of STATES now; `ended`: since the
    start, by how they ended; `oldest_ready_s`: for how long the oldest job that is ready has waited, None if none
    is."""

    submitted_count: int
    duplicates_count: int
    states: dict[str, int]
    ended: dict[str, int]
    refused: dict[str, int]
    counts: dict[str, int]
    oldest_ready_s: float | None
    journal: JournalRow


class JobsOverview(Struct, frozen=True):
    """What `/api/jobs` shows: `states`, the lines of all commands, and the oldest jobs that are ready."""

    states: dict[str, int]
    commands: list[JobCommandRow]
    oldest: list[OldestRow]


class JobReading:
    """Reads the jobs of one broker, and changes nothing."""

    def __init__(self, desk: JobDesk, core: Core) -> None:
        self._desk = desk
        self._explainer = JobExplainer(desk, core)
        self._surveyed = Surveyed({}, [])
        self._asked: asyncio.Future[None] | None = None
        self._next_survey_at = 0.0

    async def refresh(self) -> None:
        """Survey the journal, unless the last one is recent enough. Await it before you read what is surveyed."""
        if self._asked is None and time.monotonic() >= self._next_survey_at and self._desk.jobs.is_open:
            self._survey()
        if self._asked is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._asked), SURVEY_WAIT_S_MAX)

    def _survey(self) -> None:
        began_at = time.monotonic()
        asked = self._asked = asyncio.get_running_loop().create_future()

        def surveyed(answer: object) -> None:
            if isinstance(answer, Surveyed):  # not if the journal could not be read
                self._surveyed = answer
            now = time.monotonic()
            self._next_survey_at = now + (now - began_at) / SURVEY_SHARE_MAX
            self._asked = None
            asked.set_result(None)

        self._desk.journal.read(Survey(self._desk.now(), OLDEST_COUNT_MAX), surveyed)

    # --- for metrics --------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> JobCounts:
        return self._desk.jobs.counts

    @property
    def commit_duration(self) -> Histogram:
        """Of the journal's transactions, fsync included."""
        return self._desk.watch.commit_duration

    @property
    def rows_count(self) -> int:
        """Rows that these have written."""
        return self._desk.watch.rows_count

    @property
    def failures_count(self) -> int:
        """How often the journal began to fail."""
        return self._desk.watch.failures_count

    @property
    def is_failing(self) -> bool:
        return self._desk.journal.is_failing

    def states(self) -> dict[str, int]:
        """How many jobs are in each of STATES. Await `refresh` first."""
        counts = self.counts
        delayed_count = min(counts.accepted_count, sum(self._surveyed.delayed_counts.values()))
        return {
            "ready": counts.accepted_count - delayed_count,
            "delayed": delayed_count,
            "held": counts.held_count,
            "assigned": counts.assigned_count,
            **{state.name.lower(): counts.kept.get(state, 0) for state in sorted(ENDED)},
        }

    def oldest_ready_s(self) -> float | None:
        """For how long the oldest job that is ready has waited; None if none is. Await `refresh` first."""
        if not self._surveyed.oldest:
            return None
        return max(0.0, self._desk.now() - self._surveyed.oldest[0].change.run_at)

    def bounds(self) -> dict[str, int]:
        """The bounds in force of what is kept, by setting."""
        settings = self._desk.jobs.settings
        names = ("open_count_max", "open_size_bytes_max", "kept_size_bytes_max")
        return {name: getattr(settings, name) for name in names}

    def journal(self) -> JournalRow:
        journal = self._desk.journal
        try:
            free_bytes = shutil.disk_usage(journal.path.parent).free
        except OSError:
            free_bytes = None
        return JournalRow(str(journal.path), journal.size_bytes, free_bytes, self._desk.watch.error)

    # --- for people ---------------------------------------------------------------------------------------------------

    async def explain(self, job_id: str) -> dict[str, Any] | None:
        """Why a job waits, or where it runs (see job_explanation.py); None if there is no such job. Raises
        JournalSilent."""
        return await self._explainer.explain(job_id, time.monotonic())

    def status(self) -> JobsStatus:
        """Await `refresh` first."""
        counts, age_s = self.counts, self.oldest_ready_s()
        ended: Counter[str] = Counter()
        for (state, outcome), count in counts.ended.items():
            ended[f"dead: {outcome}" if state is JobState.DEAD else state.name.lower()] += count
        return JobsStatus(
            submitted_count=counts.submitted_count,
            duplicates_count=counts.duplicates_count,
            states=self.states(),
            ended=ended,
            refused=counts.refused,
            counts={
                "attempts": sum(counts.attempts.values()),
                "lost": counts.lost_count,
                "adopted": counts.adopted_count,
                "schedules": counts.schedules_count,
                "runs_skipped": counts.schedule_skipped_count,
                "inbox_messages": counts.inbox_count,
            },
            oldest_ready_s=None if age_s is None else round(age_s, 3),
            journal=self.journal(),
        )

    def overview(self) -> JobsOverview:
        """Await `refresh` first."""
        return JobsOverview(self.states(), self._commands(), self._oldest())

    def _commands(self) -> list[JobCommandRow]:
        sums: dict[str, list[int]] = {}
        for number, lane in self._desk.jobs.lanes.items():
            delayed_count = min(lane.accepted_count, self._surveyed.delayed_counts.get(number, 0))
            counted = (
                lane.accepted_count - delayed_count, delayed_count, lane.assigned_count, lane.loaded_count,
            )  # fmt: skip
            before = sums.get(lane.command, (0, 0, 0, 0))
            sums[lane.command] = [one + other for one, other in zip(before, counted, strict=True)]
        return [JobCommandRow(command, *counted) for command, counted in sorted(sums.items())]

    def _oldest(self) -> list[OldestRow]:
        now, lanes = self._desk.now(), self._desk.jobs.lanes
        return [
            OldestRow(
                job_id=job.new.job_id,
                command=lanes[job.new.lane].command,
                owner=job.new.owner,
                priority=job.new.priority,
                attempt=job.change.attempt,
                ready_s=round(max(0.0, now - job.change.run_at), 3),
            )
            for job in self._surveyed.oldest
            if job.new.lane in lanes
        ]
