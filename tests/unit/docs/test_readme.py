"""README.md is true: its files exist, its Python compiles, its commands and options are real, and it stays short."""

import ast
import re

import click
import pytest
from taskferry.cli.main import taskferry

from tests.unit.layout.source_tree import ROOT

TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = sorted(
    {
        line.strip("`").split("#")[0].strip()
        for line in re.findall(r"(?:^|`)(taskferry [^`\n]+)", TEXT, re.MULTILINE)
    }
)
LINKS = sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT)))


@pytest.mark.parametrize("link", LINKS)
def test_each_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)|`make (\w+)`", TEXT, re.MULTILINE))))
def test_each_make_target_is_there(target: tuple[str, str]) -> None:
    name = target[0] or target[1]
    assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_its_python_compiles() -> None:
    blocks = [text for language, text in BLOCKS if language == "python"]
    assert blocks
    for text in blocks:
        compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_and_option_is_real(line: str) -> None:
    words = line.split()
    context = click.Context(taskferry)
    command = taskferry.get_command(context, words[1])
    assert command is not None
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known.add("--help")
    assert {word for word in words[2:] if word.startswith("--")} <= known


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150
