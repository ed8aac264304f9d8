"""The jobs that are in memory. What memory has of a job is newer than what the journal has."""

from .job import DISK, Job, read_back
from .lanes import Lane, Lanes
from .namesakes import Namesakes
from .rows import StoredJob
from .states import JobState


class Memory:
    """`by_id`: by job_id; `by_unique`: by (command, unique key)."""

    __slots__ = ("_lanes", "by_id", "by_unique")

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.by_id: dict[str, Job] = {}
        self.by_unique: dict[tuple[str, str], Namesakes] = {}

    def add(self, job: Job) -> None:
        """It is in memory now."""
        self.by_id[job.new.job_id] = job
        self.note_key(job)

    def note_key(self, job: Job) -> None:
        """It is in memory now, or open again: find it by its unique key, if it has one."""
        new = job.new
        if new.unique_key is not None:
            key = job.lane.command, new.unique_key
            same = self.by_unique.get(key)
            if same is None:
                same = self.by_unique[key] = Namesakes()
            same.add(job)

    def lane_of(self, stored: StoredJob) -> Lane:
        """The lane of rows that the journal answered."""
        job = self.by_id.get(stored.new.job_id)  # if it is removed, its lane may have gone with it
        return self._lanes.by_number[stored.new.lane] if job is None else job.lane

    def take(self, stored: StoredJob, *, has_data: bool = False) -> Job:
        """The job of rows that the journal answered: the one that is in memory, or it is taken there."""
        job = self.by_id.get(stored.new.job_id)
        if job is None:
            job = read_back(stored, self.lane_of(stored), has_data=has_data)
            self.add(job)
        return job

    def detached(self, stored: StoredJob) -> Job:
        """The job of rows that the journal answered, to look at; memory does not have it."""
        return read_back(stored, self.lane_of(stored), has_data=False)

    def remove(self, job: Job) -> None:
        """It is on disk only, or nowhere."""
        new = job.new
        del self.by_id[new.job_id]
        if new.unique_key is not None:
            key = job.lane.command, new.unique_key
            same = self.by_unique[key]
            same.discard(job)
            if same.is_empty:
                del self.by_unique[key]

    def clock_stepped(self, by_s: float, now: float) -> None:
        """The clock was set, or has stood still: no attempt has lost that time."""
        for job in self.by_id.values():
            if job.state is JobState.ASSIGNED and job.started_at is not None:
                job.started_at = min(job.started_at + by_s, now)

    def release(self, job: Job) -> None:
        """Remove it, unless there is a reason to keep it."""
        if job.place == DISK and not job.unwritten_count and job.new.job_id in self.by_id:
            self.remove(job)
