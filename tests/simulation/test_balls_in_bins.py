"""Balls in bins, with fewer of both."""

from benchmarks.simulation.balls_in_bins import EXPERIMENT
from tests.simulation.checking import check


def test_the_maximum_load_is_that_of_theory() -> None:
    # With one choice the maximum grows with log n / log log n, so it is 8 for 50,000 bins, and 9 for a million.
    check(EXPERIMENT, seed=1, scale=0.05, wider={"d = 1 (random)": (6, 10)})
