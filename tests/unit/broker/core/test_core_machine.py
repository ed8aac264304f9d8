"""The state machine on the core, on the same hundred walks every time; `make soak` takes new ones."""

from hypothesis import settings

from tests.unit.broker.core.machine import CoreMachine

TestCoreMachine = CoreMachine.TestCase
TestCoreMachine.settings = settings(max_examples=100, stateful_step_count=50, derandomize=True, database=None)
