"""`--processes` and `--reload`: children that are named, replaced, asked to stop, and never left behind."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker
from tests.unit.worker.worker_program import run_to_end, worker_program

TASKS = """
import asyncio, os
import texts
from taskferry.worker import Worker

worker = Worker()

@worker.command()
async def about() -> dict:
    return {"pid": os.getpid(), "text": texts.TEXT}

@worker.command()
async def nap() -> None:
    await asyncio.sleep(10)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "texts.py").write_text("TEXT = 'one'\n")
    return tmp_path


def save(path: Path, text: str) -> None:
    """As an editor does, and with a time that differs even where the file system's clock is coarse."""
    before_ns = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(before_ns + 2_000_000_000, before_ns + 2_000_000_000))


async def connections(broker: FakeBroker, count: int) -> dict[str, Connection]:
    """The next `count` workers by name."""
    found = [await broker.connection() for _ in range(count)]
    return {connection.hello["data"]["name"]: connection for connection in found}


async def gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def test_children_are_numbered_and_one_that_is_killed_is_replaced(
    folder: Path, broker: FakeBroker
) -> None:
    arguments = (
        "tasks:worker",
        "--broker",
        broker.url,
        "--name",
        "ferry",
        "--processes",
        "2",
        "--label",
        "a=b",
    )
    async with worker_program(folder, *arguments) as program:
        workers = await connections(broker, 2)
        assert sorted(workers) == ["ferry-1", "ferry-2"]
        assert workers["ferry-1"].hello["data"]["labels"] == {"a": "b"}
        pids = {name: (await worker.result("about"))["pid"] for name, worker in workers.items()}
        assert len({*pids.values(), program.process.pid}) == 3
        os.kill(pids["ferry-2"], signal.SIGKILL)
        again = await broker.connection()
        assert again.hello["data"]["name"] == "ferry-2"
        assert (await again.result("about"))["pid"] not in pids.values()
        assert (
            "worker process 2 was killed (SIGKILL; out of memory?); starting another"
            in await program.line_with("SIGKILL")
        )
        assert (await workers["ferry-1"].result("about"))["pid"] == pids["ferry-1"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_children(signum: signal.Signals, folder: Path, broker: FakeBroker) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--processes", "2") as program:
        workers = await connections(broker, 2)
        base = {name.rpartition("-")[0] for name in workers}
        assert len(base) == 1
        program.process.send_signal(signum)
        for worker in workers.values():
            await worker.receive_type("disconnect")
        assert await program.ended() == 0
    assert not any("Traceback" in line or "starting another" in line for line in program.lines)


async def test_a_signal_to_the_whole_group_drains_once(folder: Path, broker: FakeBroker) -> None:
    # What Ctrl-C on a terminal and a service manager do: each process gets it, the children twice.
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--processes", "2") as program:
        workers = await connections(broker, 2)
        pids = [(await worker.result("about"))["pid"] for worker in workers.values()]
        for pid in (*pids, program.process.pid, *pids):
            os.kill(pid, signal.SIGINT)
        for worker in workers.values():
            await worker.receive_type("disconnect")
        assert await program.ended() == 0
        assert all(["1000" in await worker.closed for worker in workers.values()])


async def test_a_second_signal_kills_the_children(folder: Path, broker: FakeBroker) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--processes", "2") as program:
        workers = await connections(broker, 2)
        for worker in workers.values():
            worker.send_request("nap")
        program.process.send_signal(signal.SIGTERM)
        await program.line_with("once more to kill them")
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 130


async def test_children_leave_when_their_supervisor_is_killed(folder: Path, broker: FakeBroker) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--processes", "2") as program:
        workers = await connections(broker, 2)
        pids = [(await worker.result("about"))["pid"] for worker in workers.values()]
        program.process.kill()
        for worker in workers.values():
            await worker.receive_type("disconnect")
        for pid in pids:
            await gone(pid)


async def test_a_module_that_does_not_load_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("1/0\n")
    code, lines = await run_to_end(tmp_path, "tasks:worker", "--processes", "3")
    assert code == 2
    assert lines == [f"error: {tmp_path / 'tasks.py'}:1: ZeroDivisionError: division by zero"]


async def test_reload_restarts_when_an_imported_file_changes(folder: Path, broker: FakeBroker) -> None:
    async with worker_program(
        folder, "tasks:worker", "--broker", broker.url, "--name", "ferry", "--reload"
    ) as program:
        first = await broker.connection()
        assert first.hello["data"]["name"] == "ferry"
        assert (await first.result("about"))["text"] == "one"
        save(folder / "texts.py", "TEXT = 'two'\n")
        await first.receive_type("disconnect")
        second = await broker.connection()
        assert (await second.result("about"))["text"] == "two"
        assert "texts.py has changed: restarting" in await program.line_with("has changed")


async def test_reload_outlives_a_module_that_does_not_load(folder: Path, broker: FakeBroker) -> None:
    (folder / "texts.py").write_text("TEXT = \n")
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--reload") as program:
        assert f"{folder / 'texts.py'}:1: SyntaxError" in await program.line_with("error: ")
        await program.line_with("Waiting for the source to change")
        save(folder / "texts.py", "TEXT = 'mended'\n")
        connection = await broker.connection()
        assert (await connection.result("about"))["text"] == "mended"
        program.process.send_signal(signal.SIGTERM)
        await connection.receive_type("disconnect")
        assert await program.ended() == 0


def replace_at_the_same_time(path: Path, text: str) -> None:
    """As a tool does that sets times, such as a checkout or a copy."""
    before_ns = path.stat().st_mtime_ns
    other = path.with_suffix(".new")
    other.write_text(text)
    os.utime(other, ns=(before_ns, before_ns))
    other.replace(path)


async def test_reload_runs_a_file_that_was_replaced_by_one_of_the_same_time_and_size(
    folder: Path, broker: FakeBroker
) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--reload"):
        first = await broker.connection()
        assert (await first.result("about"))["text"] == "one"
        replace_at_the_same_time(folder / "texts.py", "TEXT = 'two'\n")
        await first.receive_type("disconnect")
        assert (await (await broker.connection()).result("about"))["text"] == "two"


async def test_reload_waits_for_a_file_that_is_not_there_yet(folder: Path, broker: FakeBroker) -> None:
    (folder / "texts.py").unlink()
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--reload") as program:
        assert "No module named 'texts'" in await program.line_with("error: ")
        await program.line_with("Waiting for the source to change")
        (folder / "texts.py").write_text("TEXT = 'new'\n")
        assert (await (await broker.connection()).result("about"))["text"] == "new"


async def test_reload_waits_for_the_module_itself(tmp_path: Path, broker: FakeBroker) -> None:
    async with worker_program(tmp_path, "tasks:worker", "--broker", broker.url, "--reload") as program:
        assert "there is no module 'tasks'" in await program.line_with("error: ")
        await program.line_with("Waiting for the source to change")
        (tmp_path / "texts.py").write_text("TEXT = 'new'\n")
        (tmp_path / "tasks.py").write_text(TASKS)
        assert (await (await broker.connection()).result("about"))["text"] == "new"


async def test_reload_does_not_wait_if_no_change_of_a_file_can_help(tmp_path: Path) -> None:
    code, lines = await run_to_end(tmp_path, "tasks.py", "--reload")
    assert code == 2
    assert lines == ["error: 'tasks.py' is a file; name the module: tasks:worker"]


async def test_reload_ends_by_signal_while_it_waits(folder: Path) -> None:
    (folder / "texts.py").write_text("TEXT = \n")
    async with worker_program(folder, "tasks:worker", "--reload") as program:
        await program.line_with("Waiting for the source to change")
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 0
    assert not any("Traceback" in line for line in program.lines)
