"""The life of a job: every change of its state, with all that is counted.

What others have to do about it (workers to be told, windows to be filled) is noted for the end of the turn.
"""

from typing import TYPE_CHECKING, Final

from ...protocol import errors
from .counts import JobCounts
from .followers import Followers
from .job import DISK, Job
from .lanes import Lanes
from .memory import Memory
from .rows import JobResult
from .settings import JobSettings
from .states import TRANSITIONS, Hold, JobEvent, JobState
from .writer import Writer

if TYPE_CHECKING:
    from .after import After
    from .inbox import Inbox
    from .keys import Keys
    from .schedules.schedules import Schedules


RECORD_S: Final = 0.02
"""How long an assignment waits to be written. A job that has ended by then costs two writes instead of three."""


class Lives:
    """`followers`: who wants receipts of a job. `owners`: open jobs of each identity. `withdrawn`: jobs whose call the
    core has to end. `unrecorded`: jobs whose assignment is to be written soon, with the time. `remove_at`,
    `expires_at`: the next times that an ended job is removed, or an open one expires; they may be too early."""

    __slots__ = (
        "_counts",
        "_lanes",
        "_memory",
        "_settings",
        "_writer",
        "after",
        "expires_at",
        "followers",
        "inbox",
        "keys",
        "owners",
        "remove_at",
        "schedules",
        "unrecorded",
        "withdrawn",
    )

    after: "After"
    inbox: "Inbox"
    keys: "Keys"
    schedules: "Schedules"

    def __init__(
        self, memory: Memory, lanes: Lanes, writer: Writer, counts: JobCounts, settings: JobSettings
    ) -> None:
        self._memory = memory
        self._lanes = lanes
        self._writer = writer
        self._counts = counts
        self._settings = settings
        self.followers = Followers()
        self.owners: dict[str, int] = {}
        self.withdrawn: list[Job] = []
        self.unrecorded: dict[Job, float] = {}
        self.remove_at = float("inf")
        self.expires_at = float("inf")

    def reconfigure(self, settings: JobSettings) -> None:
        """Change the settings. Jobs that have ended are kept as they were to be."""
        self._settings = settings

    # --- the beginning ----------------------------------------------------------------------------------------------

    def accept(self, job: Job) -> None:
        """It is new."""
        counts, new = self._counts, job.new
        self._memory.add(job)
        self._writer.entry.submit(job)
        counts.accepted_count += 1
        counts.open_size_bytes += job.data_size_bytes
        job.lane.accepted_count += 1
        job.lane.jobs_count += 1
        self.owners[new.owner] = self.owners.get(new.owner, 0) + 1
        if new.expires_at is not None and new.expires_at < self.expires_at:
            self.expires_at = new.expires_at
        if new.schedule is not None:
            self.schedules.accepted(job)

    def drop(self, job: Job) -> None:
        """It could not be written."""
        if job.is_open:
            self._closed(job)
            if job.new.schedule is not None:
                self.schedules.ended(job)
        else:
            self.inbox.dropped(job)
            self._counts.kept[job.state] -= 1
            self._counts.kept_size_bytes -= job.size_bytes
        self._leave_lane(job)
        self._memory.remove(job)

    # --- while it is open -------------------------------------------------------------------------------------------

    def hold(self, job: Job, hold: Hold) -> None:
        """It waits for this as well."""
        self._move(job, JobEvent.HOLD)
        job.held |= hold
        self._writer.entry.change(job)

    def release(self, job: Job, hold: Hold) -> None:
        """It need not wait for this any more."""
        job.held &= ~hold
        if not job.held:
            self._move(job, JobEvent.RELEASE)
        self._writer.entry.change(job)

    def assign(self, job: Job) -> None:
        """An attempt begins."""
        self._move(job, JobEvent.ASSIGN)

    def record(self, job: Job, now: float) -> None:
        """Write soon that a worker has it; at once if somebody waits to hear of it."""
        if self.followers.count and self.followers.of(job.new.seq):
            self.record_now(job)
        else:
            self.unrecorded[job] = now + RECORD_S

    def record_now(self, job: Job) -> None:
        """Write that a worker has it, and tell whoever follows it."""
        entry = self._writer.entry
        entry.change(job)
        entry.begun.append(job)

    def record_due(self, now: float) -> None:
        """Write the assignments whose time has come."""
        unrecorded = self.unrecorded
        while unrecorded:
            job, at = next(iter(unrecorded.items()))
            if at > now:
                return
            del unrecorded[job]
            self._writer.entry.change(job)

    def clock_stepped(self, by_s: float, now: float) -> None:
        """The clock was set, or has stood still."""
        latest = now + RECORD_S
        self.unrecorded = {job: min(at + by_s, latest) for job, at in self.unrecorded.items()}

    def record_all(self) -> None:
        """Write all assignments, so that the journal finds jobs by their true state."""
        for job in self.unrecorded:
            self._writer.entry.change(job)
        self.unrecorded.clear()

    def record_unique(self, key: tuple[str, str]) -> None:
        """Write those of the jobs with this command and unique key."""
        for job in tuple(self.unrecorded):
            if job.new.unique_key == key[1] and job.lane.command == key[0]:
                del self.unrecorded[job]
                self._writer.entry.change(job)

    @property
    def record_at(self) -> float:
        """When to call `record_due` next."""
        return next(iter(self.unrecorded.values())) if self.unrecorded else float("inf")

    def left(self, job: Job, now: float) -> None:
        """Neither the core nor a worker has it any more."""
        job.place = DISK
        job.progress = None
        job.is_free_loss = False
        self.unrecorded.pop(job, None)
        if job.new.key is not None:
            self.keys.leave(job, now)

    def give_back(self, job: Job, run_at: float, now: float) -> None:
        """Its attempt is over, and it is tried again at `run_at`; if it has expired by now, it is dead."""
        expires_at = job.new.expires_at
        self.left(job, now)
        if expires_at is not None and expires_at <= now:
            self.end(job, JobState.DEAD, now, errors.Expired.code, errors.Expired.message)
            return
        self._move(job, JobEvent.RETURN)
        job.msg_id = None
        job.run_at = run_at
        if expires_at is not None:
            self.expires_at = min(self.expires_at, expires_at)
        self._writer.entry.change(job)

    # --- the end ----------------------------------------------------------------------------------------------------

    def succeed(self, job: Job, result: JobResult, now: float) -> None:
        """It is done."""
        job.result = result
        job.result_size_bytes = len(result.result)
        job.code = job.error = None
        self._writer.entry.batch.results.append(result)
        self.left(job, now)
        self.end(job, JobState.DONE, now, None, None)

    def cancel(self, job: Job, now: float) -> None:
        """Somebody cancels it."""
        self.end(job, JobState.CANCELLED, now, errors.Cancelled.code, errors.Cancelled.message)

    def end(self, job: Job, state: JobState, now: float, code: str | None, error: str | None) -> None:
        """It has ended like this. If the core still has it, that call is withdrawn at the end of the turn."""
        if job.place != DISK:
            self.withdrawn.append(job)
        self._closed(job)
        event = _ENDS[state]
        job.state = TRANSITIONS[job.state, event]
        job.held = Hold.NOTHING
        settings = self._settings
        keep_s = job.terms.keep
        if keep_s is None:
            keep_s = settings.keep_dead_s if state is JobState.DEAD else settings.keep_done_s
        job.ended_at = now
        job.remove_at = now + keep_s
        self.remove_at = min(self.remove_at, job.remove_at)
        if code is not None:
            job.code, job.error = code, error
        counts = self._counts
        counts.kept[state] += 1
        counts.kept_size_bytes += job.size_bytes
        entry = self._writer.entry
        entry.change(job)
        entry.ended.append(job)
        new = job.new
        if new.client_id is not None:
            self.inbox.ended(job, now)
        if new.schedule is not None:
            self.schedules.ended(job)
        if new.key is not None:
            self.keys.ended(job, now)
        self.after.ended(job, now)

    def retry(self, job: Job, now: float) -> None:
        """Somebody wants an ended job to be tried again, with fresh budgets."""
        counts, new = self._counts, job.new
        counts.kept[job.state] -= 1
        counts.kept_size_bytes -= job.size_bytes
        counts.open_size_bytes += job.data_size_bytes
        self.owners[new.owner] = self.owners.get(new.owner, 0) + 1
        job.state = TRANSITIONS[job.state, JobEvent.RETRY]
        counts.accepted_count += 1
        job.lane.accepted_count += 1
        job.failures_count = job.losses_count = 0
        job.run_at = now
        job.msg_id = job.ended_at = job.remove_at = None
        self._writer.entry.change(job)
        if new.schedule is not None:
            self.schedules.accepted(job)

    def remove(self, job: Job) -> None:
        """Nothing is kept of an ended job any more. Memory has it until that is on disk, so that no earlier read brings
        it back."""
        counts = self._counts
        counts.kept[job.state] -= 1
        counts.kept_size_bytes -= job.size_bytes
        entry = self._writer.entry
        job.is_removed = True
        job.unwritten_count += 1
        entry.removed.append(job)
        self._leave_lane(job)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _move(self, job: Job, event: JobEvent) -> None:
        """Apply an event after which it is open, as before."""
        before = job.state
        after = job.state = TRANSITIONS[before, event]
        if after is not before:
            self._count(job, before, -1)
            self._count(job, after, 1)

    def _leave_lane(self, job: Job) -> None:
        """Nothing is kept of it: nor of its lane, if it was the last one there."""
        lane = job.lane
        lane.jobs_count -= 1
        if not lane.jobs_count:
            if lane.is_written:
                self._writer.entry.batch.lanes_gone.append(lane.number)
            self._lanes.remove(lane)

    def _closed(self, job: Job) -> None:
        """It is not open any more."""
        self._count(job, job.state, -1)
        self._counts.open_size_bytes -= job.data_size_bytes
        owner = job.new.owner
        count = self.owners[owner] - 1
        if count:
            self.owners[owner] = count
        else:
            del self.owners[owner]

    def _count(self, job: Job, state: JobState, by: int) -> None:
        if state is JobState.ACCEPTED:
            self._counts.accepted_count += by
            job.lane.accepted_count += by
        elif state is JobState.ASSIGNED:
            self._counts.assigned_count += by
            job.lane.assigned_count += by
        else:
            self._counts.held_count += by


_ENDS = {JobState.DONE: JobEvent.SUCCEED, JobState.DEAD: JobEvent.FAIL, JobState.CANCELLED: JobEvent.CANCEL}
