"""One requester floods."""

from benchmarks.simulation.fairness import EXPERIMENT
from tests.simulation.checking import check


def test_a_flood_waits_behind_itself() -> None:
    check(EXPERIMENT, seed=1, scale=0.25, wider={})
