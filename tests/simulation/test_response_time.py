"""Mean responses at 90 % load."""

from benchmarks.simulation.response_time import EXPERIMENT
from tests.simulation.checking import check


def test_mean_responses_are_in_the_order_of_theory() -> None:
    # A tenth of the run scatters three times as much.
    wider = {
        "central queue": (1.0, 1.08),
        "least_loaded": (1.0, 1.15),
        "power_of_two": (2.3, 3.1),
        "round_robin": (4.0, 6.5),
        "random": (7.0, 14.0),
    }
    check(EXPERIMENT, seed=1, scale=0.1, wider=wider)
