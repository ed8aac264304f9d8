"""The files of deploy/, parsed, and the commands and settings of Taskferry that they may name."""

from pathlib import Path
from typing import Any, Final

import click
import yaml
from taskferry.cli.main import taskferry

from tests.unit.layout.source_tree import ROOT

DEPLOY: Final = ROOT / "deploy"


def read_yaml(path: Path) -> Any:
    """The one document of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def command_named(name: str) -> click.Command:
    """The click command of `taskferry broker` and the like."""
    command = taskferry.get_command(click.Context(taskferry), name)
    assert command is not None, f"there is no `taskferry {name}`"
    return command


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options that `taskferry ARGUMENTS` would run with; checks bounds, runs nothing. Raises click.UsageError."""
    name, *rest = arguments
    return command_named(name).make_context(name, rest).params


def variables_of(name: str) -> set[str]:
    """The environment variables that `taskferry NAME` reads."""
    found: set[str] = set()
    for parameter in command_named(name).params:
        named = parameter.envvar
        found |= {named} if isinstance(named, str) else set(named or ())
    return found
