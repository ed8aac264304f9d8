"""Durations and times as people write them, and as they are shown."""

import pytest
from taskferry.requester.jobs.words import duration_s, shown_duration, shown_time, time_s

from tests.each_case import each_case

DURATIONS = (
    ("90", 90),
    ("0", 0),
    ("1.5", 1.5),
    ("500ms", 0.5),
    ("10m", 600),
    ("1h30m", 5400),
    ("2d", 172_800),
    ("1W", 604_800),
    (" 5s ", 5),
)


@each_case(("text", "expected_s"), DURATIONS)
def test_a_duration(text: str, expected_s: float) -> None:
    assert duration_s(text) == expected_s


@each_case("text", ["", "m", "10x", "-5", "1h 30m", "1e3", "nan", "inf", "10mm", "ten"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of seconds, or as in 500ms"):
        duration_s(text)


def test_a_time() -> None:
    assert time_s("2026-12-01T08:00Z") == 1_796_112_000
    assert time_s("2026-12-01T09:00:30+01:00") == 1_796_112_030
    assert time_s("2026-12-01T08:00") == time_s("2026-12-01 08:00:00")  # of this machine's zone
    assert shown_time(time_s("2026-12-01T08:00")).startswith("2026-12-01 08:00:00 ")


@each_case("text", ["", "tomorrow", "2026-13-01", "08:00", "1796112000", "0001-01-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date and time as in"):
        time_s(text)


def test_what_another_program_sends_is_shown_whatever_it_is() -> None:
    assert shown_time(None) == ""
    assert shown_time(1e300) == "1e+300 s since 1970"
    assert [shown_duration(seconds) for seconds in (0.04, 59, 61, 7200, 90_000)] == [
        "40 ms",
        "59.0 s",
        "1.0 min",
        "2.0 h",
        "1.0 d",
    ]
