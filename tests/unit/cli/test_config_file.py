"""`taskferry config init`: a file that changes nothing as it is, and nothing either with every default uncommented."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from taskferry.cli.check_config import all_tables
from taskferry.cli.config_file import WIDTH, init
from taskferry.configuration.sources import DEFAULT, Sources

from tests.each_case import each_case


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(init, arguments)


def test_as_it_is_written_it_changes_nothing() -> None:
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "taskferry.toml written: every setting is at its default\n"
    configuration = Sources(all_tables(), Path("taskferry.toml")).read()
    sources = {found.source for table in configuration.values.values() for found in table.values()}
    assert sources == {DEFAULT}


def test_every_default_may_be_uncommented() -> None:
    text = re.sub(r"^#(\w+ = \S.*)$", r"\1", run("-").stdout, flags=re.MULTILINE)
    text = "\n".join(line for line in text.splitlines() if "# by default: " not in line)
    Path("all.toml").write_text(text)
    configuration = Sources(all_tables(), Path("all.toml")).read()
    for table in all_tables():
        for key, setting in table.settings.items():
            value = configuration.values[table.name][key].value
            assert value == (None if setting.instead else setting.default), key
            assert (key in tomllib.loads(text)[table.name]) is (
                setting.default is not None and not isinstance(setting.default, dict)
            )


def test_each_setting_is_explained_in_lines_that_fit() -> None:
    text = run("-").stdout
    for table in all_tables():
        for setting in table.settings.values():
            assert re.search(rf"^#(\[{table.name}\.)?{setting.key}\b", text, re.MULTILINE), setting.key
    assert all(len(line) <= WIDTH for line in text.splitlines() if line.startswith("# "))
    assert "Timeout of requests that set none. Expected: a number of seconds over 0" in text


def test_only_some_tables() -> None:
    assert re.findall(
        r"^\[(\w+)\]$", run("-", "--table", "log", "--table", "worker").stdout, re.MULTILINE
    ) == [
        "worker",
        "log",
    ]


@each_case(
    ("words", "code", "text"),
    [(("there.toml",), 2, "there.toml exists"), (("no/such.toml",), 1, "no such file")],
)
def test_no_file_is_overwritten(words: tuple[str, ...], code: int, text: str) -> None:
    Path("there.toml").write_text("mine")
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert text in result.stderr
    assert Path("there.toml").read_text() == "mine"
