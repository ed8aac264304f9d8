"""The `taskferry` group: quick help, sub-commands that are imported when they run, and one line for each error."""

import importlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner
from taskferry.cli import entry as first
from taskferry.cli import main as cli
from taskferry.cli.main import ENTRIES, Entry, main

from tests.each_case import each_case

HEAVY = (
    "websockets",
    "rich",
    "uvicorn",
    "starlette",
    "msgspec",
    "asyncio",
    "uvloop",
    "prometheus_client",
    "jwt",
    "cryptography",
)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Restore the level: sub-commands set it for their process, which is that of the tests."""
    logger = logging.getLogger("taskferry")
    level = logger.level
    yield
    logger.setLevel(level)


def run(*arguments: str) -> int:
    """The exit code of `taskferry` with these arguments, in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_help_loads_nothing_that_a_sub_command_needs() -> None:
    # The modules are counted rather than the milliseconds, which on a busy machine say nothing.
    program = f"""
import sys
from taskferry.cli.main import main
try:
    main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
import json
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_help_lists_every_sub_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    printed = capsys.readouterr().out
    for name, entry in ENTRIES.items():
        assert f"  {name} " in printed
        assert entry.help in printed


def test_the_names_are_known_to_shell_completion() -> None:
    assert cli.taskferry.list_commands(click.Context(cli.taskferry)) == list(ENTRIES)


@each_case(
    ("words", "completed"),
    [
        ("taskferry dr", ["drain"]),
        ("taskferry job s", ["show"]),
        ("taskferry request --each", ["--each"]),
        ("taskferry sttaus --", ["--version", "--help"]),
    ],
)
def test_a_shell_completes_words(words: str, completed: list[str]) -> None:
    typed = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_TASKFERRY_COMPLETE": "bash_complete"}
    result = CliRunner().invoke(cli.taskferry, env=typed, prog_name="taskferry")
    assert [line.partition(",")[2] for line in result.stdout.splitlines()] == completed


@each_case("name", [name for name in ENTRIES if name != "demo"])
def test_every_entry_leads_to_a_command(name: str) -> None:
    entry = ENTRIES[name]
    assert isinstance(getattr(importlib.import_module(entry.module), entry.name), click.Command)


@pytest.mark.parametrize(
    "name", ["broker", "worker", "request", "workers", "status", "explain", "drain", "token", "can"]
)
def test_every_sub_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    assert f"Usage: taskferry {name} " in capsys.readouterr().out


def test_the_help_of_no_number_speaks_of_ranges_as_click_does(capsys: pytest.CaptureFixture[str]) -> None:
    def commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
        yield path
        for name, each in getattr(command, "commands", {}).items():
            yield from commands(each, *path, name)

    for name, entry in ENTRIES.items():
        for path in commands(getattr(importlib.import_module(entry.module), entry.name), name):
            assert run(*path, "--help") == 0
            assert not re.search(r"RANGE|\bFLOAT\b|\bINTEGER\b|x[<>]=", capsys.readouterr().out), path


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"taskferry {version('taskferry')}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nonsense"], "error: No such command 'nonsense'. (try: taskferry --help)"),
        (["statsu"], "error: No such command 'statsu'; did you mean status? (try: taskferry --help)"),
        (["wrker", "--help"], "error: No such command 'wrker'; did you mean worker? (try: taskferry --help)"),
        (
            ["job", "shwo", "a"],
            "error: No such command 'shwo'; did you mean show? (try: taskferry job --help)",
        ),
        (["token", "crate"], "error: No such command 'crate'. (try: taskferry token --help)"),
        (
            ["schedule", "lst"],
            "error: No such command 'lst'; did you mean list? (try: taskferry schedule --help)",
        ),
        (
            ["journal", "inof"],
            "error: No such command 'inof'; did you mean info? (try: taskferry journal --help)",
        ),
        (["--nonsense"], "error: No such option '--nonsense'. (try: taskferry --help)"),
        (["request"], "error: Missing argument 'COMMAND'. (try: taskferry request --help)"),
        (
            ["request", "echo", "--timeout", "-1"],
            "error: --timeout: expected a number of seconds over 0 and at most 3600, got -1",
        ),
        (["request", "echo", "--timeout", "nan"], "error: --timeout: expected a number of seconds over 0"),
        (["request", "echo", "--concurrency", "2"], "error: --concurrency needs --count"),
        (
            ["request", "echo", "--hedge", "p95"],
            "error: --hedge needs --idempotent: the command may run twice",
        ),
        (["request", "echo", "--label", "gpu"], "error: --label: 'gpu' is not of the form K=V"),
        (["can"], "error: Missing argument 'IDENTITY'. (try: taskferry can --help)"),
        (["token", "new"], "error: Missing argument 'NAME'. (try: taskferry token new --help)"),
        (["drain"], "error: Missing argument 'WORKER', or --label (try: taskferry drain --help)"),
        (
            ["drain", "vm-1", "--wait", "nan"],
            "error: Invalid value for '--wait': expected a number of seconds from 0 to 3600, got nan",
        ),
        (
            ["request", "echo", "{broken"],
            "error: DATA: '{broken': not valid JSON: object keys must be strings (byte 1)",
        ),
        (
            ["request", "echo", "--broker", "localhost"],
            "error: --broker: 'localhost' is not a URL of the form",
        ),
        (
            ["status", "--http", "localhost:1"],
            "error: --http: 'localhost:1' is not a URL of the form http://",
        ),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(line)
    assert printed.err.count("\n") == 1


def test_a_sub_command_that_is_not_installed_harms_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENTRIES, "absent", Entry("taskferry.cli.absent", "absent", "Not there."))
    assert run("--help") == 0
    assert "Not there." in capsys.readouterr().out
    assert run("absent") == 1
    assert capsys.readouterr().err.startswith("error: absent is not part of this installation: ")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_is_130_without_a_word(
    error: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.taskferry, "invoke", interrupted)
    assert run("status") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c_while_it_loads_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        """Ctrl-C in the moment in which the rest is loaded."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "taskferry.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "taskferry.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        first.main()
    assert ended.value.code == 130
