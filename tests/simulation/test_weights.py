"""Weights."""

from benchmarks.simulation.weights import EXPERIMENT
from tests.simulation.checking import check


def test_shares_match_the_weights() -> None:
    check(EXPERIMENT, seed=1, scale=0.05, wider={})
