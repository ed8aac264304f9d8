"""What is written about results: a broken bound is reported where it is, and never hidden."""

from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.simulation.experiment import Bound, Experiment, Parameter, Result, Table, broken, number
from benchmarks.simulation.page import page


def nothing_to_draw(axes: Sequence[Any], results: Sequence[Result]) -> None:
    raise AssertionError("a page needs no plots")


EXPERIMENT = Experiment(
    name="made-up",
    title="A made-up experiment",
    meaning="It means nothing.",
    parameters=[Parameter("workers", "3", "few")],
    run=lambda seed, scale: Result({"wait, s": seed * scale, "kept": 1.0, "open": 0.5}),
    bounds=[Bound("wait, s", "little", high=2.0), Bound("kept", "1", 1, 1), Bound("open", "")],
    plot=nothing_to_draw,
    tables=lambda results: [Table("All seeds", ("seeds",), [(str(len(results)),)])],
)


def test_a_bound_holds_on_both_of_its_ends_and_not_beyond() -> None:
    bound = Bound("x", "", 1.0, 2.0)
    assert [bound.holds(value) for value in (0.99, 1.0, 2.0, 2.01, float("nan"))] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_a_broken_bound_names_figure_value_and_bound() -> None:
    assert broken(EXPERIMENT.bounds, EXPERIMENT.run(2, 1.0)) == []
    assert broken(EXPERIMENT.bounds, EXPERIMENT.run(3, 1.0)) == ["wait, s: 3, must be <= 2"]


def test_the_page_shows_median_and_range_and_every_verdict() -> None:
    text = page([(EXPERIMENT, [EXPERIMENT.run(seed, 1.0) for seed in (1, 2, 3)])])
    assert "| wait, s | little | 2 (1..3) | <= 2 | **BROKEN** |" in text
    assert "| kept | 1 | 1 | = 1 | kept |" in text
    assert "| open |  | 0.5 |  |  |" in text
    assert "| workers | 3 | few |" in text
    assert "All seeds:\n\n| seeds |\n| --- |\n| 3 |" in text
    assert "![A made-up experiment](simulation-made-up.png)" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.0123456, "0.0123"), (12345.6, "12,346"), (float("inf"), "none"), (float("nan"), "none")],
)
def test_numbers_read_well(value: float, text: str) -> None:
    assert number(value) == text
