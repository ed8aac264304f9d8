"""What a person sees of results and of a run: colours, a table, a progress bar. Imports rich, which is slow to load."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..log.printable import printable
from .bulk import Tally


def print_json(text: str) -> None:
    """JSON, as `output.json_line` made it, coloured and indented."""
    Console().print(JSONHighlighter()(msgspec.json.format(text, indent=2)), soft_wrap=True)


def print_summary(facts: dict[str, Any]) -> None:
    """The outcomes of many requests, from `output.summary`."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("requests", f"{facts['requests']:,}")
    table.add_row("succeeded", f"{facts['succeeded']:,}", style="green" if facts["succeeded"] else None)
    if "kept" in facts:
        table.add_row("kept as jobs", f"{facts['kept']:,}", style="yellow")
    for code, count in facts["failed"].items():
        table.add_row(Text(printable(f"failed: {code}")), f"{count:,}", style="red")
    table.add_row("time", f"{facts['elapsed_s']:.2f} s")
    table.add_row("requests/s", f"{facts['requests_per_s']:,.1f}")
    for name, duration_s in facts["duration_s"].items():
        table.add_row(name, f"{duration_s * 1000:,.2f} ms")
    Console().print(table)


@contextmanager
def progress_bar(count: int | None, tally: Tally) -> Iterator[Callable[[], None]]:
    """A bar on standard error; yields the function that updates it from `tally`. `count`: None if it is not known."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=count, rate="0")

        def advance() -> None:
            ended_count = len(tally.durations_s)
            rate = ended_count / tally.elapsed_s if ended_count else 0.0
            progress.update(bar, completed=ended_count, rate=f"{rate:,.0f}")

        yield advance
