"""A handler that blocks the event loop is detected and named, while it does so."""

import logging
import threading
import time
from typing import NoReturn

import pytest
from taskferry.worker import Worker, loop_watch
from taskferry.worker import limits as worker_limits

from tests.unit.worker.fake_broker import FakeBroker


async def inner_wait() -> str:
    time.sleep(0.4)  # the error to be detected
    return "done"


async def holds_up() -> str:
    return await inner_wait()


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_limits, "BLOCKED_S_MAX", 0.1)
    monkeypatch.setattr(loop_watch, "PAUSE_S", 0.01)


async def test_a_handler_that_blocks_the_loop_is_named_once(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker()
    worker.command()(holds_up)
    async with broker.serve(worker) as connection:
        assert await connection.result("holds_up") == "done"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "blocked for over 0.1 s by holds_up (at " in warnings[0]
    assert "test_loop_watch.py:" in warnings[0]


async def test_other_code_that_blocks_the_loop_is_placed(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker()
    worker.command()(holds_up)
    async with broker.serve(worker):
        time.sleep(0.3)
    assert "by code that is not a handler's (at " in caplog.text


async def test_a_worker_serves_although_its_watch_cannot_start(
    broker: FakeBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    worker = Worker()
    worker.command()(inner_wait)
    with monkeypatch.context() as moment:
        moment.setattr(threading.Thread, "start", refuse)
        async with broker.serve(worker) as connection:
            assert await connection.result("inner_wait") == "done"
    assert "will not be reported: can't start new thread" in caplog.text
