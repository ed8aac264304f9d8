"""All schedules: which is due next, and what becomes of its run.

A run is an ordinary job, submitted like any other under a job_id that is made from the schedule's name and the time.
The schedule moves on to its next time once that job is on disk. A crash between the two submits the same job_id again,
which changes nothing.

If several times have passed, because the broker was down or its machine asleep, one run makes up for all of them.
"""

from heapq import heapify, heappop, heappush
from typing import Final

from msgspec import Raw

from ....protocol import errors, job_messages
from ....protocol.job_messages import Receipt, ScheduleAction
from ....protocol.limits import DELAY_S_MAX
from ...core.failure import Failure, plain_failure
from ...core.ports import Piece
from ..counts import JobCounts
from ..intake import Intake
from ..job import Job
from ..ports import Asker, JobObserver, Journal, Opened
from ..settings import JobSettings
from ..submission import Submission
from ..writer import Writer
from .schedule import Schedule, read_back, times_of, without_data
from .times import TimesError

NAME_LENGTH_MAX: Final = 100
"""Characters of a schedule's name: with a time behind it, it is a job_id."""
DATA_SIZE_BYTES_MAX: Final = 65_536
"""Data of a schedule: they are all in memory."""
RUNS_OPEN_COUNT_MAX: Final = 100
"""Open runs of one schedule, if they may queue."""
LATE_S_MAX: Final = 60.0
"""A run that starts later has been missed. Without `catch_up` it is left out."""
RETRY_S: Final = 1.0
"""How soon a run is submitted again if the journal could not be written."""
CLOCK_SLACK: Final = 100
"""Times in the clock that are not valid any more, before they are swept out."""
NEVER: Final = float("inf")

_NOT_WRITTEN: Final = plain_failure(errors.JournalFailed)


class Schedules:
    """All schedules, by name. `clock`: when each is to be looked at; only its `wake_at` is valid."""

    __slots__ = (
        "_counts",
        "_intake",
        "_journal",
        "_left",
        "_observer",
        "_schedules",
        "_settings",
        "_writer",
        "clock",
    )

    def __init__(
        self,
        journal: Journal,
        *,
        writer: Writer,
        intake: Intake,
        settings: JobSettings,
        counts: JobCounts,
        observer: JobObserver,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._intake = intake
        self._settings = settings
        self._counts = counts
        self._observer = observer
        self._schedules: dict[str, Schedule] = {}
        self._left: dict[str, dict[str, int]] = {}
        """Open runs of schedules that were removed: one that is added under the name must not overlap with them."""
        self.clock: list[tuple[float, str]] = []

    def opened(self, opened: Opened) -> None:
        """Take what the journal has."""
        for row in opened.schedules:
            schedule, error = read_back(row)
            self._schedules[row.name] = schedule
            if error is not None:
                self._observer.schedule_skipped(row.name, f"it cannot run any more: {error}")
            self._wake(schedule, schedule.due_at)
        for name, job_id, seq in opened.schedule_runs:
            self._runs_of(name)[job_id] = seq
        self._counts.schedules_count = len(self._schedules)

    def reconfigure(self, settings: JobSettings) -> None:
        """Change the settings; schedules that exceed a bound stay."""
        self._settings = settings

    # --- requesters -------------------------------------------------------------------------------------------------

    def add(self, asker: Asker, message: job_messages.Schedule, data: Raw, now: float) -> None:
        """Add a schedule, or replace the one of its name."""
        current = self._schedules.get(message.name)
        failure = self._refusal(asker, message, data, current, now)
        if failure is not None:
            asker.fail(message.request_id, failure, None)
            return
        try:
            times = times_of(message, now)
        except TimesError as error:
            asker.fail(message.request_id, _bad(str(error)), None)
            return
        schedule = Schedule(
            without_data(message),
            asker.owner,
            times,
            encoding=asker.encoding.value,
            data=bytes(data),
            added_at=now,
        )
        if schedule.due_at is None:
            asker.fail(message.request_id, _bad("its time has passed, or never comes"), None)
            return
        if current is None:
            self._schedules[schedule.name] = schedule
            schedule.runs = self._left.pop(schedule.name, schedule.runs)
            self._counts.schedules_count += 1
        else:
            current.replace(schedule)
            schedule = current
        self._changed(schedule)
        self._answer(asker, message.request_id, [schedule])

    def act(self, asker: Asker, message: ScheduleAction, now: float) -> None:
        """List schedules, or do something with one."""
        action, request_id = message.action, message.request_id
        if message.name is None:
            if action == "list":
                seen = (self._schedules[name] for name in sorted(self._schedules))
                self._answer(asker, request_id, [schedule for schedule in seen if _may_see(asker, schedule)])
            else:
                asker.fail(request_id, _bad(f"name: which schedule to {action}?"), None)
            return
        schedule = self._schedules.get(message.name)
        if schedule is None or not _may_see(asker, schedule):
            text = f"no schedule is called {message.name!r}"
            asker.fail(request_id, Failure(errors.UnknownJob.code, text), None)
            return
        if self._journal.is_failing and action != "list":
            asker.fail(request_id, _NOT_WRITTEN, None)
            return
        if action == "run":
            self._run_now(asker, request_id, schedule, now)
            return
        if action == "pause":
            schedule.is_paused, schedule.due_at = True, None
            self._changed(schedule)
        elif action == "resume" and schedule.is_paused:
            schedule.is_paused, schedule.due_at = False, schedule.times.next_after(now)
            self._changed(schedule)
        elif action == "remove":
            self._remove(schedule)
        self._answer(asker, request_id, [schedule])

    # --- runs -------------------------------------------------------------------------------------------------------

    @property
    def next_at(self) -> float:
        """When to call `advance` next."""
        return self.clock[0][0] if self.clock else NEVER

    def advance(self, now: float) -> None:
        """Submit all that is due."""
        clock = self.clock
        while clock and clock[0][0] <= now:
            at, name = heappop(clock)
            schedule = self._schedules.get(name)
            if schedule is not None and schedule.wake_at == at:
                schedule.wake_at = None
                self._due(schedule, now)

    def accepted(self, job: Job) -> None:
        """A run is a job now, or is one again."""
        assert job.new.schedule is not None
        self._runs_of(job.new.schedule)[job.new.job_id] = job.new.seq

    def ended(self, job: Job) -> None:
        """A run has ended, or could not be written."""
        name = job.new.schedule
        assert name is not None
        self._runs_of(name).pop(job.new.job_id, None)
        if name in self._left and not self._left[name]:
            del self._left[name]

    def _due(self, schedule: Schedule, now: float) -> None:
        """Submit the run whose time has come, unless there is a reason to leave it out."""
        due_at = schedule.due_at
        if due_at is None or due_at > now:  # paused or replaced, while its run was being submitted
            self._wake(schedule, due_at)
            return
        if schedule.is_submitting:  # by hand, just now
            self._wake(schedule, now + RETRY_S)
            return
        moment = schedule.times.latest_until(now, due_at)
        job_id = schedule.job_id_of(moment)
        if job_id in schedule.runs:  # the broker was killed before this was noted
            schedule.due_at = moment
            self.run_kept(schedule, moment, job_id)
            return
        schedule.due_at = moment
        if moment != due_at:
            self._skip(
                schedule, "it was due while the broker was not running; one run makes up for all that were"
            )
        reason = None
        if not schedule.message.catch_up and now - moment > LATE_S_MAX:
            reason = "it was due while the broker was not running"
        elif schedule.runs and schedule.message.overlap == "skip":
            reason = f"the run before has not ended: {next(iter(schedule.runs))}"
        elif len(schedule.runs) >= RUNS_OPEN_COUNT_MAX:
            reason = f"{RUNS_OPEN_COUNT_MAX} runs before it have not ended"
        if reason is None:
            self._submit(schedule, moment, Run(self, schedule, moment, now), now)
        else:
            self._skip(schedule, reason)
            self._go_on(schedule, moment)

    def _run_now(self, asker: Asker, request_id: str | None, schedule: Schedule, now: float) -> None:
        """Run it now, and as ever after that."""
        reason = None
        if schedule.is_submitting:
            reason = "a run of it is just being submitted"
        elif schedule.runs and schedule.message.overlap == "skip":
            reason = f"the run before has not ended: {next(iter(schedule.runs))}"
        elif len(schedule.runs) >= RUNS_OPEN_COUNT_MAX:
            reason = f"{RUNS_OPEN_COUNT_MAX} runs before it have not ended"
        if reason is None:
            moment = round(now, 3)
            self._submit(schedule, moment, RunByHand(self, schedule, moment, asker, request_id), now)
        else:
            asker.fail(request_id, Failure(errors.WrongState.code, reason), None)

    def _submit(self, schedule: Schedule, moment: float, asker: "Run | RunByHand", now: float) -> None:
        schedule.is_submitting = True
        submission = Submission(
            schedule.submit(moment),
            schedule.data,
            schedule.encoding,
            schedule.owner,
            asker=asker,
            schedule=schedule.name,
            waits_for=list(schedule.runs.values()),
        )
        self._intake.offer(submission, now)

    # --- what became of a run; called by Run and RunByHand ----------------------------------------------------------

    def run_kept(self, schedule: Schedule, moment: float, job_id: str) -> None:
        """The run of this time is on disk, or was already."""
        schedule.is_submitting = False
        schedule.last_at, schedule.last_job_id = moment, job_id
        self._counts.schedule_runs_count += 1
        if self._schedules.get(schedule.name) is schedule:
            self._go_on(schedule, moment)

    def run_refused(self, schedule: Schedule, moment: float, failure: Failure, now: float) -> None:
        """The run of this time is not kept: try again if the journal could not be written, else leave it out."""
        schedule.is_submitting = False
        if self._schedules.get(schedule.name) is not schedule:
            return
        if failure.code == errors.JournalFailed.code:
            self._wake(schedule, now + RETRY_S)
            return
        self._skip(schedule, f"it was refused: {failure.code}: {failure.text}")
        self._go_on(schedule, moment)

    def hand_kept(
        self, schedule: Schedule, moment: float, job_id: str, asker: Asker, request_id: str | None
    ) -> None:
        """The run by hand is on disk."""
        self.run_kept(schedule, moment, job_id)
        asker.answer(job_messages.Schedules(request_id, [schedule.view()], job_id))

    def hand_refused(self, schedule: Schedule) -> None:
        """The run by hand is not kept."""
        schedule.is_submitting = False
        self._wake(schedule, schedule.due_at)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _refusal(
        self, asker: Asker, message: job_messages.Schedule, data: Raw, current: Schedule | None, now: float
    ) -> Failure | None:
        """Why this schedule cannot be added, its times apart."""
        if self._journal.is_failing:
            return _NOT_WRITTEN
        if len(message.name) > NAME_LENGTH_MAX:
            return _bad(
                f"name: {len(message.name)} characters; a schedule's name has at most {NAME_LENGTH_MAX}"
            )
        if len(bytes(data)) > DATA_SIZE_BYTES_MAX:
            text = f"data: {len(bytes(data))} bytes; a schedule has at most {DATA_SIZE_BYTES_MAX} (DATA_SIZE_BYTES_MAX)"
            return Failure(errors.TooLarge.code, text)
        if message.at is not None and not now - LATE_S_MAX <= message.at <= now + DELAY_S_MAX:
            return _bad("at: seconds since 1970, not in the past, and at most a year from now")
        if current is not None:
            if _may_see(asker, current):
                return None
            text = f"name: another identity has a schedule called {message.name!r}"
            return Failure(errors.JobIdConflict.code, text)
        bound = self._settings.schedules_count_max
        if len(self._schedules) >= bound:
            return _overloaded(f"there are {bound} schedules (schedules_count_max)")
        own_bound = max(1, bound // 2)
        if sum(schedule.owner == asker.owner for schedule in self._schedules.values()) >= own_bound:
            return _overloaded(
                f"{asker.owner} has {own_bound} schedules, half of what there may be (schedules_count_max)"
            )
        return None

    def _runs_of(self, name: str) -> dict[str, int]:
        """The open runs of the schedule of this name, or of one that was removed."""
        schedule = self._schedules.get(name)
        return self._left.setdefault(name, {}) if schedule is None else schedule.runs

    def _skip(self, schedule: Schedule, reason: str) -> None:
        schedule.skipped_count += 1
        self._counts.schedule_skipped_count += 1
        self._observer.schedule_skipped(schedule.name, reason)

    def _go_on(self, schedule: Schedule, moment: float) -> None:
        """Go on to the next time. One that has no more, as one that runs once, is removed."""
        if schedule.due_at == moment:
            schedule.due_at = schedule.times.next_after(moment)
            if schedule.due_at is None:
                self._remove(schedule)
                return
        self._changed(schedule)

    def _remove(self, schedule: Schedule) -> None:
        del self._schedules[schedule.name]
        if schedule.runs:
            self._left[schedule.name] = schedule.runs
        self._counts.schedules_count -= 1
        self._writer.entry.batch.schedules_gone.append(schedule.name)

    def _changed(self, schedule: Schedule) -> None:
        """Write it, and look at it when it is due."""
        batch = self._writer.entry.batch
        batch.schedules.append(schedule.row())
        if schedule.name in batch.schedules_gone:  # in this turn, before it was added again
            batch.schedules_gone.remove(schedule.name)
        if not schedule.is_submitting:
            self._wake(schedule, schedule.due_at)

    def _wake(self, schedule: Schedule, at: float | None) -> None:
        schedule.wake_at = at
        if at is None:
            return
        heappush(self.clock, (at, schedule.name))
        if len(self.clock) > 2 * len(self._schedules) + CLOCK_SLACK:
            awake = ((other.wake_at, other.name) for other in self._schedules.values())
            self.clock = [(wake_at, name) for wake_at, name in awake if wake_at is not None]
            heapify(self.clock)

    def _answer(self, asker: Asker, request_id: str | None, schedules: list[Schedule]) -> None:
        answer = job_messages.Schedules(request_id, [schedule.view() for schedule in schedules])
        if (
            self._journal.is_failing
        ):  # it is a list: what has changed since the last commit is the time of a run
            asker.answer(answer)
        else:
            self._writer.entry.answer(asker, answer)


class Run:
    """The submitter of a run whose time has come."""

    __slots__ = ("_moment", "_now", "_schedule", "_schedules", "has_left")

    def __init__(self, schedules: Schedules, schedule: Schedule, moment: float, now: float) -> None:
        self.has_left = False
        self._schedules = schedules
        self._schedule = schedule
        self._moment = moment
        self._now = now

    def answer(self, message: object) -> None:
        """The receipt."""
        assert isinstance(message, Receipt)
        self._schedules.run_kept(self._schedule, self._moment, message.job_id)

    def follow(self, job_id: str, piece: Piece, *, is_chunk: bool) -> None:
        """It follows nothing."""

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        """It is not kept."""
        self._schedules.run_refused(self._schedule, self._moment, failure, self._now)


class RunByHand:
    """The submitter of a run by hand, for the connection that has asked for it."""

    __slots__ = ("_asker", "_moment", "_request_id", "_schedule", "_schedules", "has_left")

    def __init__(
        self, schedules: Schedules, schedule: Schedule, moment: float, asker: Asker, request_id: str | None
    ) -> None:
        self.has_left = False
        self._schedules = schedules
        self._schedule = schedule
        self._moment = moment
        self._asker = asker
        self._request_id = request_id

    def answer(self, message: object) -> None:
        """The receipt."""
        assert isinstance(message, Receipt)
        self._schedules.hand_kept(self._schedule, self._moment, message.job_id, self._asker, self._request_id)

    def follow(self, job_id: str, piece: Piece, *, is_chunk: bool) -> None:
        """It follows nothing."""

    def fail(self, request_id: str | None, failure: Failure, worker_id: str | None) -> None:
        """It is not kept: the asker gets the reason."""
        self._schedules.hand_refused(self._schedule)
        self._asker.fail(self._request_id, failure, worker_id)


def _may_see(asker: Asker, schedule: Schedule) -> bool:
    return asker.sees_all or asker.owner == schedule.owner


def _bad(text: str) -> Failure:
    return Failure(errors.BadRequest.code, text)


def _overloaded(text: str) -> Failure:
    return Failure(errors.Overloaded.code, text)
