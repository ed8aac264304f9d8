"""The state machine on the core, on a hundred walks that a number starts; `make soak` takes new ones.

A walk takes 20 ms of CPU, most of it to choose the steps. They are four tests because a timeout counts wall time: on a
busy machine, at a low priority, a hundred walks can take longer than a test may.
"""

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.broker.core.machine import CoreMachine


@pytest.mark.parametrize("number", range(4))
def test_the_books_agree_after_every_step(number: int) -> None:
    class Walks(CoreMachine):
        pass

    walks = settings(max_examples=25, stateful_step_count=50, database=None)
    run_state_machine_as_test(seed(number)(Walks), settings=walks)
