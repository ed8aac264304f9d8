"""What `taskferry workers` and `taskferry status` show to people. Knows the fields of the answers, and rich."""

import sys
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH: Final = 1000
"""Columns where no terminal says how many there are: nothing is cut."""

_STATE_STYLES: Final = {"healthy": "green", "serving": "green", "joining": "cyan", "probing": "cyan"}


def workers(answer: dict[str, Any]) -> list[Table]:
    """The answer of /api/workers: one row a worker. Raises KeyError or TypeError where it is none."""
    table = _table("worker", "state", "commands", numbers=("in flight", "succeeded", "failed", "weight"))
    for name in ("labels", "peer", "connected"):
        table.add_column(name)
    for worker in answer["workers"]:
        labels = " ".join(f"{key}={value}" for key, value in worker["labels"].items())
        table.add_row(
            Text(worker["worker_id"]),
            _state(worker["state"]),
            Text(", ".join(worker["commands"])),
            f"{worker['in_flight']}/{worker['concurrency']}",
            f"{worker['succeeded_count']:,}",
            f"{worker['failed_count']:,}",
            f"{worker['weight']:g}",
            Text(labels),
            Text(worker["peer"]),
            _duration(worker["connected_s"]),
        )
    if not answer["workers"]:
        table.add_row("none", style="dim")
    return [table]


def status(answer: dict[str, Any]) -> list[Table]:
    """The answer of /api/status: the broker, and its commands. Raises KeyError or TypeError where it is none."""
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row("version", Text(answer["version"]))
    facts.add_row("state", _state(answer["state"]))
    facts.add_row("up", _duration(answer["uptime_s"]))
    facts.add_row("strategy", Text(answer["strategy"]))
    for name in ("worker", "requester", "submitted", "in_flight", "queued"):
        title = {"worker": "workers", "requester": "requesters"}.get(name, name.replace("_", " "))
        facts.add_row(title, f"{answer[f'{name}_count']:,}")
    for outcome, count in answer["outcomes"].items():
        if count:
            facts.add_row(f"  {outcome}", f"{count:,}")
    commands = _table("command", numbers=("workers", "queued"))
    for command in answer["commands"]:
        commands.add_row(
            Text(command["command"]), f"{command['worker_count']:,}", f"{command['queued_count']:,}"
        )
    return [facts, commands] if answer["commands"] else [facts]


def show(tables: Sequence[Table]) -> None:
    """Print them, in the terminal's width and colours or, in a pipe, in plain text."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(table)


def _table(*texts: str, numbers: Sequence[str]) -> Table:
    table = Table(*texts, box=None, pad_edge=False, header_style="bold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _state(state: str) -> Text:
    return Text(state, style=_STATE_STYLES.get(state, "yellow"))


def _duration(seconds: float) -> str:
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{seconds:.0f} s"
