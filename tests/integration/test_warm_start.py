"""A program from the warm copy is, as far as it and its parent can see, one that the interpreter started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from websockets.sync.client import connect

from tests.processes import PATIENCE_S, Broker, Programs, wait_until
from tests.warm_start import Server, WarmProcess, can_be_warm, server

ENVIRONMENT: Final = {**os.environ, "PYTHONUNBUFFERED": "1", "TASKFERRY_X": "1"}
FACTS: Final = """
import gc, json, logging, os, resource, signal, sys, threading
main = sys.modules["__main__"]
mask = os.umask(0)
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "executable": sys.executable,
    "flags": list(sys.flags), "options": [sys.warnoptions, sys._xoptions], "prefix": sys.prefix,
    "main": [__name__, main.__spec__.name, __file__, main.__dict__ is globals()],
    "environment": dict(os.environ), "folder": os.getcwd(), "umask": mask,
    "open_files": [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")],
    "targets": [os.readlink(f"/proc/self/fd/{n}").rpartition(".")[2] for n in range(3)],
    "streams": [
        [type(s.buffer).__name__, s.encoding, s.errors, s.isatty(), s.line_buffering, s.write_through, s.mode, s.name]
        for s in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "stdin": sys.stdin.read(),
    "signals": [str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()],
    "mask": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "session": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
    "limits": resource.getrlimit(resource.RLIMIT_NOFILE), "nice": os.nice(0),
    "threads": [thread.name for thread in threading.enumerate()],
    "garbage": [gc.isenabled(), gc.get_threshold()],
    "logging": [len(logging.root.handlers), logging.root.level],
    "tests": [name for name in sys.modules if name.partition(".")[0] in {"tests", "pytest"}],
}))
"""
ENDINGS: Final = {
    "end": "print('end')",
    "number": "import sys; sys.exit(3)",
    "text": "import sys; sys.exit('what was wrong')",
    "uncaught": "raise ValueError('odd')",
    "interrupted": "raise KeyboardInterrupt",
    "at_once": "import os; os._exit(4)",
    "signal": "import os; os.kill(os.getpid(), 9)",
    "at_exit": "import atexit; atexit.register(print, 'bye'); raise SystemExit(5)",
    "thread": "import threading; threading.Timer(0.05, lambda: print('late')).start(); print('main')",
    "unended": "import sys; sys.stdout.write('no line'); sys.stderr.write('nor here')",
    "spawn": """
import multiprocessing
def work():
    print("worked in", __name__)
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start(); child.join(); raise SystemExit(child.exitcode)
""",
}
WAITING: Final = "import time; print('waiting'); time.sleep(60)"
TASKS: Final = """
import os
from taskferry.worker import Worker

worker = Worker(process_count=1)

@worker.command(executor="process")
def pids() -> list[int]:
    return [os.getpid(), os.getppid()]
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs start warm on Linux alone")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, where modules are found. The umask is another than the server's."""
    monkeypatch.chdir(tmp_path)
    server()
    before = os.umask(0o027)
    yield tmp_path
    os.umask(before)


def started(one: Server, folder: Path, source: str, *arguments: str) -> WarmProcess:
    """`python -m probe`, whose text is `source`."""
    (folder / "probe.py").write_text(source)
    paths = [folder / f"probe.{name}" for name in ("stdout", "stderr")]
    for path in paths:
        path.touch()
    return one.start(("-m", "probe", *arguments), ENVIRONMENT, *paths)


def warm(folder: Path, source: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    exit_code = started(server(), folder, source, *arguments).wait(PATIENCE_S)
    return exit_code, (folder / "probe.stdout").read_text(), (folder / "probe.stderr").read_text()


def cold(folder: Path, source: str, *arguments: str) -> tuple[int, str, str]:
    """The same of the interpreter."""
    (folder / "probe.py").write_text(source)
    with (folder / "cold.stdout").open("wb") as stdout, (folder / "cold.stderr").open("wb") as stderr:
        done = subprocess.run(
            [sys.executable, "-m", "probe", *arguments],
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=ENVIRONMENT, check=False,
            start_new_session=True,
        )  # fmt: skip
    return done.returncode, (folder / "cold.stdout").read_text(), (folder / "cold.stderr").read_text()


def test_it_finds_what_the_interpreter_would_give_it(folder: Path) -> None:
    facts: list[dict[str, Any]] = []
    for run in (cold, warm):
        exit_code, stdout, stderr = run(folder, FACTS, "--option", "two words")
        assert (exit_code, stderr) == (0, "")
        facts.append(json.loads(stdout))
    assert facts[1] == facts[0]
    assert facts[1]["open_files"] == ["0", "1", "2"]
    assert facts[1]["environment"]["TASKFERRY_X"] == "1"


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_ends_as_the_interpreter_ends(folder: Path, ending: str) -> None:
    expected, seen = (run(folder, ENDINGS[ending]) for run in (cold, warm))
    assert seen[:2] == expected[:2]
    assert seen[2].splitlines()[-1:] == expected[2].splitlines()[-1:]
    assert ("Traceback" in seen[2]) == ("Traceback" in expected[2])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(folder: Path, number: signal.Signals) -> None:
    process = started(server(), folder, WAITING)
    wait_until((folder / "probe.stdout").read_text, "it waits")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == -number
    process.send_signal(number)  # not to whatever has its pid now


def test_random_numbers_differ(folder: Path) -> None:
    source = "import random; print(random.random())"
    assert warm(folder, source) != warm(folder, source)


def test_a_workers_own_processes_start_as_usual(programs: Programs, broker: Broker, folder: Path) -> None:
    (folder / "tasks.py").write_text(TASKS)
    worker = programs.start("-m", "taskferry.worker", "tasks:worker", "--broker", broker.worker_url)
    assert psutil.Process(worker.pid).ppid() == psutil.Process(broker.pid).ppid() != os.getpid()
    wait_until(broker.workers, "the worker is connected")
    with connect(broker.requester_url) as link:
        link.send(json.dumps({"request_id": "r", "command": "pids", "data": {}}))
        pid, parent_pid = json.loads(link.recv(timeout=PATIENCE_S))["data"]
    assert pid != worker.pid == parent_pid


def test_what_is_read_before_a_program_runs_keeps_it_cold() -> None:
    broker = ("-m", "taskferry.broker")
    assert can_be_warm(broker, ENVIRONMENT)
    assert can_be_warm((*broker, "--help"), {**ENVIRONMENT, "COLUMNS": "80"})
    for name in (
        "PYTHONPATH",
        "PYTHONHASHSEED",
        "LD_PRELOAD",
        "COVERAGE_PROCESS_CONFIG",
        "MALLOC_ARENA_MAX",
        "TZ",
    ):
        assert not can_be_warm(broker, {**ENVIRONMENT, name: "1"})
    assert not can_be_warm(broker, {name: ENVIRONMENT[name] for name in ENVIRONMENT.keys() - {"PYTHONUTF8"}})
    for arguments in (("-c", "pass"), ("-m", "pytest"), ("-X", "dev", *broker), ("worker.py",)):
        assert not can_be_warm(arguments, ENVIRONMENT)


# --- one that dies ---


@pytest.fixture
def own_server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


def test_if_the_server_dies_tests_fail_with_the_reason(folder: Path, own_server: Server) -> None:
    process = started(own_server, folder, WAITING)
    it = psutil.Process(process.pid)
    parent = it.parent()
    assert parent is not None
    parent.kill()
    for _ in range(2):
        with pytest.raises(AssertionError, match=r"server of warm programs has ended.* code -9; "):
            process.poll()
    assert own_server.has_ended
    wait_until(lambda: not it.is_running(), "its program has ended")


def test_programs_end_with_the_tests(folder: Path) -> None:
    (folder / "test_process.py").write_text(
        "import os, signal\nfrom pathlib import Path\nfrom tests.integration.test_warm_start import WAITING, started\n"
        "from tests.processes import wait_until\nfrom tests.warm_start import server\n"
        "process = started(server(), Path('.'), WAITING)\n"
        "wait_until(Path('probe.stdout').read_text, 'it waits')\n"
        "print(process.pid, flush=True)\nsignal.pause()\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "test_process.py"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as tests:
        assert tests.stdout is not None
        program = psutil.Process(int(tests.stdout.readline()))
        parent = program.parent()
        assert parent is not None
        tests.kill()
    _, alive = psutil.wait_procs([program, parent], timeout=PATIENCE_S)
    assert alive == []
