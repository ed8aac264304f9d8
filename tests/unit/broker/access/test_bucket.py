"""A rate, a burst, and nothing more than both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskferry.broker.access.bucket import Bucket

START_S = 1000.0


def spent(bucket: Bucket, now: float, size: float = 1.0) -> int:
    """How many of `size` pass at once."""
    count = 0
    while count < 10_000 and not bucket.spend(size, now):
        count += 1
    return count


def test_a_full_bucket_passes_its_burst_and_not_one_more() -> None:
    bucket = Bucket(10.0, 2.0)
    assert spent(bucket, START_S) == 20
    assert bucket.spend(1.0, START_S) == pytest.approx(0.1)
    assert spent(bucket, START_S + 0.35) == 3
    assert spent(bucket, START_S + 1000.0) == 20, "a long pause earns no more than the burst"


@pytest.mark.parametrize("now", [0.0, START_S])
def test_a_bucket_starts_full_whenever_that_is(now: float) -> None:
    assert spent(Bucket(10.0, 2.0), now) == 20


def test_after_the_wait_that_it_names_it_passes() -> None:
    bucket = Bucket(3.0, 1.0)
    now = START_S
    for _ in range(100):
        wait_s = bucket.spend(1.0, now)
        if wait_s:
            assert bucket.spend(1.0, now + wait_s * 0.99)
            now += wait_s + 1e-9
            assert not bucket.spend(1.0, now)


def test_no_rate_bounds_nothing() -> None:
    bucket = Bucket(0.0, 2.0)
    assert spent(bucket, START_S, 1e9) == 10_000


def test_what_is_larger_than_the_burst_passes_a_full_bucket_and_is_paid_back() -> None:
    bucket = Bucket(100.0, 2.0)
    assert bucket.spend(1.0, START_S) == 0.0
    assert bucket.spend(1000.0, START_S) == pytest.approx(0.01), "it is not full"
    assert bucket.spend(1000.0, START_S + 0.011) == 0.0
    assert bucket.spend(1.0, START_S + 8.0) == pytest.approx(0.021), "800 tokens of debt, and the one"
    assert bucket.spend(1.0, START_S + 8.1) == 0.0


def test_a_question_takes_nothing_and_a_clock_that_stands_still_adds_nothing() -> None:
    bucket = Bucket(1.0, 1.0)
    assert [bucket.wait_s(1.0, START_S) for _ in range(3)] == [0.0] * 3
    bucket.take(1.0)
    assert bucket.wait_s(1.0, START_S) == 1.0
    assert bucket.wait_s(1.0, START_S - 50.0) == 1.0


@given(
    rate=st.sampled_from([0.5, 3.0, 1000.0]),
    burst_s=st.sampled_from([1.0, 2.0, 10.0]),
    steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 50)), max_size=40),
)
def test_over_any_time_no_more_passes_than_burst_and_rate_allow(
    rate: float, burst_s: float, steps: list[tuple[float, int]]
) -> None:
    bucket, now, passed = Bucket(rate, burst_s), START_S, 0.0
    largest = 0
    for seconds, size in steps:
        now += seconds
        if not bucket.spend(size, now):
            passed += size
            largest = max(largest, size)
        assert passed <= rate * (burst_s + now - START_S) + largest + 1e-6


def test_a_new_rate_keeps_what_was_used() -> None:
    bucket = Bucket(10.0, 2.0)
    assert spent(bucket, START_S, 5.0) == 4
    bucket.reconfigure(100.0, START_S + 1.0)
    assert spent(bucket, START_S + 1.0) == 100, "half of the burst was used, and half of the new one is left"
    bucket.reconfigure(1.0, START_S + 1.0)
    assert spent(bucket, START_S + 1.0) == 0
    assert spent(bucket, START_S + 2.0) == 1


def test_a_rate_can_be_removed_and_set() -> None:
    bucket = Bucket(1.0, 2.0)
    assert spent(bucket, START_S) == 2
    bucket.reconfigure(0.0, START_S)
    assert spent(bucket, START_S) == 10_000
    bucket.reconfigure(1.0, START_S)
    assert spent(bucket, START_S) == 2
