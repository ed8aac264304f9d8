"""Handlers in other processes: results, failures, deaths, and nothing left behind."""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import ENVELOPE_SIZE_BYTES_MAX
from taskferry.worker import Worker, limits
from taskferry.worker.process_pool import ProcessPool

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker, welcome


@pytest.fixture
async def connection(broker: FakeBroker) -> AsyncIterator[Connection]:
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=ENVELOPE_SIZE_BYTES_MAX + 1000)
    worker = Worker(process_count=1)
    for handler in (
        process_handlers.square,
        process_handlers.fail_awkwardly,
        process_handlers.fail_on_purpose,
        process_handlers.ask_for_another_attempt,
        process_handlers.give_up,
        process_handlers.give_up_without_a_word,
        process_handlers.leave,
        process_handlers.take,
        process_handlers.die,
        process_handlers.return_lock,
        process_handlers.return_text,
        process_handlers.sleep_until_gone,
    ):
        worker.command(executor="process")(handler)
    async with broker.serve(worker) as connection:
        yield connection
        assert set(connection.response_counts.values()) <= {1}


async def file_written(path: Path) -> int:
    """The number in the file, once it is there."""
    async with asyncio.timeout(PATIENCE_S):
        while not (path.exists() and path.read_text(encoding="utf-8")):
            await asyncio.sleep(0.01)
    return int(path.read_text(encoding="utf-8"))


async def test_each_way_to_end(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    # One test, because a process takes longer to start than all of this.
    result = await connection.result("square", {"number": 12})
    assert result["square"] == 144
    assert result["pid"] != os.getpid()
    assert await connection.failure("square", {"number": "x"}) == (
        "bad_request",
        "number: Expected `int`, got `str`",
    )
    assert await connection.failure("fail_awkwardly") == ("handler_error", "AwkwardError: 1 and 2")
    assert "in fail_awkwardly" in caplog.text
    assert await connection.failure("fail_on_purpose") == ("closed_today", "not today")
    connection.send_attempt("ask_for_another_attempt", msg_id="e.1")
    response = await connection.response_to("e.1")
    assert (response["code"], response["error"], response["retry"]) == ("busy", "in a week of seconds", 7.0)
    connection.send_attempt("give_up", msg_id="e.2")
    response = await connection.response_to("e.2")
    assert (response["code"], response["error"], response["retry"]) == (
        "handler_error",
        "closed for good",
        False,
    )
    code, text = await connection.failure("give_up_without_a_word")
    assert (code, text[:9]) == ("handler_error", "<unlocked")
    assert await connection.failure("take", {"clinging": {"number": 1}}) == (
        "handler_error",
        "TypeError: I stay here",
    )
    assert await connection.failure("leave") == ("handler_error", "SystemExit: gone")
    assert await connection.failure("return_lock") == (
        "handler_error",
        "result: cannot be written as JSON: Encoding objects of type lock is unsupported",
    )
    assert len(await connection.result("return_text", {"size": 998})) == 998
    assert await connection.failure("return_text", {"size": 999}) == (
        "too_large",
        "result: 1001 bytes, at most 1000 (message_size_bytes_max of the broker less 4096)",
    )
    assert (await connection.result("square", {"number": 1}))["pid"] == result["pid"]


async def test_a_process_that_dies_fails_its_assignments_and_is_replaced(connection: Connection) -> None:
    assert await connection.failure("die") == ("handler_error", "The process that ran the handler died")
    assert (await connection.result("square", {"number": 2}))["square"] == 4


def test_no_garbage_is_collected_while_processes_are_made(collections: list[str]) -> None:
    pool = ProcessPool(1)
    before_count = len(collections)
    try:
        future = pool.submit(abs, (-1,), {}, Encoding.JSON, time.monotonic() + 60)
        meanwhile = collections[before_count:]
        assert future.result(PATIENCE_S).result == b"1"
    finally:
        pool.close()
    assert not [file for file in meanwhile if file.endswith("resource_tracker.py")]
    assert gc.isenabled()
    assert len(collections) > before_count, "afterwards it is"


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """The source files in whose functions a collection started, which is now as often as possible."""
    files: list[str] = []

    def note(phase: str, _: dict[str, int]) -> None:
        frame = sys._getframe(1)
        while phase == "start" and frame is not None:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back  # type: ignore[assignment]  # None at the end

    threshold = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(1)
    try:
        yield files
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(note)


async def test_cancelled_while_running_it_is_answered_when_it_ends_and_while_waiting_at_once(
    connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "running"
    running = connection.send_request("sleep_until_gone", {"path": str(file)})
    await file_written(file)
    waiting = [connection.send_request("square", {"number": number}) for number in range(4)]
    connection.send_cancel(waiting[-1])
    assert (await connection.response_to(waiting[-1]))["code"] == "cancelled"
    connection.send_cancel(running)
    assert connection.response_counts[running] == 0
    file.unlink()
    assert (await connection.response_to(running))["code"] == "cancelled"
    for msg_id in waiting[:-1]:
        assert (await connection.response_to(msg_id))["success"]


async def test_what_has_expired_before_a_process_is_free_is_not_started(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        limits, "DEADLINE_ALLOWANCE_S", 60.0
    )  # else what is overdue is cancelled a moment later
    file = tmp_path / "running"
    running = connection.send_request("sleep_until_gone", {"path": str(file)})
    await file_written(file)
    paths = [tmp_path / f"expired-{number}" for number in range(3)]
    expired = [
        connection.send_request("sleep_until_gone", {"path": str(path)}, timeout=0.05) for path in paths
    ]
    in_time = connection.send_request("square", {"number": 3})
    await connection.failure("square", {"number": "x"})  # all are waiting
    await asyncio.sleep(0.1)
    file.unlink()
    for msg_id in expired:
        response = await connection.response_to(msg_id)
        assert (response["code"], response["error"]) == ("cancelled", "Cancelled: deadline passed")
    assert (await connection.response_to(in_time))["result"]["square"] == 9
    assert (await connection.response_to(running))["success"]
    assert not any(path.exists() for path in paths)


async def test_processes_end_with_the_worker_whatever_they_are_doing(
    broker: FakeBroker, tmp_path: Path
) -> None:
    worker = Worker(process_count=1)
    worker.command(executor="process")(process_handlers.sleep_until_gone)
    file = tmp_path / "running"
    async with broker.serve(worker) as connection:
        connection.send_request("sleep_until_gone", {"path": str(file)})
        process = psutil.Process(await file_written(file))
    async with asyncio.timeout(PATIENCE_S):
        while process.is_running():
            await asyncio.sleep(0.01)


def test_a_closed_pool_leaves_no_thread_that_python_would_wake_as_it_exits() -> None:
    pool = ProcessPool(1)
    future = pool.submit(
        process_handlers.square, (), {"number": 3}, Encoding.JSON, time.monotonic() + PATIENCE_S
    )
    assert future.result(PATIENCE_S).result is not None
    pool.close()
    alive = [thread for thread in threading.enumerate() if type(thread).__name__ == "_ExecutorManagerThread"]
    assert alive == []
