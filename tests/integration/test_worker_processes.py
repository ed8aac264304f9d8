"""Processes of a real worker: those of its handlers, and those that handlers start themselves."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.processes import PATIENCE_S, Broker, Program, Programs, wait_until

FORKS = """
import multiprocessing, os, signal, subprocess, sys, time
from taskferry.worker import Worker

worker = Worker(name="w")
fork = multiprocessing.get_context("fork")

def sleep(seconds):
    time.sleep(seconds)
    return seconds

def end_one():
    child = fork.Process(target=sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode

def use_pool():
    with fork.Pool(2) as pool:
        return sum(pool.map(abs, range(-3, 3)))

def report_and_sleep(writer):
    writer.send("ready")
    time.sleep(60)

def interrupt_one():
    reader, writer = fork.Pipe(duplex=False)
    child = fork.Process(target=report_and_sleep, args=(writer,))
    child.start()
    reader.recv()
    os.kill(child.pid, signal.SIGINT)
    child.join(0.2)  # Python 3.13 raises nothing in a child that a thread has forked
    child.terminate()
    child.join()
    return child.exitcode

def leave_one():
    child = fork.Process(target=sleep, args=(60,))
    child.start()
    return child.pid

def fork_and_end(how):
    # How the system saw the end of a child.
    child = os.fork()
    if not child and how == "exit":
        sys.exit(7)
    if not child and how == "raise":
        raise ValueError("of the child")
    if not child:
        return "of the child"
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def read_all():
    return subprocess.run(["cat"], stdout=subprocess.PIPE).stdout.decode()

for handler in (end_one, use_pool, interrupt_one, leave_one, fork_and_end, read_all):
    worker.command()(handler)
    worker.command(f"{handler.__name__}_in_process", executor="process")(handler)

@worker.command()
async def end_one_in_loop():
    return end_one()

@worker.command()
async def fork_and_end_in_loop(how: str):
    return fork_and_end(how)

if __name__ == "__main__":
    worker.run(os.environ["URL"])
"""

UNGUARDED = """
import asyncio, multiprocessing, os
from taskferry.worker import Worker

worker = Worker(name="w", process_count=1)

@worker.command(executor="process")
def double(number: int) -> int:
    return 2 * number

@worker.command()
def start_one() -> int:
    child = multiprocessing.get_context("spawn").Process(target=double, args=(2,))
    child.start()
    child.join()
    return child.exitcode

@worker.command()
async def add(number: int) -> int:
    return number + 1

"""

PLACED = """
import os, signal, time
from taskferry.worker import Worker

worker = Worker(process_count=1, concurrency=8)

@worker.command(executor="process")
def spin(path: str) -> str:
    with open(path, "x") as file:
        file.write(str(os.getpid()))
    while os.path.exists(path):
        time.sleep(0.005)
    return path

@worker.command(executor="process")
def die_once(path: str) -> str:
    try:
        with open(path, "x"):
            os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        return "survived"

@worker.command()
async def add(number: int) -> int:
    return number + 1
"""

REFUSAL = (
    "error: this program starts a worker as soon as it is imported, and a process that it has started does import it: "
    'start the worker under `if __name__ == "__main__":`'
)


class Caller:
    """Sends one request after the other."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link

    def response(self, command: str, data: object = None, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        request = {"command": command, "data": {} if data is None else data, "timeout": timeout_s}
        self._link.send(json.dumps(request))
        response: dict[str, Any] = json.loads(self._link.recv(timeout=PATIENCE_S))
        return response

    def result(self, command: str, data: object = None) -> Any:
        response = self.response(command, data)
        assert response["success"], response
        return response["data"]


def start(
    programs: Programs, folder: Path, broker: Broker, source: str, *options: str, is_program: bool = False
) -> Program:
    """A worker with this source: a program of its own, or started by `taskferry worker` with `options`."""
    path = folder / "tasks.py"
    path.write_text(source)
    environment = {"URL": broker.worker_url, "PYTHONPATH": str(folder)}
    arguments = (str(path),) if is_program else ("-m", "taskferry.worker", "tasks:worker", *options)
    if not is_program:
        arguments += ("--broker", broker.worker_url)
    worker = programs.start(*arguments, environment=environment, is_warm=False)
    wait_until(broker.workers, "it is connected")
    return worker


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks")
@pytest.mark.parametrize(("is_program", "method"), [(True, "fork"), (False, "fork"), (True, "forkserver")])
def test_what_a_handler_forks_does_not_touch_the_worker(
    programs: Programs, tmp_path: Path, broker: Broker, is_program: bool, method: str
) -> None:
    source = FORKS.replace('"fork"', f'"{method}"')
    worker = start(programs, tmp_path, broker, source, is_program=is_program)
    with connect(broker.requester_url) as link:
        caller = Caller(link)
        for where in ("", "_in_process"):
            assert caller.result(f"end_one{where}") == -15
            assert caller.result(f"use_pool{where}") == 9
            assert caller.result(f"interrupt_one{where}") in {1, -15}
        assert caller.result("end_one_in_loop") == -15
    assert worker.exit_code is None
    assert "SIGTERM" not in worker.stderr
    assert worker.stderr.count("connected to") == 1
    worker.terminate()
    assert worker.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks")
def test_a_child_that_a_handler_forks_ends_where_its_handler_does(
    programs: Programs, tmp_path: Path, broker: Broker
) -> None:
    worker = start(programs, tmp_path, broker, FORKS, is_program=True)
    with connect(broker.requester_url) as link:
        caller = Caller(link)
        for where in ("", "_in_process", "_in_loop"):
            results = [
                caller.result(f"fork_and_end{where}", {"how": how}) for how in ("exit", "raise", "return")
            ]
            assert results == [7, 1, 0], where
        assert worker.stderr.count("ValueError: of the child") == 3
    assert worker.stderr.count("connected to") == 1
    worker.terminate()
    assert worker.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks")
def test_what_a_handler_has_forked_does_not_hold_the_connection_of_a_killed_worker(
    programs: Programs, tmp_path: Path, broker: Broker
) -> None:
    worker = start(programs, tmp_path, broker, FORKS, is_program=True)
    with connect(broker.requester_url) as link:
        caller = Caller(link)
        # The first process for handlers ends with the worker, although the second fork holds what the worker had open.
        in_process = psutil.Process(caller.result("leave_one_in_process")).parent()
        assert in_process is not None
        left = psutil.Process(caller.result("leave_one"))
        worker.kill()
        wait_until(lambda: not broker.workers(), "the broker has noticed", timeout_s=2)
        wait_until(lambda: not in_process.is_running(), "the process for handlers has ended")
        assert left.is_running()
        left.kill()


@pytest.mark.parametrize(
    "options", [(), ("--processes", "2"), ("--reload",)], ids=["alone", "processes", "reload"]
)
def test_a_program_that_a_handler_starts_reads_nothing(
    programs: Programs, tmp_path: Path, broker: Broker, options: tuple[str, ...]
) -> None:
    source = FORKS.replace('Worker(name="w")', "Worker()")
    path = tmp_path / "tasks.py"
    path.write_text(source)
    arguments = ("-m", "taskferry.worker", "tasks:worker", *options, "--broker", broker.worker_url)
    worker = programs.start(*arguments, environment={"PYTHONPATH": str(tmp_path)}, is_warm=False)
    wait_until(lambda: len(broker.workers()) == (2 if "2" in options else 1), "they are connected")
    with connect(broker.requester_url) as link:
        caller = Caller(link)
        assert caller.result("read_all") == ""
        assert caller.result("read_all_in_process") == ""
    worker.terminate()
    assert worker.wait() == 0


@pytest.mark.parametrize(
    "ending", ['worker.run(os.environ["URL"])\n', 'asyncio.run(worker.serve(os.environ["URL"]))\n']
)
def test_a_worker_without_a_guard_is_not_started_again_by_its_own_processes(
    programs: Programs, tmp_path: Path, broker: Broker, ending: str
) -> None:
    worker = start(programs, tmp_path, broker, UNGUARDED + ending, is_program=True)
    with connect(broker.requester_url) as link:
        caller = Caller(link)
        response = caller.response("double", {"number": 2})
        how = "ended with exit code 1 before it was ready"
        assert (response["code"], response["error"]) == (
            "handler_error",
            f"The process for the handler {how}",
        )
        assert caller.result("start_one") == 1
        assert caller.result("add", {"number": 1}) == 2
    lines = worker.stderr.splitlines()
    assert lines.count(REFUSAL) == 2
    assert not [line for line in lines if "Traceback" in line]
    assert list(broker.workers()) == ["w"]
    assert worker.stderr.count("connected to") == (1 if "run(os" in ending else 0)
    worker.kill()
    wait_until(lambda: not broker.workers(), "none is left")


def test_what_finds_no_process_goes_to_another_worker_or_waits_in_the_broker(
    programs: Programs, tmp_path: Path, broker: Broker
) -> None:
    start(programs, tmp_path, broker, PLACED, "--name", "first")
    programs.start(
        *("-m", "taskferry.worker", "tasks:worker", "--name", "second", "--broker", broker.worker_url),
        environment={"PYTHONPATH": str(tmp_path)},
        is_warm=False,
    )
    wait_until(lambda: len(broker.workers()) == 2, "both are connected")
    paths = [tmp_path / f"spin-{number}" for number in range(3)]
    with connect(broker.requester_url) as link, connect(broker.requester_url) as other:
        for path in paths:
            link.send(json.dumps({"command": "spin", "data": {"path": str(path)}, "request_id": path.name}))
        wait_until(lambda: all(path.exists() and path.read_text() for path in paths[:2]), "two run")
        assert {name: row["in_flight"] for name, row in broker.workers().items()} == {"first": 1, "second": 1}
        assert Caller(other).result("add", {"number": 1}) == 2, "there are free slots for others"
        assert not paths[2].exists()
        paths[0].unlink()
        assert json.loads(link.recv(timeout=PATIENCE_S))["success"]
        wait_until(paths[2].exists, "the third runs")
        for path in paths[1:]:
            path.unlink()
            assert json.loads(link.recv(timeout=PATIENCE_S))["success"]


def test_a_request_whose_process_is_killed_is_run_again_or_ended_as_it_allows(
    programs: Programs, tmp_path: Path, broker: Broker
) -> None:
    worker = start(programs, tmp_path, broker, PLACED, "--name", "w")
    with connect(broker.requester_url) as link:
        link.send(json.dumps({"command": "die_once", "data": {"path": str(tmp_path / "once")}}))
        response = json.loads(link.recv(timeout=PATIENCE_S))
        assert (response["code"], response["delivery"]) == ("worker_lost", "may_have_run")
        how = "was killed (SIGKILL; out of memory?)"
        assert response["error"] == f"The process for the handler {how}"
        again = {"command": "die_once", "data": {"path": str(tmp_path / "twice")}, "idempotent": True}
        link.send(json.dumps(again))
        response = json.loads(link.recv(timeout=PATIENCE_S))
        assert (response["success"], response["data"]) == (True, "survived")
    assert re.search(rf"the process for die_once \(request .+\) {re.escape(how)}", worker.stderr)
    assert "Traceback" not in worker.stderr


def test_a_request_past_its_deadline_gives_back_its_process(
    programs: Programs, tmp_path: Path, broker: Broker
) -> None:
    start(programs, tmp_path, broker, PLACED, "--name", "w")
    late, next_one = tmp_path / "late", tmp_path / "next"
    with connect(broker.requester_url) as link:
        assert Caller(link).result("die_once", {"path": str(tmp_path)}) == "survived", "the process is ready"
        response = Caller(link).response("spin", {"path": str(late)}, timeout_s=1)
        assert response["code"] == "timeout"
        pid = int(late.read_text())
        link.send(json.dumps({"command": "spin", "data": {"path": str(next_one)}}))
        wait_until(next_one.exists, "another process has taken its place", timeout_s=5)
        assert not psutil.pid_exists(pid)
        next_one.unlink()
        assert json.loads(link.recv(timeout=PATIENCE_S))["success"]
