"""How a strategy is tested without a broker: candidates of its own, and the calls that a broker makes.

pip install ./examples/strategy_plugin pytest && pytest examples/strategy_plugin
"""

from taskferry.loadbalance.strategy import Candidate
from taskferry_most_loaded import MostLoaded


class Worker(Candidate):
    """A candidate as a broker makes them, with the one thing that this strategy looks at."""

    def __init__(self, in_flight_count: int = 0) -> None:
        self.in_flight_count = in_flight_count


def strategy_with(*workers: Worker) -> MostLoaded:
    strategy = MostLoaded(chance=lambda: 0.5)
    for worker in workers:
        strategy.add(worker)
    return strategy


def test_the_busiest_is_picked() -> None:
    idle, busy, busier = Worker(0), Worker(1), Worker(2)
    assert strategy_with(idle, busier, busy).pick(None) is busier


def test_a_full_one_is_not_picked_until_it_comes_back() -> None:
    idle, full = Worker(0), Worker(3)
    strategy = strategy_with(idle, full)
    strategy.remove(full)
    assert strategy.pick(None) is idle
    full.in_flight_count = 2
    strategy.add(full)
    assert strategy.pick(None) is full


def test_a_load_that_changes_counts_from_then_on() -> None:
    first, second = Worker(1), Worker(2)
    strategy = strategy_with(first, second)
    first.in_flight_count = 3
    strategy.changed(first)
    assert strategy.pick(None) is first


def test_nobody_is_picked_where_nobody_is_held() -> None:
    assert strategy_with().pick(None) is None
