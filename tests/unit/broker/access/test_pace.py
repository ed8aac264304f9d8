"""How fast one connection may send: a burst passes, a flood is refused, and one that goes on is hopeless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.access.pace import BURST_S, QUIET_S, REFUSED_S_MAX, Pace

RATE = 10.0


def refused(pace: Pace, count: int, now: float) -> int:
    return sum(pace.spend(now) > 0.0 for _ in range(count))


def test_a_second_s_worth_passes_at_once_and_the_rest_later() -> None:
    pace = Pace(RATE)
    assert refused(pace, 10, 1.0) == 0
    assert pace.spend(1.0) == pytest.approx(0.1)
    assert pace.spend(1.1) == 0.0
    assert refused(pace, 11, 1.1 + BURST_S) == 1


def test_no_bound() -> None:
    pace = Pace(0)
    assert refused(pace, 10_000, 1.0) == 0
    assert not pace.is_hopeless


def test_one_that_goes_on_is_hopeless_and_a_pause_starts_anew() -> None:
    bound = int(RATE * REFUSED_S_MAX)
    pace = Pace(RATE)
    refused(pace, 10, 0.0)
    assert refused(pace, bound - 1, 0.0) == bound - 1
    assert not pace.is_hopeless
    assert refused(pace, 11, QUIET_S) == 1
    assert not pace.is_hopeless, "a pause"
    assert refused(pace, bound - 1, QUIET_S * 1.5) == bound - 6, "the time has brought five more"
    assert not pace.is_hopeless
    refused(pace, 5, QUIET_S * 1.5)
    assert pace.is_hopeless


def test_what_was_refused_before_a_change_does_not_count() -> None:
    pace = Pace(1.0)
    refused(pace, 11, 0.0)
    assert pace.is_hopeless
    pace.reconfigure(2.0, 0.0)
    assert (pace.rate, pace.is_hopeless) == (2.0, False)
    assert refused(pace, 1, 0.0) == 1
    pace.reconfigure(0.0, 0.0)
    assert refused(pace, 100, 0.0) == 0
    assert not pace.is_hopeless


@given(st.lists(st.floats(0.0, 2.0), max_size=60))
def test_no_second_passes_more_than_two_seconds_worth(waits_s: list[float]) -> None:
    pace, now, passed = Pace(5.0), 0.0, []
    for wait_s in waits_s:
        now += wait_s
        if not pace.spend(now):
            passed.append(now)
    for at in passed:
        assert sum(at <= other < at + 1.0 for other in passed) <= 10
