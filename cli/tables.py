"""The output of `taskferry workers` and `taskferry status` for people, and the look of all such tables."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

PIPE_WIDTH: Final = 1000
"""Columns if there is no terminal: nothing is cut."""

_STATE_STYLES: Final = {
    "healthy": "green",
    "serving": "green",
    "starting": "cyan",
    "joining": "cyan",
    "probing": "cyan",
    "ejected": "red",
}


def workers(answer: dict[str, Any]) -> list[Table]:
    """The answer of /api/workers: one row per worker. Raises KeyError or TypeError for any other answer."""
    numbers = ("in flight", "succeeded", "failed", "weight", "speed", "ejections")
    table = rows_table("worker", "state", "commands", numbers=numbers)
    for name in ("labels", "peer", "connected"):
        table.add_column(name)
    for worker in answer["workers"]:
        labels = " ".join(f"{key}={value}" for key, value in worker["labels"].items())
        table.add_row(
            Text(worker["worker_id"]),
            state_text(worker["state"], worker.get("reason")),
            Text(_commands(worker)),
            f"{worker['in_flight']}/{worker['concurrency']}",
            f"{worker['succeeded_count']:,}",
            f"{worker['failed_count']:,}",
            f"{worker['weight']:g}",
            f"{worker.get('speed', 1.0):g}",
            f"{worker.get('ejections_count', 0):,}",
            Text(labels),
            Text(worker["peer"] or ""),
            duration(worker["connected_s"]),
        )
    if not answer["workers"]:
        table.add_row("none", style="dim")
    return [table]


def _commands(worker: dict[str, Any]) -> str:
    """Those that the row lists, and how many more there are."""
    names = worker["commands"]
    more_count = worker.get("commands_count", len(names)) - len(names)
    return ", ".join([*names, f"and {more_count:,} more"] if more_count > 0 else names)


def status(answer: dict[str, Any]) -> list[Table]:
    """The answer of /api/status: the broker and its commands. Raises KeyError or TypeError for any other answer."""
    facts: dict[str, str | Text] = {
        "version": answer["version"],
        "state": state_text(answer["state"]),
        "up": duration(answer["uptime_s"]),
        "strategy": answer["strategy"],
    }
    for name in ("worker", "requester", "submitted", "in_flight", "queued"):
        title = {"worker": "workers", "requester": "requesters"}.get(name, name.replace("_", " "))
        facts[title] = f"{answer[f'{name}_count']:,}"
    if answer.get("unready_commands"):
        facts["not ready for"] = Text(", ".join(answer["unready_commands"]), style="cyan")
    for outcome, count in answer["outcomes"].items():
        if count:
            facts[f"  {outcome}"] = f"{count:,}"
    for name, count in answer.get("counts", {}).items():
        if count:
            facts[name.replace("_", " ")] = f"{count:,}"
    commands = rows_table("command", numbers=("workers", "queued"))
    for command in answer["commands"]:
        commands.add_row(
            Text(command["command"]), f"{command['worker_count']:,}", f"{command['queued_count']:,}"
        )
    shown = [facts_table(facts)]
    if answer.get("jobs") is not None:
        shown.append(facts_table(_jobs(answer["jobs"])))
    elif answer.get("jobs_error") is not None:
        shown.append(facts_table({"jobs": Text(f"none are kept: {answer['jobs_error']}", style="red")}))
    return [*shown, commands] if answer["commands"] else shown


def _jobs(jobs: dict[str, Any]) -> dict[str, str | Text]:
    """The lines about jobs and their journal."""
    states, journal = jobs["states"], jobs["journal"]
    facts: dict[str, str | Text] = {"jobs submitted": f"{jobs['submitted_count']:,}"}
    if jobs["duplicates_count"]:
        facts["  duplicates"] = f"{jobs['duplicates_count']:,}"
    for name in (*jobs["ended"], *(f"refused: {code}" for code in jobs["refused"])):
        count = jobs["ended"].get(name) or jobs["refused"].get(name.removeprefix("refused: "))
        facts[f"  {name}"] = f"{count:,}"
    facts["jobs now"] = ", ".join(f"{count:,} {state}" for state, count in states.items() if count) or "none"
    if jobs["oldest_ready_s"] is not None:
        facts["  oldest ready"] = f"for {duration(jobs['oldest_ready_s'])}"
    for name, count in jobs["counts"].items():
        if count:
            facts[f"  {name.replace('_', ' ')}"] = f"{count:,}"
    free = "" if journal["free_bytes"] is None else f", {size(journal['free_bytes'])} free on its disk"
    facts["journal"] = f"{journal['path']}: {size(journal['size_bytes'])}{free}"
    if journal["error"] is not None:
        facts["  failing"] = Text(f"no job is accepted: {journal['error']}", style="red")
    return facts


def show(tables: Sequence[RenderableType]) -> None:
    """Print them in the width and colours of the terminal, or as plain text in a pipe."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(table)


def facts_table(facts: Mapping[str, str | Text]) -> Table:
    """Names and their values."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, fact in facts.items():
        table.add_row(Text(name), fact if isinstance(fact, Text) else Text(fact))
    return table


def rows_table(*texts: str, numbers: Sequence[str]) -> Table:
    """A table without rows: columns of texts, then columns of numbers."""
    table = Table(*texts, box=None, pad_edge=False, header_style="bold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def state_text(state: str, reason: str | None = None) -> Text:
    """A state in its colour, with its reason."""
    return Text(f"{state}: {reason}" if reason else state, style=_STATE_STYLES.get(state, "yellow"))


def duration(duration_s: float) -> str:
    """A time for people: `12 s`, `3.5 h`."""
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if duration_s >= size_s:
            return f"{duration_s / size_s:.1f} {unit}"
    return f"{duration_s:.0f} s"


def size(size_bytes: int) -> str:
    """A size for people: `512 B`, `3.5 MiB`."""
    number, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
