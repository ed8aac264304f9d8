"""What the demo says to type is what can be typed."""

import os
from pathlib import Path

import pytest
from taskferry.cli.demo.typed_command import typed_command


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that was started, not on the PATH; the current directory is above it."""
    started = tmp_path / "a folder" / "bin" / "taskferry"
    started.parent.mkdir(parents=True)
    started.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(started), "demo"])
    return started


def test_a_program_that_is_not_on_the_path_has_a_path(started: Path) -> None:
    assert typed_command() == f"'{os.path.join('a folder', 'bin', 'taskferry')}'"


def test_a_program_on_the_path_is_its_name(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(started.parent))
    assert typed_command() == "taskferry"


def test_what_was_started_as_a_module_is_its_name(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [str(started.parent / "__main__.py")])
    assert typed_command() == "taskferry"
