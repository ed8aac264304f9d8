"""What an operator does to a worker is done, logged, and can be undone."""

import logging

import pytest
from taskferry.broker.core.fleet.worker import WorkerState
from taskferry.broker.events import WorkerDrained, WorkerUndrained
from taskferry.broker.operations import Operations

from tests.unit.broker.shell import open_shell


async def test_a_worker_is_drained_and_resumed(caplog: pytest.LogCaptureFixture) -> None:
    async with open_shell() as shell:
        operations = Operations(shell.core, shell.entrance)
        await shell.worker(name="w1")
        caplog.set_level(logging.INFO, "taskferry.broker")
        worker = shell.core.roster.workers["w1"]
        states = []
        for change in (operations.drain_worker, operations.resume_worker):
            assert change("w1")
            states.append(worker.state)
        assert states[0] is WorkerState.DRAINING
        assert states[1] is not WorkerState.DRAINING
        drained, resumed = (record.msg for record in caplog.records)
        assert drained == WorkerDrained("w1", "draining")
        assert resumed == WorkerUndrained("w1", states[1].value)


async def test_a_worker_that_is_not_there_cannot_be(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskferry.broker")
    async with open_shell() as shell:
        operations = Operations(shell.core, shell.entrance)
        assert not operations.drain_worker("w1")
        assert not operations.resume_worker("w1")
    assert caplog.records == []
