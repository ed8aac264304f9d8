"""When a schedule runs: by a cron expression in a time zone, at intervals, or once. All times are seconds since 1970.

A change of clocks neither swallows a run nor doubles it. A cron time that the clock skips runs once, at the instant of
the change; of a time that comes twice, the first counts. Only a schedule that goes on evenly across the change, such as
"every 15 minutes" or "at half past every hour", ignores it: it misses nothing, and an hour more really has passed.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

CRON_FIELDS_COUNT: Final = 5
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_HOURS: Final = set(range(24))


class TimesError(ValueError):
    """These are not times: one clause that says what is wrong, and where."""


class Times(Protocol):
    """The times of one schedule."""

    def next_after(self, moment: float) -> float | None:
        """The first time later than `moment`; None if there is none."""

    def latest_until(self, now: float, due_at: float) -> float:
        """The last time that is not later than `now`; `due_at` is one of them."""


class Cron:
    """The times of a cron expression with five fields, as Debian's cron reads them, in a time zone by its IANA name.
    Raises TimesError."""

    __slots__ = ("_expression", "_hours", "_minutes", "_zone")

    def __init__(self, expression: str, time_zone: str) -> None:
        try:
            self._zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise TimesError(
                f"no time zone is called {time_zone!r}: use an IANA name such as Europe/Berlin"
            ) from None
        if len(expression.split()) != CRON_FIELDS_COUNT:
            raise TimesError(
                f"the cron expression {expression!r} must have five fields: minute, hour, day of month, month, "
                "day of week"
            )
        try:
            parsed = CronSim(expression, datetime(2000, 1, 1))
        except CronSimError as error:
            raise TimesError(f"the cron expression {expression!r} has a {str(error).lower()}") from None
        self._expression = expression
        self._minutes = parsed.minutes
        self._hours = parsed.hours

    def next_after(self, moment: float) -> float | None:
        """The first time later than `moment`; None if there is none within 50 years.

        CronSim goes through local times without a zone. Between two changes of the clocks one offset from UTC holds, so
        a local time is an instant; what a change does to it is decided here.
        """
        now = datetime.fromtimestamp(int(moment // 1), UTC)
        offset = self._offset(now)
        local = (now + offset).replace(tzinfo=None)
        while True:
            try:
                local = next(CronSim(self._expression, local))
            except StopIteration:
                return None
            found = local.replace(tzinfo=UTC) - offset
            change = self._change(now, offset, found)
            if change is None:
                if found.astimezone(self._zone).fold and not self._is_even(self._repeated(found)):
                    continue
                return found.timestamp()
            offset_after = self._offset(change)
            is_skipped = local < (change + offset_after).replace(tzinfo=None)
            if is_skipped and not self._is_even(offset_after - offset):
                return change.timestamp()
            now, offset = change, offset_after
            local = (change + offset - _SECOND).replace(tzinfo=None)

    def latest_until(self, now: float, due_at: float) -> float:
        """The last time that is not later than `now`, found by halving what lies between `due_at` and `now`."""
        latest, end = due_at, now
        while True:
            following = self.next_after(latest)
            if following is None or following > now:
                return latest
            latest = following
            while end - latest > 1:
                middle = (latest + end) / 2
                following = self.next_after(middle)
                if following is not None and following <= now:
                    latest = following
                    break
                end = middle

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self._zone).utcoffset() or timedelta()

    def _repeated(self, moment: datetime) -> timedelta:
        """By how much the clock went back before this moment, which it shows for the second time."""
        local = moment.astimezone(self._zone)
        before, after = local.replace(fold=0).utcoffset(), local.utcoffset()
        assert before is not None
        assert after is not None
        return before - after

    def _change(self, start: datetime, offset: timedelta, end: datetime) -> datetime | None:
        """The instant after `start`, and not after `end`, from which another offset holds; None if there is none. The
        day that follows `start` is checked by itself, because a later change may undo what one in it does."""
        for until in (min(start + _DAY, end), end):
            if self._offset(until) != offset:
                break
        else:
            return None
        before, changed = start, until
        while changed - before > _SECOND:
            middle = before + timedelta(seconds=(changed - before) // _SECOND // 2)
            if self._offset(middle) == offset:
                before = middle
            else:
                changed = middle
        return changed

    def _is_even(self, shift: timedelta) -> bool:
        """It has the same minutes of every hour on both sides of a change of clocks by `shift`."""
        minutes = shift // timedelta(minutes=1)
        return self._hours == _HOURS and self._minutes == {
            (minute + minutes) % 60 for minute in self._minutes
        }


class Interval:
    """Every `every_s` seconds, at least 1, to the millisecond."""

    __slots__ = ("_every_s", "_start")

    def __init__(self, every_s: float, start: float) -> None:
        self._every_s = every_s
        self._start = round(start, 3)

    def next_after(self, moment: float) -> float | None:
        """The first time later than `moment`."""
        if moment < self._start:
            return self._time(1)
        count = int((moment - self._start) / self._every_s)
        return next(time for number in range(count, count + 3) if (time := self._time(number)) > moment)

    def latest_until(self, now: float, due_at: float) -> float:
        """The last time that is not later than `now`."""
        count = int((now - self._start) / self._every_s)
        return max(
            [due_at, *(time for number in range(count - 1, count + 2) if (time := self._time(number)) <= now)]
        )

    def _time(self, number: int) -> float:
        return round(self._start + number * self._every_s, 3)


class Once:
    """At one moment."""

    __slots__ = ("_at",)

    def __init__(self, at: float) -> None:
        self._at = round(at, 3)

    def next_after(self, moment: float) -> float | None:
        """The moment, if it is later."""
        return self._at if self._at > moment else None

    def latest_until(self, now: float, due_at: float) -> float:
        """The moment."""
        return self._at


def next_times(times: Times, moment: float, count: int) -> list[float]:
    """The next times later than `moment`, at most `count`."""
    found: list[float] = []
    while len(found) < count:
        following = times.next_after(found[-1] if found else moment)
        if following is None:
            break
        found.append(following)
    return found


def name_of_time(moment: float) -> str:
    """A time in UTC as it is in a job_id: `2026-11-29T01:30:00Z`, with milliseconds only if there are any."""
    whole, milliseconds = divmod(round(moment * 1000), 1000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{milliseconds:03}Z" if milliseconds else f"{text}Z"
