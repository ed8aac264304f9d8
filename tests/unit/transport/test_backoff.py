"""The waits between attempts: growing, bounded, random over the whole interval."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.transport.backoff import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    REFUSED_MAX_S,
    RETRY_AFTER_S_MAX,
    Backoff,
)


def test_the_longest_waits_double_up_to_the_bound() -> None:
    backoff = Backoff(lambda: 1.0)
    waits_s = [backoff.next_wait_s() for _ in range(7)]
    assert waits_s == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0])
    assert backoff.attempt_count == 7


def test_the_first_wait_after_a_success_is_short_again() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.next_wait_s()
    backoff.reset()
    assert backoff.next_wait_s() == BACKOFF_FIRST_S


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 10**9))
def test_no_wait_is_negative_or_over_the_bound(chance: float, attempt_count: int) -> None:
    backoff = Backoff(lambda: chance)
    backoff.attempt_count = attempt_count
    assert backoff.next_wait_s() == chance * min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(attempt_count, 20))


def test_after_a_refusal_the_waits_grow_further() -> None:
    backoff = Backoff(lambda: 1.0)
    waits_s = [backoff.next_wait_s(is_refused=True) for _ in range(9)]
    assert waits_s == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, REFUSED_MAX_S, REFUSED_MAX_S])
    assert backoff.next_wait_s() == BACKOFF_MAX_S


@pytest.mark.parametrize(
    ("retry_after_s", "least_s"),
    [(7.0, 7.0), (RETRY_AFTER_S_MAX, RETRY_AFTER_S_MAX), (RETRY_AFTER_S_MAX + 1, RETRY_AFTER_S_MAX)],
)
def test_what_a_broker_asks_for_is_added_and_bounded(retry_after_s: float, least_s: float) -> None:
    spread_s = [
        Backoff(partial(float, chance)).next_wait_s(retry_after_s=retry_after_s) for chance in (0.0, 0.5)
    ]
    assert spread_s == pytest.approx([least_s, least_s + BACKOFF_FIRST_S / 2])
