"""`python -m taskferry.worker`: options, environment, signals, exit codes, and one clear line for each error."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from taskferry.worker.cli import worker as worker_command

from tests.unit.worker.fake_broker import FakeBroker, refuse
from tests.unit.worker.worker_program import run_to_end, worker_program

TASKS = """
import asyncio, os
from taskferry.worker import Worker

worker = Worker(name="from-module", concurrency=3, grace_s=5)

@worker.command()
async def pid() -> int:
    return os.getpid()

@worker.command()
async def nap() -> str:
    await asyncio.sleep(10)
    return "rested"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def test_each_option_has_an_environment_variable_and_help_is_quick_to_load() -> None:
    result = CliRunner().invoke(worker_command, ["--help"])
    assert result.exit_code == 0
    for parameter in worker_command.params:
        if (
            isinstance(parameter, click.Option)
            and not parameter.hidden
            and parameter.name not in {"help", "verbose"}
        ):
            option = parameter.opts[0].removeprefix("--").replace("-", "_").upper()
            variables = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar
            shared = [f"TASKFERRY_{option}"] if option in {"LOG_LEVEL", "LOG_FORMAT"} else []
            assert variables == [f"TASKFERRY_WORKER_{option}", *shared]
            assert parameter.help
    heavy = "{'asyncio', 'msgspec', 'websockets', 'concurrent.futures'} & set(sys.modules)"
    source = f"import sys; import taskferry.worker.cli; sys.exit(str({heavy} or ''))"
    assert (
        subprocess.run([sys.executable, "-c", source], check=False, capture_output=True).stderr.strip() == b""
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--concurrency", "0"], "--concurrency: expected a whole number from 1 to 10000, got 0"),
        (["--concurrency", "10001"], "--concurrency: expected a whole number from 1 to 10000, got 10001"),
        (["--weight", "0.001"], "--weight: expected a number from 0.01 to 100, got 0.001"),
        (["--label", "gpu"], "'gpu' is not of the form K=V"),
        (["--label", "=yes"], "'=yes' is not of the form K=V"),
        (["--encoding", "xml"], "'xml' is not one of 'json', 'msgpack'"),
        (["--grace", "-1"], "--grace: expected a number of seconds from 0 to 3600, got -1"),
        (["--processes", "0"], "--processes: expected a whole number from 1 to 256, got 0"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--unheard-of"], "No such option"),
        (
            ["--broker", "http://localhost"],
            "Error: --broker: 'http://localhost' is not a URL of the form ws://HOST:PORT",
        ),
        (["--name", "a b"], "Error: --name: only letters, digits and _ . : @ / - may be used"),
        (
            ["--label", f"k={'v' * 129}"],
            'Error: --label: "k": expected a text of 0 to 128 characters, got 129',
        ),
        (["--canary", "a b"], "Error: --canary: only letters, digits and _ . : @ / - may be used"),
        (["nothing:worker"], "Error: there is no module 'nothing' in "),
        (["taskferry.worker:Worker"], "Error: taskferry.worker:Worker is a type, not a Worker"),
    ],
)
def test_errors_are_one_clear_line_and_exit_code_2(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    result = CliRunner().invoke(worker_command, arguments)
    assert result.exit_code == 2
    errors = [line for line in result.output.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        ("ping", "'ping' is not one of the worker's commands: echo, get_time, calculate, get_system_info"),
        ("echo", "'echo' cannot be called without data: message: missing parameter"),
    ],
)
async def test_a_command_that_cannot_be_the_canary_is_one_clear_line(
    canary: str, expected: str, tmp_path: Path, broker: FakeBroker
) -> None:
    code, lines = await run_to_end(tmp_path, "--broker", broker.url, "--canary", canary)
    assert (code, lines) == (2, [f"error: canary: {expected}"])
    assert broker.connection_count == 0


async def test_the_command_line_comes_before_the_environment_and_both_before_the_module(
    folder: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKFERRY_WORKER_BROKER", broker.url)
    monkeypatch.setenv("TASKFERRY_WORKER_WEIGHT", "3")
    monkeypatch.setenv("TASKFERRY_WORKER_LABEL", "zone=a gpu=yes")
    monkeypatch.setenv("TASKFERRY_WORKER_CONCURRENCY", "5")
    async with worker_program(
        folder, "tasks:worker", "--concurrency", "7", "--canary", "pid", "--encoding", "msgpack"
    ) as program:
        connection = await broker.connection()
        assert connection.link.encoding.value == "msgpack"
        hello = connection.hello["data"]
        assert hello["name"] == "from-module"
        assert hello["commands"] == ["pid", "nap"]
        assert (hello["concurrency"], hello["weight"]) == (7, 3.0)
        assert (hello["labels"], hello["canary"]) == ({"zone": "a", "gpu": "yes"}, "pid")
        assert await connection.result("pid") == program.process.pid


async def test_without_a_module_it_serves_the_built_in_commands(tmp_path: Path, broker: FakeBroker) -> None:
    async with worker_program(tmp_path, "--broker", broker.url, "--name", "plain") as program:
        connection = await broker.connection()
        assert connection.hello["data"]["commands"] == ["echo", "get_time", "calculate", "get_system_info"]
        assert connection.hello["data"]["name"] == "plain"
        assert await connection.result("echo", {"message": "Hello World"}) == "Echo: Hello World"
        commands = "echo, get_time, calculate, get_system_info"
        assert "connected to" in await program.line_with(f"as plain (slots: 16; commands: {commands})")


async def test_a_file_comes_before_the_module_and_after_the_environment_and_flags(
    folder: Path, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "taskferry.toml").write_text(
        f'[worker]\nbroker = "{broker.url}"\nname = "in-file"\nconcurrency = 5\nweight = 2\ncanary = "pid"\n'
        'grace = 1\n[worker.labels]\ngpu = "yes"\nzone = ""\n[broker]\nanything = "is not ours"\n'
    )
    monkeypatch.setenv("TASKFERRY_WORKER_CONFIG", "taskferry.toml")
    monkeypatch.setenv("TASKFERRY_WORKER_WEIGHT", "3")
    for processes, name in ((1, "in-file"), (2, "in-file-1")):
        arguments = ("tasks:worker", "--concurrency", "7", "--processes", str(processes))
        async with worker_program(folder, *arguments) as program:
            connections = [await broker.connection() for _ in range(processes)]
            hellos = sorted(
                (connection.hello["data"] for connection in connections), key=lambda hello: str(hello["name"])
            )
            hello = hellos[0]
            assert (hello["name"], hello["concurrency"], hello["weight"]) == (name, 7, 3.0)
            assert (hello["labels"], hello["canary"]) == ({"gpu": "yes", "zone": ""}, "pid")
            program.process.send_signal(signal.SIGTERM)
            await program.ended()


async def test_a_wrong_file_is_one_clear_line(folder: Path) -> None:
    (folder / "taskferry.toml").write_text("[worker]\nconcurency = 1\n")
    code, lines = await run_to_end(folder, "tasks:worker", "--config", "taskferry.toml")
    assert code == 2
    assert lines == ["error: taskferry.toml: [worker] concurency: no such setting; did you mean concurrency?"]


RELOADED = "configuration reloaded: log.level: info -> debug"
FIXED = "configuration: needs a restart: concurrency: the module's, else 16 -> 4"


async def test_a_hangup_reloads_the_log_and_stops_nothing(folder: Path, broker: FakeBroker) -> None:
    path = folder / "taskferry.toml"
    path.write_text("")
    arguments = ("tasks:worker", "--broker", broker.url, "--config", "taskferry.toml")
    async with worker_program(folder, *arguments) as program:
        connection = await broker.connection()
        await program.line_with("connected to")
        path.write_text('[log]\nlevel = "debug"\n[worker]\nconcurrency = 4\n')
        program.process.send_signal(signal.SIGHUP)
        assert (await program.line_with(FIXED)).partition(" ")[2].startswith("WARNING ")
        assert RELOADED in program.lines[-2]
        assert await connection.result("pid") == program.process.pid


async def test_a_hangup_reaches_all_processes(folder: Path, broker: FakeBroker) -> None:
    path = folder / "taskferry.toml"
    path.write_text("")
    arguments = ("tasks:worker", "--broker", broker.url, "--config", "taskferry.toml", "--processes", "2")
    async with worker_program(folder, *arguments) as program:
        for _ in range(2):
            await broker.connection()
        await program.line_with("connected to", count=2)
        path.write_text('[log]\nlevel = "debug"\n')
        program.process.send_signal(signal.SIGHUP)
        await program.line_with(RELOADED, count=3)
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0
    assert not any("starting another" in line for line in program.lines)


async def test_a_hangup_before_the_processes_are_ready_waits_until_they_are(
    folder: Path, broker: FakeBroker
) -> None:
    (folder / "taskferry.toml").write_text("")
    slow = "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(0.5)\n"
    (folder / "tasks.py").write_text(slow + TASKS)
    arguments = ("tasks:worker", "--broker", broker.url, "--config", "taskferry.toml", "--processes", "2")
    async with worker_program(folder, *arguments) as program:
        async with asyncio.timeout(10):
            while not (folder / "begun").exists():
                await asyncio.sleep(0.01)
        program.process.send_signal(signal.SIGHUP)
        await program.line_with("configuration reloaded: nothing has changed", count=3)
        for _ in range(2):
            await broker.connection()
    assert not any("starting another" in line for line in program.lines)


async def test_a_hangup_without_a_file_is_a_line(folder: Path, broker: FakeBroker) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url) as program:
        connection = await broker.connection()
        await program.line_with("connected to")
        program.process.send_signal(signal.SIGHUP)
        await program.line_with("configuration not reloaded, nothing has changed: there is no file")
        assert await connection.result("pid") == program.process.pid


SECRET = "SECRET-4711"
SPILLING = """
import os
from taskferry.worker import Worker

worker = Worker(name="spilling")

class Spilled(Exception):
    pass

@worker.command()
async def spill(password: str) -> None:
    try:
        raise KeyError(password)
    except KeyError as error:
        raise Spilled(password) from error

@worker.command(executor="process")
def spill_in_process(password: str) -> None:
    raise Spilled(password)

@worker.command()
def spill_in_thread(password: str) -> object:
    return {object(): password}
"""


@pytest.mark.parametrize("form", ["human", "json"])
async def test_data_and_texts_of_a_handler_are_never_logged(
    form: str, tmp_path: Path, broker: FakeBroker
) -> None:
    (tmp_path / "tasks.py").write_text(SPILLING)
    url = broker.url.replace("ws://", f"ws://ada:{SECRET}@") + f"/?token={SECRET}"
    arguments = ("tasks:worker", "--broker", url, "--log-level", "debug", "--log-format", form)
    async with worker_program(tmp_path, *arguments) as program:
        connection = await broker.connection()
        for command in ("spill", "spill_in_process", "spill_in_thread"):
            failure = await connection.failure(command, {"password": SECRET})
            assert (SECRET in failure[1]) == (command != "spill_in_thread")
        await connection.failure("spill", {"password": [SECRET]})
        connection.send({"type": SECRET})
        await connection.receive_type("error")
        await program.line_with("was not understood")
        # Python itself may print something about a pool of processes at the end: these are the lines of the log.
        logged = list(program.lines)
        program.process.send_signal(signal.SIGTERM)
        assert await program.ended() == 0
    text = "\n".join(program.lines)
    assert SECRET not in text
    assert "spill failed (request " in text
    assert "tasks.Spilled" in text
    assert "was not understood" in text
    assert f"connected to {broker.url.replace('ws://', 'ws://...@')}/?... as spilling" in text
    if form == "json":
        lines = [json.loads(line) for line in logged]
        (failed,) = (line for line in lines if line.get("command") == "spill_in_process")
        assert (failed["event"], failed["exception"]) == ("handler_failed", "Spilled")
        assert failed["traceback"].startswith("Traceback (most recent call last):\n")


@pytest.mark.parametrize("options", [["--log-handler-errors"], ["--reload"]])
async def test_an_operator_may_log_what_a_handlers_exception_says(
    options: list[str], tmp_path: Path, broker: FakeBroker
) -> None:
    (tmp_path / "tasks.py").write_text(SPILLING)
    async with worker_program(tmp_path, "tasks:worker", "--broker", broker.url, *options) as program:
        connection = await broker.connection()
        for command in ("spill", "spill_in_process"):
            await connection.failure(command, {"password": SECRET})
            assert SECRET in await program.line_with(f"{command} failed (request ")
            await program.line_with("tasks.Spilled")
        files = [line for line in program.lines if line.strip().startswith('File "')]
        assert files
        assert all("tasks.py" in line for line in files), files


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_the_exit_code_is_0(
    signum: signal.Signals, folder: Path, broker: FakeBroker
) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "--grace", "0.2") as program:
        connection = await broker.connection()
        msg_id = connection.send_request("nap")
        await connection.result("pid")
        program.process.send_signal(signum)
        await connection.receive_type("disconnect")
        assert await program.ended() == 0
        assert connection.response_counts[msg_id] == 0
    assert [line.partition(" INFO    ")[2] for line in program.lines if signum.name in line] == [
        f"{signum.name}: finishing what runs, for at most 0.2 s; send it again to stop at once"
    ]
    assert "1 assignments did not finish within 0.2 s" in program.lines[-1]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_second_signal_stops_at_once(
    signum: signal.Signals, code: int, folder: Path, broker: FakeBroker
) -> None:
    async with worker_program(folder, "tasks:worker", "--broker", broker.url) as program:
        connection = await broker.connection()
        connection.send_request("nap")
        await connection.result("pid")
        program.process.send_signal(signal.SIGTERM)
        await connection.receive_type("disconnect")
        program.process.send_signal(signum)
        assert await program.ended() == code
    assert not any("Traceback" in line for line in program.lines)


async def test_a_signal_while_there_is_no_broker_ends_it(folder: Path, broker: FakeBroker) -> None:
    broker.stop_listening()
    async with worker_program(folder, "tasks:worker", "--broker", broker.url) as program:
        await program.line_with("connection refused; retrying")
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 0


async def test_a_refusal_by_the_broker_is_one_clear_line(folder: Path, broker: FakeBroker) -> None:
    broker.answer = refuse("bad_message", "data.commands[0]: too ugly")
    broker.closes_after_answer = True
    code, lines = await run_to_end(folder, "tasks:worker", "--broker", broker.url)
    assert code == 2
    assert lines == [f"error: the broker at {broker.url} refuses this worker: data.commands[0]: too ugly"]


async def test_a_module_that_fails_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("import asyncio\n1/0\n")
    code, lines = await run_to_end(tmp_path, "tasks:worker")
    assert code == 2
    assert lines == [f"error: {tmp_path / 'tasks.py'}:2: ZeroDivisionError: division by zero"]


async def test_run_serves_from_a_script_and_ends_by_signal(tmp_path: Path, broker: FakeBroker) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        TASKS + f"\nif __name__ == '__main__':\n    worker.run({broker.url!r})\n    print('after')\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        connection = await broker.connection()
        assert await connection.result("pid") == process.pid
        process.send_signal(signal.SIGTERM)
        await connection.receive_type("disconnect")
        await connection.closed
        stdout, stderr = process.communicate(timeout=10)
        assert stdout == b"after\n"
        assert b"INFO    connected to" in stderr
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


async def test_verbose_shows_what_a_module_logs(folder: Path, broker: FakeBroker) -> None:
    talkative = TASKS.replace("    return os.getpid()", "    logging.debug('a word')\n    return os.getpid()")
    (folder / "tasks.py").write_text("import logging\n" + talkative)
    async with worker_program(folder, "tasks:worker", "--broker", broker.url, "-v") as program:
        connection = await broker.connection()
        await connection.result("pid")
        assert (await program.line_with("a word")).endswith(" DEBUG   a word")
