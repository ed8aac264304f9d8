"""Where a person sees the demo: a live table on a terminal, plain lines in a pipe, a picture in a file.

Knows terminals and when something is printed; what it looks like is in table.py.
"""

import math
import sys
from pathlib import Path
from typing import Final, Protocol

import click
from rich.console import Console
from rich.live import Live

from .table import (
    Outcome,
    Snapshot,
    command_table,
    incident_line,
    invitation_lines,
    picture,
    progress_line,
    screen,
    verdict,
    worker_table,
)

LINE_INTERVAL_S: Final = 1.0
"""How often a pipe gets a line."""

PIPE_WIDTH: Final = 80
"""Columns of the summary where no terminal says how many there are."""


class Display(Protocol):
    """One way to see a run. Raises OSError where nobody reads any more."""

    def show(self, snapshot: Snapshot) -> None:
        """How things stand; called several times a second."""

    def finish(self, snapshot: Snapshot, outcome: Outcome) -> None:
        """How it ended. Nothing follows."""

    def drop(self) -> None:
        """The run has failed: an error follows."""


class LiveTable:
    """On a terminal: one table, drawn anew in its place. Its last state is the summary's table."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def show(self, snapshot: Snapshot) -> None:
        self._live.start()
        self._live.update(screen(snapshot, self._console.width), refresh=True)

    def finish(self, snapshot: Snapshot, outcome: Outcome) -> None:
        if snapshot.elapsed_s:
            self.show(snapshot)
        else:
            self._live.update(snapshot.headline)  # a table of nothing tells nothing
        self._live.stop()
        for line in verdict(snapshot, outcome):
            self._console.print(line)

    def drop(self) -> None:
        self._live.stop()


class Lines:
    """In a pipe: a line a second, a line for what happens, and the tables at the end."""

    def __init__(self) -> None:
        self._has_begun = False
        self._told_at_s = 0.0
        self._incidents_count = 0

    def show(self, snapshot: Snapshot) -> None:
        if snapshot.addresses is None or not snapshot.elapsed_s:
            return
        if not self._has_begun:
            self._has_begun = True
            _say(snapshot.headline, *invitation_lines(snapshot.addresses), "")
        self._tell_incidents(snapshot)
        if snapshot.elapsed_s >= self._told_at_s + LINE_INTERVAL_S:
            self._told_at_s = math.floor(snapshot.elapsed_s)
            _say(progress_line(snapshot))

    def finish(self, snapshot: Snapshot, outcome: Outcome) -> None:
        self._tell_incidents(snapshot)
        console = Console(width=PIPE_WIDTH)
        with console.capture() as captured:
            if snapshot.elapsed_s:
                tables = worker_table(snapshot, PIPE_WIDTH), command_table(snapshot)
                console.print("", tables[0], "", tables[1], "", sep="\n")
            for line in verdict(snapshot, outcome):
                console.print(line, soft_wrap=True)
        _say(captured.get().rstrip("\n"))

    def drop(self) -> None:
        pass

    def _tell_incidents(self, snapshot: Snapshot) -> None:
        for incident in snapshot.incidents[self._incidents_count :]:
            _say(incident_line(incident))
        self._incidents_count = len(snapshot.incidents)


def choose_display() -> Display:
    """The one for standard output. A terminal that cannot move its cursor is treated as a pipe."""
    console = Console()
    return LiveTable(console) if sys.stdout.isatty() and not console.is_dumb_terminal else Lines()


def write_picture(path: Path, snapshot: Snapshot, outcome: Outcome) -> None:
    """The last state as SVG. Raises OSError."""
    path.write_text(picture(snapshot, outcome), encoding="utf-8")


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(line)
