"""When the grace is over, or at the second signal, the process ends, whatever its handlers have left running."""

import contextlib
import signal
import sys
import time
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker
from tests.unit.worker.worker_program import WorkerProgram, worker_program

LONG_S = 3 * PATIENCE_S
"""How long what is left would run: longer than a test waits."""

TASKS = f"""
import asyncio, atexit, concurrent.futures, contextlib, os, sys, threading, time
from taskferry.worker import Worker, limits

worker = Worker(name="w", grace_s=0.2)
executor = concurrent.futures.ThreadPoolExecutor(1)
atexit.register(lambda: sys.stdout.write("flushed"))

@worker.command()
async def wait_in_thread() -> None:
    await asyncio.to_thread(time.sleep, {LONG_S})

@worker.command()
async def leave_in_executor() -> None:
    executor.submit(time.sleep, {LONG_S})

@worker.command()
def leave_in_executor_of_a_thread() -> None:
    concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, {LONG_S})

@worker.command()
async def leave_an_exit_function() -> None:
    atexit.register(time.sleep, {LONG_S})
    atexit.register(print, "exits", flush=True)

@worker.command()
async def wait_for_the_system() -> None:
    limits.LEAVING_S_MAX = 0.05
    reader, _ = os.pipe()
    print("waits", flush=True)
    os.read(reader, 1)

@worker.command()
def leave_a_thread() -> None:
    threading.Thread(target=time.sleep, args=({LONG_S},), name="left", daemon=False).start()

@worker.command()
async def refuse_to_end() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep({LONG_S})

@worker.command()
async def block(limit: str) -> None:
    setattr(limits, limit, 0.05)
    print("blocked", flush=True)
    ends_at = time.monotonic() + {LONG_S}
    while time.monotonic() < ends_at:
        time.sleep(0.01)

@worker.command()
async def leave_for(seconds: float) -> None:
    threading.Thread(target=time.sleep, args=(seconds,)).start()

@worker.command()
async def end_by_itself() -> None:
    threading.Thread(target=time.sleep, args=(0.3,)).start()
    worker.drain()
"""

SCRIPT = """
import sys
from tasks import worker

try:
    worker.run(sys.argv[1])
finally:
    print("after", flush=True)
"""

LEFT = ("wait_in_thread", "leave_in_executor", "leave_in_executor_of_a_thread", "leave_a_thread")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


async def leave(connection: Connection, command: str) -> None:
    """Leave something running, and know that it does."""
    msg_id = connection.send_request(command, timeout=60)
    if command in ("wait_in_thread", "refuse_to_end"):
        await connection.result("leave_for", {"seconds": 0})  # by then the other has begun
    else:
        assert (await connection.response_to(msg_id))["success"]


@pytest.mark.parametrize("command", [*LEFT, "refuse_to_end"])
async def test_when_the_grace_is_over_the_process_ends_flushed(
    command: str, folder: Path, broker: FakeBroker
) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url) as program:
        await leave(await broker.connection(), command)
        began_at = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0
        assert time.monotonic() - began_at < PATIENCE_S
        assert await _printed(program) == "flushed"
    what = {"leave_a_thread": "left", "refuse_to_end": "the event loop"}
    assert "ended although this still ran: " + what.get(command, "") in program.lines[-1]


@pytest.mark.parametrize("command", LEFT)
async def test_the_second_signal_ends_it_at_once(command: str, folder: Path, broker: FakeBroker) -> None:
    options = ("--broker", broker.url, "--grace", "3600")
    async with worker_program(folder, "tasks:worker", *options) as program:
        connection = await broker.connection()
        await leave(connection, command)
        program.process.send_signal(signal.SIGTERM)
        await connection.receive_type("disconnect")
        if command != "wait_in_thread":  # then the worker has ended, and only the thread is left
            await connection.closed
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 143
        assert await _printed(program) == "flushed"


async def test_a_thread_that_ends_within_the_grace_is_waited_for(folder: Path, broker: FakeBroker) -> None:
    options = ("--broker", broker.url, "--grace", "3600")
    async with worker_program(folder, "tasks:worker", *options) as program:
        connection = await broker.connection()
        await connection.result("leave_for", {"seconds": 0.4})
        began_at = time.monotonic()
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 0
        assert time.monotonic() - began_at > 0.2
    assert not any("still ran" in line for line in program.lines)


async def test_without_a_signal_it_ends_with_its_threads(folder: Path, broker: FakeBroker) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url) as program:
        (await broker.connection()).send_request("end_by_itself")
        assert await program.ended() == 0
    assert not any("still ran" in line for line in program.lines)


async def test_a_child_of_a_supervisor_ends_too(folder: Path, broker: FakeBroker) -> None:
    options = ("--broker", broker.url, "--processes", "2")
    async with worker_program(folder, "tasks:worker", *options) as program:
        for _ in range(2):
            await leave(await broker.connection(), "leave_a_thread")
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0


@pytest.mark.parametrize("command", LEFT)
async def test_a_program_of_users_goes_on_and_ends_without_them(
    command: str, folder: Path, broker: FakeBroker
) -> None:
    async with script(folder, broker) as program:
        connection = await broker.connection()
        await leave(connection, command)
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0
        assert await _printed(program) == "after\nflushed"


@pytest.mark.parametrize(("signals_count", "code"), [(1, 0), (2, 143)])
async def test_an_exit_function_that_hangs_does_not_hold_the_process(
    signals_count: int, code: int, folder: Path, broker: FakeBroker
) -> None:
    options = ("--broker", broker.url, *(("--grace", "3600") if signals_count == 2 else ()))
    async with worker_program(folder, "tasks:worker", *options) as program:
        connection = await broker.connection()
        await connection.result("leave_an_exit_function")
        program.process.send_signal(signal.SIGTERM)
        assert program.process.stdout is not None
        assert await program.process.stdout.readline() == b"exits\n"
        if signals_count == 2:
            program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == code
    assert "ended although this still ran: exit functions" in program.lines[-1]


async def test_a_child_of_a_supervisor_ends_where_the_system_makes_it_wait(
    folder: Path, broker: FakeBroker
) -> None:
    options = ("--broker", broker.url, "--processes", "2")
    async with worker_program(folder, "tasks:worker", *options) as program:
        (await broker.connection()).send_request("wait_for_the_system")
        assert program.process.stdout is not None
        await program.process.stdout.readline()
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0


async def test_a_program_of_users_ends_at_the_second_signal(folder: Path, broker: FakeBroker) -> None:
    (folder / "tasks.py").write_text(TASKS.replace("grace_s=0.2", "grace_s=3600"))
    async with script(folder, broker) as program:
        connection = await broker.connection()
        await leave(connection, "wait_in_thread")
        program.process.send_signal(signal.SIGTERM)
        await connection.receive_type("disconnect")
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 143
        assert await _printed(program) == "after\nflushed"


@pytest.mark.parametrize(
    ("limit", "signals_count", "codes"), [("LEAVING_S_MAX", 1, {0}), ("STOPPING_S_MAX", 2, {130, 143})]
)
async def test_a_blocked_event_loop_is_no_way_out(
    limit: str, signals_count: int, codes: set[int], folder: Path, broker: FakeBroker
) -> None:
    options = ("--broker", broker.url, *(("--grace", "3600") if signals_count == 2 else ()))
    async with worker_program(folder, "tasks:worker", *options) as program:
        (await broker.connection()).send_request("block", {"limit": limit})
        assert program.process.stdout is not None
        await program.process.stdout.readline()
        for signum in (signal.SIGTERM, signal.SIGINT)[:signals_count]:  # two of one kind may arrive as one
            program.process.send_signal(signum)
        assert await program.ended() in codes
        assert await _printed(program) == "flushed"


async def test_exit_functions_that_hang_are_not_waited_for(folder: Path) -> None:
    (folder / "hanging.py").write_text(
        "import atexit, sys, time\n"
        "from taskferry.worker import last_moment, limits\n"
        "limits.FLUSH_S_MAX = 0.05\n"
        f"atexit.register(time.sleep, {LONG_S})\n"
        "last_moment.end_without([], 7)\n"
    )
    process = await create_subprocess_exec(sys.executable, folder / "hanging.py", stderr=PIPE)
    await process.communicate()
    assert process.returncode == 7


@contextlib.asynccontextmanager
async def script(folder: Path, broker: FakeBroker) -> AsyncIterator[WorkerProgram]:
    """A program of users that calls `Worker.run`."""
    process = await create_subprocess_exec(
        sys.executable, "script.py", broker.url, cwd=folder, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        yield WorkerProgram(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _printed(program: WorkerProgram) -> str:
    assert program.process.stdout is not None
    return (await program.process.stdout.read()).decode()
