"""Programs that are started with streams that are closed, full or of another encoding, in a folder that is gone, and
interrupted while they start and end: never a traceback, and always an exit code that is true."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.each_case import each_case
from tests.processes import PATIENCE_S

TASKFERRY: Final = (sys.executable, "-m", "taskferry.cli")
NOBODY: Final = "127.0.0.1:1"
"""Where no broker listens."""
FREE_PORTS: Final = (
    *("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0"),
    *("--journal", "none"),
)

needs_full_disk: Final = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full"
)


def ended(
    *words: str, program: tuple[str, ...] = TASKFERRY, **how: Any
) -> "subprocess.CompletedProcess[str]":
    """How `taskferry` with these words ended. `how`: as subprocess.run takes it."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, **how.pop("environment", {})}
    return subprocess.run(
        [*program, *words],
        **{**streams, **how},
        env=environment,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def closed(*numbers: int) -> Callable[[], None]:
    """Closes these descriptors in the child."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


# --- standard streams ---


@needs_full_disk
@each_case(
    "words",
    [("--help",), ("--version",), ("check-config", "/dev/null"), ("check-config", "--json", "/dev/null")],
)
def test_output_that_cannot_be_written_is_one_line(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        end = ended(*words, stdout=full)
    assert (end.returncode, end.stderr) == (1, "error: standard output: no space left on device\n")


@needs_full_disk
def test_output_in_a_buffer_that_cannot_be_written_is_the_same_line(tmp_path: Path) -> None:
    access = tmp_path / "access.toml"
    access.write_text("[identities.a]\nroles = ['requester']\n")
    with open("/dev/full", "w") as full:
        # Nothing flushes it before the end.
        end = ended(
            "token",
            "list",
            "--json",
            "--access",
            str(access),
            stdout=full,
            environment={"PYTHONUNBUFFERED": ""},
        )
    assert (end.returncode, end.stderr) == (1, "error: standard output: no space left on device\n")


@needs_full_disk
@each_case(
    ("words", "code"),
    [
        (("request", "echo", "--broker", f"ws://{NOBODY}"), 5),
        (("status", "--http", f"http://{NOBODY}"), 5),
        (("nonsense",), 2),
        (("worker", "--broker", "nonsense"), 2),
    ],
)
def test_an_error_that_cannot_be_printed_leaves_the_exit_code(words: tuple[str, ...], code: int) -> None:
    with open("/dev/full", "w") as full:
        assert ended(*words, stderr=full).returncode == code
    assert ended(*words, preexec_fn=closed(2)).returncode == code


def test_a_reader_that_has_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        end = ended("--help", stdout=writing)
    finally:
        os.close(writing)
    assert (end.returncode, end.stderr) == (1, "")


def test_a_pipe_that_another_program_set_to_non_blocking_gets_everything() -> None:
    whole = ended("broker", "--help").stdout
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    fcntl = pytest.importorskip("fcntl")
    fcntl.fcntl(writing, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    process = subprocess.Popen(
        [*TASKFERRY, "broker", "--help"], stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    with open(reading) as read:
        assert read.read() == whole
    assert (process.communicate(timeout=PATIENCE_S)[1], process.returncode) == (b"", 0)


def test_standard_input_that_is_closed_is_empty() -> None:
    end = ended("request", "echo", "-", "--broker", f"ws://{NOBODY}", preexec_fn=closed(0), stdin=None)
    assert end.returncode == 2
    assert end.stderr.startswith("error: DATA: standard input: ")
    assert end.stderr.count("\n") == 1


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("words", [("broker", *FREE_PORTS), ("worker", "--broker", f"ws://{NOBODY}")])
def test_a_program_that_runs_on_ends_well_without_its_streams(
    words: tuple[str, ...], numbers: tuple[int, ...]
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=closed(*numbers),  # noqa: PLW1509  it closes descriptors only
        text=True,
    )
    _, errors = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0, errors
    assert "Traceback" not in errors


SIGNALLED = """
import signal, sys, threading
from taskferry.program import signals

handled = signals.signals_handled
def then_terminated(*arguments):
    threading.Timer(0.2, signal.raise_signal, [signal.SIGTERM]).start()
    return handled(*arguments)
signals.signals_handled = then_terminated

from taskferry.cli.entry import main
sys.argv[0] = "taskferry"
main()
"""
"""The program gets SIGTERM a moment after it began to handle signals, whether or not it can print that it is ready."""


def test_text_that_the_encoding_cannot_hold_is_escaped_and_the_same_json(tmp_path: Path) -> None:
    note = "naïve \N{GRINNING FACE} \N{SNOWMAN}"
    access = tmp_path / "access.toml"
    access.write_text(f'[[identities.a.tokens]]\nsha256 = "{"0" * 64}"\nnote = "{note}"\n', encoding="utf-8")
    end = ended(
        *("token", "list", "--json", "--access", str(access)),
        environment={"PYTHONIOENCODING": "latin-1"},
        encoding="latin-1",
    )
    assert end.stderr == ""
    assert note in json.dumps(json.loads(end.stdout), ensure_ascii=False)


def test_an_error_in_an_encoding_that_cannot_hold_it_is_one_line() -> None:
    end = ended("request", "echo", "@\N{SNOWMAN}", environment={"PYTHONIOENCODING": "latin-1"})
    assert (end.returncode, end.stderr) == (
        2,
        "error: DATA: \\u2603: no such file or directory (try: taskferry request --help)\n",
    )


# --- the folder ---


@each_case(
    ("words", "code"),
    [
        (("journal", "backup", "copy.db", "--journal", "j.db"), 1),
        (("demo", "--seconds", "0.5", "--export", "picture.svg"), 1),
        (("worker",), 2),
    ],
)
def test_a_folder_that_was_removed_is_one_line(words: tuple[str, ...], code: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def leave() -> None:
        os.chdir(folder)
        folder.rmdir()

    end = ended(*words, preexec_fn=leave)
    assert end.returncode == code
    assert end.stderr.startswith("error: ")
    assert end.stderr.count("\n") == 1


# --- signals ---

INTERRUPTED_AT_IMPORT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from taskferry.cli.entry import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == awaited:
            signal.raise_signal(signal.SIGINT)

awaited = sys.argv.pop(1)
sys.argv[0] = "taskferry"
for name in [name for name in sys.modules if name == awaited]:
    del sys.modules[name]
sys.meta_path.insert(0, Interrupting())
main()
"""

INTERRUPTED_IN_A_DESTRUCTOR = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from taskferry.cli.entry import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == awaited:
            Interrupting.__del__ = lambda self: signal.raise_signal(signal.SIGINT)
            Interrupting()

awaited = sys.argv.pop(1)
sys.argv[0] = "taskferry"
sys.meta_path.insert(0, Interrupting())
main()
"""
"""Python prints an exception in a destructor, and goes on."""


@pytest.mark.parametrize("how", [INTERRUPTED_AT_IMPORT, INTERRUPTED_IN_A_DESTRUCTOR])
@each_case(
    ("module", "words"),
    [
        ("taskferry.program.standard_streams", ("--help",)),
        ("taskferry.cli.main", ("--help",)),
        ("click", ("--help",)),
        ("taskferry.requester.cli", ("request", "echo")),
        ("taskferry.requester.program", ("request", "echo")),
        ("taskferry.broker.run", ("broker", *FREE_PORTS)),
        ("taskferry.cli.http_port", ("status",)),
        ("taskferry.cli.demo.cli", ("demo",)),
        ("taskferry.worker.cli", ("worker",)),
    ],
)
def test_ctrl_c_during_set_up_ends_the_program_without_a_word(
    how: str, module: str, words: tuple[str, ...]
) -> None:
    if how == INTERRUPTED_IN_A_DESTRUCTOR and module == "taskferry.program.standard_streams":
        return  # SIGINT is not handled yet
    end = ended(module, *words, program=(sys.executable, "-c", how))
    assert (end.returncode, end.stdout, end.stderr) == (130, "", "")


INTERRUPTED_AT_ITS_END = """
import atexit, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from taskferry.program import signals

handled = signals.signals_handled
def then_interrupted(*arguments):
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    return handled(*arguments)
signals.signals_handled = then_interrupted

from taskferry.cli.entry import main
atexit.register(signal.raise_signal, signal.SIGINT)
sys.argv[0] = "taskferry"
main()
"""


@pytest.mark.parametrize(
    "words",
    [
        ("broker", *FREE_PORTS),
        ("worker", "--broker", f"ws://{NOBODY}"),
        ("worker", "--broker", f"ws://{NOBODY}", "--processes", "1", "--reload"),
    ],
)
def test_a_second_ctrl_c_while_the_program_ends_changes_nothing(words: tuple[str, ...]) -> None:
    end = ended(*words, program=(sys.executable, "-c", INTERRUPTED_AT_ITS_END))
    assert (end.returncode, "KeyboardInterrupt" in end.stderr) == (0, False), end.stderr


@pytest.mark.parametrize("words", [(), ("token",), ("journal",)])
def test_a_command_without_words_prints_its_help(words: tuple[str, ...]) -> None:
    end = ended(*words)
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout == ended(*words, "--help").stdout
