"""All workers lost, repeatedly."""

from benchmarks.simulation.worker_loss import EXPERIMENT
from tests.simulation.checking import check


def test_there_is_no_storm_of_retries() -> None:
    check(EXPERIMENT, seed=1, scale=0.3, wider={})
