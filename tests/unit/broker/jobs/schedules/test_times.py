"""When schedules run, above all around changes of clocks."""

import functools
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import example, given, settings
from hypothesis import strategies as st
from taskferry.broker.jobs.schedules.times import (
    Cron,
    Interval,
    Once,
    TimesError,
    name_of_time,
    next_times,
)

from tests.each_case import each_case

NOW = 1_800_000_000.25


def seconds(text: str) -> float:
    """`2026-03-29 01:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def texts(cron: Cron, start: str, count: int) -> str:
    """The next times in UTC, as `29 01:00, 29 02:00`."""
    times = next_times(cron, seconds(start), count)
    return ", ".join(datetime.fromtimestamp(time, UTC).strftime("%d %H:%M") for time in times)


BERLIN_FORWARD = "2026-03-29 00:00"  # 02:00 becomes 03:00 at 01:00 UTC
BERLIN_BACK = "2026-10-24 22:00"  # on the 25th 03:00 becomes 02:00 at 01:00 UTC
NEW_YORK_FORWARD = "2026-03-08 05:30"  # 02:00 becomes 03:00 at 07:00 UTC
NEW_YORK_BACK = "2026-11-01 04:30"  # 02:00 becomes 01:00 at 06:00 UTC
HOWE_FORWARD = "2026-10-03 14:00"  # 02:00 becomes 02:30 at 15:30 UTC
HOWE_BACK = "2026-04-04 13:30"  # 02:00 becomes 01:30 at 15:00 UTC


@each_case(
    ("time_zone", "expression", "start", "expected"),
    [
        # What the clock skips runs once, at the instant of the change.
        ("Europe/Berlin", "30 2 * * *", BERLIN_FORWARD, "29 01:00, 30 00:30"),
        ("Europe/Berlin", "0 2 * * *", BERLIN_FORWARD, "29 01:00, 30 00:00"),
        ("Europe/Berlin", "*/15 2 * * *", BERLIN_FORWARD, "29 01:00, 30 00:00, 30 00:15"),
        ("Europe/Berlin", "0,30 2,3 * * *", BERLIN_FORWARD, "29 01:00, 29 01:30, 30 00:00"),
        ("Europe/Berlin", "0 */2 * * *", BERLIN_FORWARD, "29 01:00, 29 02:00, 29 04:00"),
        ("America/New_York", "30 2 * * *", NEW_YORK_FORWARD, "08 07:00, 09 06:30"),
        ("Australia/Lord_Howe", "15 2 * * *", HOWE_FORWARD, "03 15:30, 04 15:15"),
        ("Australia/Lord_Howe", "0 * * * *", HOWE_FORWARD, "03 14:30, 03 15:30, 03 16:00"),
        # Of what comes twice, the first counts.
        ("Europe/Berlin", "30 2 * * *", BERLIN_BACK, "25 00:30, 26 01:30"),
        ("Europe/Berlin", "*/30 2,3 * * *", BERLIN_BACK, "25 00:00, 25 00:30, 25 02:00, 25 02:30, 26 01:00"),
        ("America/New_York", "30 1 * * *", NEW_YORK_BACK, "01 05:30, 02 06:30"),
        ("Australia/Lord_Howe", "45 1 * * *", HOWE_BACK, "04 14:45, 05 15:15"),
        ("Australia/Lord_Howe", "45 * * * *", HOWE_BACK, "04 13:45, 04 14:45, 04 16:15"),
        # What is even on both sides goes on evenly.
        ("Europe/Berlin", "30 * * * *", BERLIN_FORWARD, "29 00:30, 29 01:30, 29 02:30"),
        ("Europe/Berlin", "30 * * * *", "2026-10-25 00:00", "25 00:30, 25 01:30, 25 02:30"),
        (
            "America/New_York",
            "*/30 0-23 * * *",
            NEW_YORK_BACK,
            "01 05:00, 01 05:30, 01 06:00, 01 06:30, 01 07:00",
        ),
        ("Australia/Lord_Howe", "*/30 * * * *", HOWE_BACK, "04 14:00, 04 14:30, 04 15:00, 04 15:30"),
        ("Australia/Lord_Howe", "*/30 * * * *", HOWE_FORWARD, "03 14:30, 03 15:00, 03 15:30, 03 16:00"),
        # Away from a change, and without one.
        ("Europe/Berlin", "0 0 1 1,7 *", BERLIN_FORWARD, "30 22:00, 31 23:00"),
        ("UTC", "30 2 * * MON#1", "2026-03-01 00:00", "02 02:30, 06 02:30"),
        ("UTC", "0 0 29 2 *", "2026-03-01 00:00", "29 00:00, 29 00:00"),
    ],
)
def test_cron_around_a_change_of_clocks(time_zone: str, expression: str, start: str, expected: str) -> None:
    assert texts(Cron(expression, time_zone), start, expected.count(",") + 1) == expected


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/Asuncion",
    "UTC",
)
CHANGES = [
    datetime(2023, 3, 25, 22, 41, tzinfo=UTC),  # Asuncion, back over midnight
    datetime(2026, 3, 7, 23, 10, tzinfo=UTC),
    datetime(2026, 3, 28, 22, 3, tzinfo=UTC),
    datetime(2026, 4, 4, 12, 50, tzinfo=UTC),
    datetime(2026, 10, 3, 13, 12, tzinfo=UTC),
    datetime(2026, 10, 24, 21, 59, tzinfo=UTC),
    datetime(2026, 10, 31, 23, 1, tzinfo=UTC),
]
MINUTES = ("*", "0", "15", "30", "45", "*/15", "*/30", "7-50/9", "0,45")
HOURS = ("*", "0", "1", "2", "3", "23", "0-3", "*/2", "1,2", "0-23")


def expected_times(expression: str, time_zone: str, start: datetime, minutes_count: int) -> list[datetime]:
    """The times in so many minutes after `start`, by going through each minute."""
    zone = ZoneInfo(time_zone)
    parsed = CronSim(expression, datetime(2000, 1, 1))

    def matches(local: datetime) -> bool:
        return (
            local.minute in parsed.minutes and local.hour in parsed.hours and parsed.match_day(local.date())
        )

    @functools.cache
    def is_even_over(changed_by: timedelta) -> bool:
        minutes = {(minute + changed_by // timedelta(minutes=1)) % 60 for minute in parsed.minutes}
        return parsed.hours == set(range(24)) and parsed.minutes == minutes

    found = []
    local = start.astimezone(zone)
    for number in range(1, minutes_count + 1):
        moment, before = start + timedelta(minutes=number), local
        local = moment.astimezone(zone)
        shift = (local.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
        back = (local.replace(fold=0).utcoffset() or timedelta()) - (local.utcoffset() or timedelta())
        is_even = is_even_over(shift or back)
        skipped = [
            before.replace(tzinfo=None) + timedelta(minutes=ahead)
            for ahead in range(1, shift // timedelta(minutes=1) + 1)
        ]
        if (matches(local) and (not local.fold or is_even)) or (not is_even and any(map(matches, skipped))):
            found.append(moment)
    return found


@given(
    minutes=st.sampled_from(MINUTES),
    hours=st.sampled_from(HOURS),
    time_zone=st.sampled_from(ZONES),
    start=st.sampled_from(CHANGES),
)
@settings(max_examples=12)  # `make soak` tries more
@example(minutes="*", hours="*", time_zone="America/Asuncion", start=CHANGES[0])
def test_cron_agrees_with_a_walk_through_each_minute(
    minutes: str, hours: str, time_zone: str, start: datetime
) -> None:
    check_cron(f"{minutes} {hours} * * *", time_zone, start)


def check_cron(expression: str, time_zone: str, start: datetime) -> None:
    expected = [moment.timestamp() for moment in expected_times(expression, time_zone, start, 36 * 60)]
    cron = Cron(expression, time_zone)
    assert next_times(cron, start.timestamp(), len(expected)) == expected
    if expected:
        assert cron.latest_until(start.timestamp() + 36 * 3600, expected[0]) == expected[-1]


def test_cron_sees_a_repeated_hour_whose_next_day_is_a_year_away() -> None:
    # In Asuncion the last hour of 25 March 2023 came twice.
    cron = Cron("* * 25 3 *", "America/Asuncion")
    first = datetime(2023, 3, 26, 2, 59, tzinfo=UTC)
    assert cron.next_after(first.timestamp()) == (first + timedelta(minutes=1)).timestamp()


def test_the_latest_time_is_found_after_a_long_absence() -> None:
    cron = Cron("*/5 * * * *", "Europe/Berlin")
    assert cron.latest_until(seconds("2027-11-29 10:04"), seconds("2026-01-01 00:00")) == seconds(
        "2027-11-29 10:00"
    )
    assert cron.latest_until(seconds("2026-01-01 00:04"), seconds("2026-01-01 00:00")) == seconds(
        "2026-01-01 00:00"
    )
    leap = Cron("0 0 29 2 *", "UTC")
    assert leap.latest_until(seconds("2031-01-01 00:00"), seconds("2024-02-29 00:00")) == seconds(
        "2028-02-29 00:00"
    )


@each_case(
    ("expression", "time_zone", "reason"),
    [
        ("* * * *", "UTC", "must have five fields"),
        ("0 * * * * *", "UTC", "must have five fields"),
        ("@daily", "UTC", "must have five fields"),
        ("60 * * * *", "UTC", "has a bad minute"),
        ("* 24 * * *", "UTC", "has a bad hour"),
        ("* * 30 2 *", "UTC", "has a bad day-of-month"),
        ("* * * * BLUE", "UTC", "has a bad day-of-week"),
        ("* * * * *", "Berlin", "no time zone is called 'Berlin'"),
        ("* * * * *", "../etc/passwd", "no time zone"),
        ("* * * * *", "Europe", "no time zone"),
        ("* * * * *", "", "no time zone"),
    ],
)
def test_what_is_no_cron_expression_is_explained(expression: str, time_zone: str, reason: str) -> None:
    with pytest.raises(TimesError, match=reason):
        Cron(expression, time_zone)


@given(
    st.text("0123459*/,-#LW²٣ \0monSUNjan", max_size=40), st.text("aZ/._\0-é", max_size=12) | st.just("UTC")
)
def test_any_text_is_an_expression_or_an_error(expression: str, time_zone: str) -> None:
    try:
        cron = Cron(expression, time_zone)
    except TimesError:
        return
    times = next_times(cron, NOW, 2)
    assert all(earlier < later for earlier, later in pairwise([NOW, *times]))


def test_a_cron_time_that_never_comes() -> None:
    assert Cron("0 0 31 2 MON#5", "UTC").next_after(NOW) is not None
    assert Cron("0 0 LW 2 *", "UTC").next_after(NOW) is not None
    assert Cron("0 0 30 2,4 *", "UTC").next_after(NOW) is not None
    assert Cron("0 0 */29 2 MON#5", "UTC").next_after(NOW) is None


@given(
    every_s=st.floats(1, 10_000_000),
    start=st.floats(NOW, NOW + 1000),
    later_s=st.floats(0, 100_000_000),
)
def test_an_interval_keeps_its_pace(every_s: float, start: float, later_s: float) -> None:
    interval = Interval(every_s, start)
    first = interval.next_after(start)
    assert first is not None
    assert first == pytest.approx(start + every_s, abs=0.002)
    moment = start + later_s
    following = interval.next_after(moment)
    assert following is not None
    assert moment < following <= moment + every_s + 0.002
    assert following == round(following, 3)
    if moment >= first:
        latest = interval.latest_until(moment, first)
        assert moment - every_s - 0.002 <= latest <= moment
        assert interval.next_after(latest) == following


def test_an_interval_before_its_start() -> None:
    assert Interval(60, NOW).next_after(NOW - 1000) == round(NOW + 60, 3)


def test_once() -> None:
    once = Once(NOW)
    assert next_times(once, NOW - 1, 2) == [NOW]
    assert once.next_after(NOW) is None
    assert once.latest_until(NOW + 5, NOW) == NOW


@each_case(
    ("moment", "expected"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (seconds("2026-11-29 01:30"), "2026-11-29T01:30:00Z"),
        (seconds("2026-11-29 01:30") + 0.0625, "2026-11-29T01:30:00.062Z"),
        (seconds("2026-11-29 01:30") + 59.9999, "2026-11-29T01:31:00Z"),
    ],
)
def test_the_name_of_a_time(moment: float, expected: str) -> None:
    assert name_of_time(moment) == expected
