"""The state machine on jobs, on the same walks every time."""

from hypothesis import settings

from tests.unit.broker.jobs.machine import JobsMachine

TestJobsMachine = JobsMachine.TestCase
TestJobsMachine.settings = settings(max_examples=25, stateful_step_count=40, derandomize=True, database=None)
