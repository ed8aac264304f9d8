"""A worker that becomes slow, and recovers."""

from benchmarks.simulation.slowdown import EXPERIMENT
from tests.simulation.checking import check


def test_slow_worker_is_unloaded_and_trusted_again() -> None:
    check(EXPERIMENT, seed=1, scale=0, wider={})
