"""Priorities."""

from benchmarks.simulation.priorities import EXPERIMENT
from tests.simulation.checking import check


def test_the_lowest_class_does_not_starve() -> None:
    check(EXPERIMENT, seed=1, scale=0.1, wider={})
