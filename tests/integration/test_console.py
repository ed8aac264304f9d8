"""`taskferry console` as an operator or a script uses it, and a broker that is brought up with one."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import Broker, Programs, programs_in, wait_until
from tests.terminals import conversation, run_at_terminal

TIMEOUT_S = 30

WORKER = """
import asyncio
from taskferry.worker import Worker

worker = Worker(concurrency=8)

@worker.command("cli_same")
async def same(value: object = None) -> object:
    return value

@worker.command("cli_sleep")
async def sleep() -> None:
    await asyncio.sleep(60)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("console")
    (folder / "cli_tasks.py").write_text(WORKER)
    with programs_in(folder) as programs:
        broker = programs.start_broker("--grace", "0")
        programs.start(
            "-m", "taskferry.worker", "cli_tasks:worker", "--broker", broker.worker_url, "--name", "node-1",
            environment={"PYTHONPATH": str(folder)},
        )  # fmt: skip
        wait_until(broker.workers, "the worker")
        yield broker


def console_of(broker: Broker) -> list[str]:
    ports = ["--broker", broker.requester_url, "--http", broker.http_url]
    return [sys.executable, "-m", "taskferry.cli", "console", *ports]


def in_a_pipe(broker: Broker, *lines: str) -> tuple[int, str, str]:
    done = subprocess.run(
        console_of(broker),
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_lines_of_a_pipe_are_run_without_a_prompt(served: Broker) -> None:
    code, out, err = in_a_pipe(
        served,
        'request cli_same {"value": [1, "two words"]}',
        "",
        "send node-1 cli_same value=3",
        "quit",
        "x",
    )
    assert (code, out, err) == (0, '[1,"two words"]\n3\n', "")


def test_a_mistake_is_one_line_and_the_last_failure_is_the_exit_code(served: Broker) -> None:
    code, out, err = in_a_pipe(served, "request 'x", "reqest x", "request nobody", "workers --json")
    assert code == 4
    lines = err.splitlines()
    assert lines[0].startswith("error: a quotation mark")
    assert lines[1] == "error: no command 'reqest': did you mean request?"
    assert lines[2].startswith("error: No available workers")
    assert len(lines) == 3
    assert json.loads(out)["workers"][0]["worker_id"] == "node-1"


def test_an_interrupt_ends_the_command_and_not_the_console(served: Broker) -> None:
    with subprocess.Popen(
        console_of(served), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write("request cli_sleep\n")
        process.stdin.flush()
        wait_until(lambda: served.status()["in_flight_count"] == 1, "the request")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: served.status()["in_flight_count"] == 0, "its end")
        out, err = process.communicate("request cli_same value=2\n", TIMEOUT_S)
    assert (process.returncode, out, err) == (130, "2\n", "")


def test_no_broker_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "taskferry.cli", "console", "--http", "http://127.0.0.1:1"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 5
    assert done.stderr.startswith("error: cannot connect to http://127.0.0.1:1")
    assert done.stderr.count("\n") == 1


def test_a_terminal_completes_and_remembers(served: Broker, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1", "NO_COLOR": "1"}
    history = tmp_path / "taskferry" / "console-history"
    with conversation(console_of(served), environment) as console:
        console.type("", until="Ctrl-D quits.*taskferry>")
        console.type("send no\t", until="de-1")  # only what is new is drawn
        console.type("cli_sa\t", until="me")
        console.type("value=41\n", until=r"41\r\n.*taskferry>")
        console.type("half a line\x03", until="half a line.*taskferry>")
        console.type("help drain\n", until="Let a worker finish.*taskferry>")
        console.type("\x04", until="\r\n")
        assert console.process.wait(TIMEOUT_S) == 0
    kept = history.read_text(encoding="utf-8")
    assert "send node-1 cli_same value=41" in kept
    assert "half" not in kept
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    with conversation(console_of(served), environment) as console:
        console.type("", until="taskferry>")
        console.type("send node-1 cli_same v\t", until="alue=")
        console.type("42\n", until=r"42\r\n.*taskferry>")
        console.type("quit\n", until="\r\n")
        assert console.process.wait(TIMEOUT_S) == 0


def own_broker_of(console_pid: int) -> psutil.Process:
    """The broker that a console has started, once it listens."""
    found: list[psutil.Process] = []

    def listens() -> bool:
        with contextlib.suppress(psutil.Error):
            found.extend(child for child in psutil.Process(console_pid).children() if ports_count(child) >= 4)
        return bool(found)

    wait_until(listens, "the console's broker")
    return found[0]


def ports_count(process: psutil.Process) -> int:
    return sum(end.status == psutil.CONN_LISTEN for end in process.net_connections("tcp"))


BROKER_WITH_CONSOLE = (
    sys.executable, "-m", "taskferry.cli", "broker", "--console", "--journal", "none",
    "--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0",
)  # fmt: skip


def test_a_broker_comes_up_and_goes_with_its_console() -> None:
    done = subprocess.run(
        BROKER_WITH_CONSOLE, input="status --json\nquit\n", capture_output=True, text=True, timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "serving"
    assert "INFO    started on" in done.stderr
    assert "INFO    stopped" in done.stderr


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="POSIX")
def test_a_broker_ends_when_its_console_is_killed_and_the_console_when_its_broker_is(tmp_path: Path) -> None:
    with subprocess.Popen(
        BROKER_WITH_CONSOLE, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        broker = own_broker_of(process.pid)
        process.kill()
    assert broker.wait(TIMEOUT_S) is None or not broker.is_running()
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    code, seen = run_at_terminal(
        BROKER_WITH_CONSOLE,
        environment=environment,
        while_it_runs=lambda process: own_broker_of(process.pid).kill(),
    )
    assert code == 1
    assert "error: the broker was killed (SIGKILL" in seen


def test_a_broker_that_cannot_start_says_why(programs: Programs) -> None:
    taken = programs.start_broker().http_url.rpartition(":")[2]
    command = [*BROKER_WITH_CONSOLE[:-1], taken]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert taken in done.stderr
