"""A worker that fails at once."""

from benchmarks.simulation.black_hole import EXPERIMENT
from tests.simulation.checking import check


def test_a_black_hole_gets_next_to_nothing() -> None:
    check(EXPERIMENT, seed=1, scale=0.08, wider={})
