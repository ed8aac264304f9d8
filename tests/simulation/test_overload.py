"""Twice the capacity."""

from benchmarks.simulation.overload import EXPERIMENT
from tests.simulation.checking import check


def test_goodput_stays_and_the_line_is_gone_soon() -> None:
    check(EXPERIMENT, seed=1, scale=0.1, wider={})
