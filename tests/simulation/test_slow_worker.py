"""One slow worker of ten."""

from benchmarks.simulation.slow_worker import EXPERIMENT
from tests.simulation.checking import check


def test_the_tail_of_the_default_is_near_the_central_queue() -> None:
    check(EXPERIMENT, seed=1, scale=0.05, wider={})
