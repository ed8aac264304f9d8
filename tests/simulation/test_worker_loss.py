"""All workers lost, again and again."""

from benchmarks.simulation.worker_loss import EXPERIMENT
from tests.simulation.checking import check


def test_retries_make_no_storm() -> None:
    check(EXPERIMENT, seed=1, scale=0.3, wider={})
