"""A running quantile against a sorted list."""

import random
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from taskferry.loadbalance.quantile import SPARE_NUMBERS_COUNT, RunningQuantile

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove", "change", "look"]),
        st.integers(0, 40),
        st.one_of(st.integers(0, 4), st.integers(0, 10_000)),
    ),
    max_size=120,
)


@given(STEPS, st.sampled_from([0.0, 0.3, 0.5, 0.84, 0.999]))
@example([("add", 0, 5), ("add", 0, 9), ("look", 0, 0), ("remove", 0, 0), ("look", 0, 0)], 0.999)
def test_it_is_the_number_at_that_share_of_the_sorted_list(
    steps: list[tuple[str, int, int]], share: float
) -> None:
    quantile = RunningQuantile(share)
    numbers: list[int] = []
    for step, which, number in steps:
        match step:
            case "add":
                quantile.add(number)
                numbers.append(number)
            case "remove" if numbers:
                quantile.remove(numbers.pop(which % len(numbers)))
            case "change" if numbers:
                quantile.change(numbers.pop(which % len(numbers)), number)
                numbers.append(number)
            case "look" if numbers:
                assert quantile.value() == sorted(numbers)[int(share * len(numbers))]
    if numbers:
        assert quantile.value() == sorted(numbers)[int(share * len(numbers))]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.84])
def test_a_few_numbers_that_come_and_go_often_are_counted_each_time(share: float) -> None:
    dice = random.Random(1)
    quantile = RunningQuantile(share)
    numbers: list[int] = []
    for _ in range(1000):
        number = dice.randrange(5)
        step = dice.choice(["add", "remove", "change"]) if numbers else "add"
        if step == "add":
            quantile.add(number)
        elif step == "remove":
            quantile.remove(numbers.pop(dice.randrange(len(numbers))))
        else:
            quantile.change(numbers.pop(dice.randrange(len(numbers))), number)
        if step != "remove":
            numbers.append(number)
        if numbers:
            assert quantile.value() == sorted(numbers)[int(share * len(numbers))]


def test_numbers_no_longer_in_use_are_dropped() -> None:
    quantile = RunningQuantile(0.0)
    quantile.add(0)
    tracemalloc.start()
    try:
        for number in range(3000):
            quantile.change(number, number + 1)
            assert quantile.value() == number + 1
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 30_000


def test_numbers_not_in_use_are_kept_up_to_a_bound() -> None:
    quantile = RunningQuantile(0.5)
    for _ in range(20):
        quantile.add(0)
    counts = []
    for number in range(200):
        quantile.change(number, number + 1)
        counts.append(len(quantile._numbers))
    assert max(counts) == 2 * 20 + SPARE_NUMBERS_COUNT + 1
    assert quantile.value() == 0
