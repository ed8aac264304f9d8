"""Handlers in other processes: results, failures, deaths, and nothing left behind."""

import asyncio
import json
import os
import re
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from taskferry.protocol.encodings import Encoding
from taskferry.protocol.limits import ENVELOPE_SIZE_BYTES_MAX
from taskferry.worker import Worker, limits
from taskferry.worker.handler_process import ProcessCall, ProcessReport, packed
from taskferry.worker.process_pool import ProcessPool

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker, welcome


def worker_with(**settings: Any) -> Worker:
    """A worker whose commands are those of process_handlers, each in a process."""
    worker = Worker(**settings)
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
        process_handlers.clean_up,
        process_handlers.never_stop,
        process_handlers.shut_channel,
    ):
        worker.command(executor="process")(handler)
    return worker


@pytest.fixture
async def connection(broker: FakeBroker) -> AsyncIterator[Connection]:
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=ENVELOPE_SIZE_BYTES_MAX + 1000)
    async with broker.serve(worker_with(process_count=1)) as connection:
        yield connection
        assert set(connection.response_counts.values()) <= {1}


async def gone(process: psutil.Process) -> None:
    """Return once the process has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def stopped(process: psutil.Process) -> None:
    """Stop the process, and return once it stands still: each of its threads stops when it next runs."""
    process.suspend()
    async with asyncio.timeout(PATIENCE_S):
        while {psutil.Process(thread.id).status() for thread in process.threads()} != {"stopped"}:
            await asyncio.sleep(0.01)


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


async def test_a_process_that_dies_loses_its_request_says_how_and_is_replaced(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    for data, how in (
        ({}, "ended with exit code 7"),
        ({"signum": signal.SIGKILL}, "was killed (SIGKILL; out of memory?)"),
        ({"signum": signal.SIGSEGV}, "was ended by SIGSEGV"),
    ):
        expected = ("worker_lost", f"The process for the handler {how}")
        assert await connection.failure("die", data) == expected
        assert re.search(rf"process for die \(request r-m\d+\) {re.escape(how)}", caplog.text)
        assert (await connection.result("square", {"number": 2}))["square"] == 4


async def test_a_process_that_cannot_be_reached_any_more_gets_nothing_and_is_replaced(
    connection: Connection, tmp_path: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.touch()
    shut = await connection.result("shut_channel", {"before": str(before), "after": str(after)})
    before.unlink()
    assert await file_written(after) == shut
    assert (await connection.result("square", {"number": 2}))["pid"] != shut


async def test_it_declares_a_place_for_each_process_unless_there_are_as_many_as_slots(
    broker: FakeBroker,
) -> None:
    for slots_count, processes_count, places_count in ((3, 2, 2), (3, 3, None), (2, 5, None)):
        worker = worker_with(concurrency=slots_count, process_count=processes_count)
        processes = list(worker.commands)
        worker.command("in_thread")(process_handlers.square)
        async with broker.serve(worker) as connection:
            places = connection.hello["data"].get("places")
            assert places == (
                None if places_count is None else {"commands": processes, "count": places_count}
            )


async def test_a_handler_cannot_claim_to_be_lost(connection: Connection) -> None:
    code, _ = await connection.failure("fail_on_purpose", {"code": "worker_lost"})
    assert code == "handler_error"


async def test_a_death_leaves_its_neighbour_and_what_waits_untouched(
    broker: FakeBroker, tmp_path: Path
) -> None:
    file = tmp_path / "running"
    async with broker.serve(worker_with(process_count=2)) as connection:
        running = connection.send_request("sleep_until_gone", {"path": str(file)})
        await file_written(file)
        dying = connection.send_request("die")
        waiting = connection.send_request("square", {"number": 5})
        assert (await connection.response_to(dying))["code"] == "worker_lost"
        assert (await connection.response_to(waiting))["result"]["square"] == 25
        assert connection.response_counts[running] == 0
        file.unlink()
        assert (await connection.response_to(running))["success"]


async def test_a_process_that_ends_while_idle_costs_nothing(connection: Connection) -> None:
    pid = (await connection.result("square", {"number": 1}))["pid"]
    process = psutil.Process(pid)
    process.kill()
    await gone(process)
    assert (await connection.result("square", {"number": 3}))["pid"] != pid


async def test_a_call_that_a_dead_process_has_not_read_is_run_by_another() -> None:
    pool = ProcessPool(count_max=1)

    async def result_of(call: bytes, given: Callable[[], None] = lambda: None) -> Any:
        ended = asyncio.get_running_loop().create_future()
        pool.submit(call, lambda _: None, ended.set_result)
        given()
        report: ProcessReport = await asyncio.wait_for(ended, PATIENCE_S)
        assert report.result is not None, report
        return json.loads(report.result)

    deadline = time.monotonic() + PATIENCE_S
    call = packed(ProcessCall(process_handlers.square, (3,), {}, Encoding.JSON, deadline))
    try:
        first = await result_of(call)
        process = psutil.Process(first["pid"])
        await stopped(process)
        second = await result_of(call, process.kill)
        assert (second["square"], second["pid"] == first["pid"]) == (9, False)
    finally:
        pool.close()


async def test_a_call_that_has_run_is_lost_although_what_was_sent_after_it_was_not_read(
    tmp_path: Path,
) -> None:
    pool = ProcessPool(count_max=1)
    file = tmp_path / "running"
    deadline = time.monotonic() + PATIENCE_S
    call = ProcessCall(process_handlers.sleep_until_gone, (str(file),), {}, Encoding.JSON, deadline)
    ended = asyncio.get_running_loop().create_future()
    try:
        running = pool.submit(packed(call), lambda _: None, ended.set_result)
        process = psutil.Process(await file_written(file))
        await stopped(process)
        running.credit(1)
        process.kill()
        assert (await asyncio.wait_for(ended, PATIENCE_S)).is_lost
    finally:
        pool.close()


async def test_one_that_is_cancelled_or_late_is_interrupted_and_another_takes_its_place(
    connection: Connection, tmp_path: Path
) -> None:
    for number, timeout_s in enumerate((30.0, 0.3)):
        file = tmp_path / f"cleaned-up-{number}"
        running = connection.send_request("clean_up", {"path": str(file)}, timeout=timeout_s)
        process = psutil.Process(await file_written(file))
        if timeout_s == 30.0:
            connection.send_cancel(running)
        assert (await connection.response_to(running))["code"] == "cancelled"
        assert not file.exists()
        await gone(process)
        assert (await connection.result("square", {"number": 4}))["pid"] != process.pid


async def test_one_that_does_not_stop_is_killed_with_all_that_it_has_started(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROCESS_GRACE_S", 0.05)
    file = tmp_path / "started"
    running = connection.send_request("never_stop", {"path": str(file)})
    process = psutil.Process(await file_written(file))
    (started,) = process.children()
    connection.send_cancel(running)
    response = await connection.response_to(running)
    assert (response["code"], response["error"]) == ("cancelled", "Cancelled: cancelled by the test")
    await gone(process)
    await gone(started)


async def test_a_process_is_replaced_after_as_many_calls_as_it_may_take(broker: FakeBroker) -> None:
    async with broker.serve(worker_with(process_count=1, max_tasks_per_process=2)) as connection:
        pids = [(await connection.result("square", {"number": number}))["pid"] for number in range(6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5] != pids[0]


async def test_a_moment_without_descriptors_fails_only_what_needs_a_process(connection: Connection) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as lowest_free:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free.fileno(), hard))
        try:
            code, text = await connection.failure("square", {"number": 1})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (code, text[:55]) == ("handler_error", "The worker could not start the handler: OSError: [Errno")
    assert (await connection.result("square", {"number": 3}))["square"] == 9


async def test_one_that_waits_is_answered_at_once_when_it_is_cancelled(
    connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "running"
    running = connection.send_request("sleep_until_gone", {"path": str(file)})
    await file_written(file)
    waiting = [connection.send_request("square", {"number": number}) for number in range(4)]
    connection.send_cancel(waiting[-1])
    assert (await connection.response_to(waiting[-1]))["code"] == "cancelled"
    assert connection.response_counts[running] == 0
    file.unlink()
    assert (await connection.response_to(running))["success"]
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
    await gone(process)
