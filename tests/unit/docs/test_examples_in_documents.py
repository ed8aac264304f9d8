"""README.md stays short; the documents' Python compiles, and their commands and options exist."""

import ast
import re
from operator import itemgetter

import click
import pytest
from taskferry.cli.main import taskferry
from taskferry.worker import Worker

from tests.each_case import each_case
from tests.unit.docs.pages import page, pages
from tests.unit.layout.source_tree import ROOT

README = page("README.md")
TARGETS = sorted(
    {name for found in pages() for name in re.findall(r"(?:^|`)make ([a-z-]+)", found.text, re.MULTILINE)}
)
COMMANDS = sorted({(found.name, line) for found in pages() for line in found.commands})
PYTHON = [(f"{found.name} {number}", text) for found in pages() for number, text in enumerate(found.python())]


@each_case("target", TARGETS)
def test_each_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@each_case(("place", "text"), PYTHON, ids=itemgetter(0))
def test_each_block_of_python_compiles(place: str, text: str) -> None:
    ast.parse(text, place)


@each_case(("name", "line"), COMMANDS)
def test_each_command_and_option_exists(name: str, line: str) -> None:
    context = click.Context(taskferry)
    first, *others = line.split()[1:]
    assert first in {"--help", "--version"} or taskferry.get_command(context, first) is not None
    known = {"--help", "--version"}
    group: click.Group = taskferry
    for word in (first, *others):
        if word.startswith("--"):
            assert word.partition("=")[0] in known
        elif (command := group.get_command(context, word)) is not None:
            # After `check-config FILE` another command may follow, with its own options; after `token` one of its own.
            if isinstance(command, click.Group):
                group = command
            known = {"--help"}
            for parameter in command.params:
                known.update(parameter.opts, parameter.secondary_opts)


@pytest.mark.parametrize("name", ["README.md", "docs/workers.md"])
def test_each_worker_of_the_guides_can_be_made(name: str) -> None:
    blocks = [text for text in page(name).python() if "Worker(" in text]
    assert blocks
    for text in blocks:
        names: dict[str, object] = {"__name__": "guide"}
        exec(text, names)
        worker = names["worker"]
        assert isinstance(worker, Worker)
        assert worker.commands


def test_there_are_enough_of_each_to_be_worth_testing() -> None:
    assert len(TARGETS) > 10
    assert len(COMMANDS) > 25
    assert len(PYTHON) > 10


def test_the_readme_is_short() -> None:
    assert len(README.text.splitlines()) <= 150
