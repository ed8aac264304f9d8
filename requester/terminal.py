"""What a person sees of results and of a run: colours, a table, a progress bar. Imports rich, which is slow to load."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ..log.printable import printable
from .bulk import Tally
from .progress import Progress as Report


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


@contextmanager
def report_bar() -> Iterator[Callable[[Report], None]]:
    """A bar on standard error that shows the progress of one request, from the first report on; yields the function
    that takes the reports. What is printed meanwhile goes above it."""
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
    progress = Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
    )
    bar = progress.add_task("", total=None)

    def show(report: Report) -> None:
        total = None if report.share is None else 1.0
        words = (_counted(report), "" if report.text is None else printable(report.text))
        text = " ".join(word for word in words if word)
        progress.update(bar, total=total, completed=report.share or 0.0, description=text)
        progress.start()
        progress.refresh()  # now, for the next look may come after the end

    try:
        yield show
    finally:
        progress.stop()


def _counted(report: Report) -> str:
    """`4/10`, if the report says so."""
    if report.current is None:
        return ""
    return f"{report.current:,g}" if report.total is None else f"{report.current:,g}/{report.total:,g}"
