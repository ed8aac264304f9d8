"""One schedule: when it runs, what it submits, and how its last runs went."""

from typing import Final

import msgspec
from msgspec import UNSET

from ....protocol import job_messages
from ....protocol.job_messages import ScheduleView, Submit, Terms
from ..packed import ScheduleTerms
from ..rows import ScheduleRow
from .times import Cron, Interval, Once, Times, TimesError, name_of_time, next_times

SHOWN_COUNT: Final = 5
"""Its next times that are shown."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ScheduleTerms).decode


def times_of(message: job_messages.Schedule, added_at: float) -> Times:
    """The times of a schedule. Raises TimesError."""
    if (message.cron is not None) + (message.every is not None) + (message.at is not None) != 1:
        raise TimesError("give exactly one of cron, every and at")
    if message.cron is not None:
        return Cron(message.cron, message.time_zone)
    if message.every is not None:
        return Interval(message.every, added_at)
    assert message.at is not None
    return Once(message.at)


class Schedule:
    """`message` has no data. `due_at`: its next time, also while the run of that time is being submitted; None: there
    is none, or it is paused. `wake_at`: when it is to be looked at. `runs`: its open jobs, by job_id, with their seqs.
    `is_submitting`: one more is on its way."""

    __slots__ = (
        "_next",
        "_next_from",
        "added_at",
        "data",
        "due_at",
        "encoding",
        "is_paused",
        "is_submitting",
        "last_at",
        "last_job_id",
        "message",
        "owner",
        "runs",
        "skipped_count",
        "times",
        "wake_at",
    )

    def __init__(
        self,
        message: job_messages.Schedule,
        owner: str,
        times: Times,
        *,
        encoding: str,
        data: bytes,
        added_at: float,
    ) -> None:
        self.message = message
        self.owner = owner
        self.times = times
        self.encoding = encoding
        self.data = data
        self.added_at = added_at
        self.is_paused = False
        self.due_at = times.next_after(added_at)
        self.wake_at: float | None = None
        self.last_at: float | None = None
        self.last_job_id: str | None = None
        self.skipped_count = 0
        self.runs: dict[str, int] = {}
        self.is_submitting = False
        self._next: list[float] = []
        self._next_from: float | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.message.name

    def replace(self, other: "Schedule") -> None:
        """Become `other`, a new schedule of this name. It stays paused if it is; if its times are the same, the next
        one is too."""
        if _timing(self.message) != _timing(other.message):
            self.times, self.added_at = other.times, other.added_at
            self.due_at = None if self.is_paused else other.due_at
        self.message, self.encoding, self.data = other.message, other.encoding, other.data
        self._next_from = None

    def row(self) -> ScheduleRow:
        """As the journal keeps it."""
        return ScheduleRow(
            self.name,
            self.owner,
            _encode(ScheduleTerms(self.message, self.added_at)),
            self.encoding,
            self.data,
            self.is_paused,
            self.due_at,
            self.last_at,
            self.last_job_id,
            self.skipped_count,
        )

    def view(self) -> ScheduleView:
        """As requesters see it."""
        message = self.message
        return ScheduleView(
            name=message.name,
            command=message.command,
            owner=self.owner,
            next=self._next_times(),
            cron=message.cron,
            every=message.every,
            at=message.at,
            time_zone=message.time_zone,
            overlap=message.overlap,
            catch_up=message.catch_up,
            is_paused=self.is_paused,
            last_at=self.last_at,
            last_job_id=self.last_job_id,
            skipped_count=self.skipped_count,
        )

    def submit(self, moment: float) -> Submit:
        """What it submits for this time. The job_id is made from its name and the time, so that no run can come
        twice."""
        message = self.message
        terms = {field: getattr(message, field) for field in Terms.__struct_fields__}
        return Submit(command=message.command, job_id=self.job_id_of(moment), **terms)

    def job_id_of(self, moment: float) -> str:
        """The job_id of the run of this time."""
        return f"{self.name}@{name_of_time(moment)}"

    def _next_times(self) -> list[float]:
        """The next times. They are kept, because those of some cron expressions take milliseconds to find."""
        due_at = self.due_at
        if due_at is None:
            return []
        if self._next_from != due_at:
            self._next = [due_at, *next_times(self.times, due_at, SHOWN_COUNT - 1)]
            self._next_from = due_at
        return self._next


def read_back(row: ScheduleRow) -> tuple[Schedule, str | None]:
    """The schedule of a row, and what is wrong with its times: time zones come and go. It has no times then."""
    kept = _decode(row.terms)
    error = None
    times: Times
    try:
        times = times_of(kept.message, kept.added_at)
    except TimesError as wrong:
        times, error = Once(0.0), str(wrong)
    schedule = Schedule(
        kept.message, row.owner, times, encoding=row.encoding, data=row.data, added_at=kept.added_at
    )
    schedule.is_paused = row.is_paused
    schedule.due_at = None if error else row.due_at
    schedule.last_at = row.last_at
    schedule.last_job_id = row.last_job_id
    schedule.skipped_count = row.skipped_count
    return schedule, error


def without_data(message: job_messages.Schedule) -> job_messages.Schedule:
    """As it is kept."""
    return msgspec.structs.replace(message, data=UNSET, request_id=None)


def _timing(message: job_messages.Schedule) -> tuple[object, ...]:
    return message.cron, message.every, message.at, message.time_zone
