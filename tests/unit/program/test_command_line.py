"""How a program ends: its exit code, and one line for each error, however it was started."""

import subprocess
import sys

import click
import pytest
from taskferry.broker.cli import broker
from taskferry.program.command_line import Refused, run


@click.command()
@click.option("--anchor", type=int)
@click.pass_context
def sail(context: click.Context, anchor: int | None) -> None:
    match anchor:
        case 0:
            raise Refused("port 8765: already in use")
        case 1:
            raise KeyboardInterrupt
        case 2:
            context.exit(7)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ([], 0, ""),
        (["--anchor", "0"], 2, "error: port 8765: already in use\n"),
        (["--anchor", "1"], 130, ""),
        (["--anchor", "2"], 7, ""),
        (["--sail"], 2, "error: No such option '--sail'. (try: ship --help)\n"),
    ],
)
def test_an_end_is_an_exit_code_and_at_most_one_line(
    arguments: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(sail, "ship", arguments)
    assert (ended.value.code or 0) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.strip() == line.strip()


@pytest.mark.parametrize(
    ("package", "name"), [("broker", "broker"), ("worker", "worker"), ("requester", "request")]
)
def test_a_program_started_as_a_module_says_the_same_as_the_command(package: str, name: str) -> None:
    arguments = (["echo"] if name == "request" else []) + ["--config", "/no/such/file"]
    ends = [
        subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        for command in (
            [sys.executable, "-m", f"taskferry.{package}", *arguments],
            [sys.executable, "-m", "taskferry.cli", name, *arguments],
        )
    ]
    assert [(end.returncode, end.stdout, end.stderr) for end in ends] == [
        (2, "", "error: /no/such/file: No such file or directory\n")
    ] * 2


@pytest.mark.parametrize(("columns", "width_max"), [(80, 80), (120, 120), (200, 120)])
def test_the_help_fills_the_terminal_up_to_a_width_that_is_easy_to_read(
    columns: int, width_max: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        run(broker, "taskferry broker", ["--help"])  # click keeps a command's first help options, so never -h
    widths = [len(line) for line in capsys.readouterr().out.splitlines()]
    assert width_max - 20 < max(widths) <= width_max
