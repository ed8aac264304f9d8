"""A thousand messages in a row that do not decode are too many, and fewer are not."""

from taskferry.broker.fault_run import FaultRun
from taskferry.protocol.limits import FAULTS_COUNT_MAX


def test_as_many_as_the_bound_are_too_many() -> None:
    run = FaultRun()
    assert not any(run.add(number) for number in range(7, 6 + FAULTS_COUNT_MAX))
    assert run.add(6 + FAULTS_COUNT_MAX)


def test_anything_else_that_was_sent_ends_the_run() -> None:
    run = FaultRun()
    numbers = [*range(1, FAULTS_COUNT_MAX), *range(FAULTS_COUNT_MAX + 1, 2 * FAULTS_COUNT_MAX)]
    assert not any(run.add(number) for number in numbers)
    assert not run.add(2 * FAULTS_COUNT_MAX + 7), "not the next one"
