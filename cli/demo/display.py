"""Where the demo is shown: a live table on a terminal, plain lines in a pipe, a picture in a file.

What these look like is in table.py.
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
"""How often a line is written to a pipe."""

PIPE_WIDTH: Final = 80
"""Columns of the summary if there is no terminal."""


class Display(Protocol):
    """One way to show a run. Raises OSError if its reader has gone."""

    def show(self, snapshot: Snapshot) -> None:
        """The current state; called several times a second."""

    def finish(self, snapshot: Snapshot, outcome: Outcome) -> None:
        """The end. Nothing follows."""

    def drop(self) -> None:
        """The run has failed: an error follows."""


class LiveTable:
    """On a terminal: one table, redrawn in its place. Its last state is the table of the summary."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def show(self, snapshot: Snapshot) -> None:
        self._live.start()
        self._live.update(screen(snapshot, *self._console.size), refresh=True)

    def finish(self, snapshot: Snapshot, outcome: Outcome) -> None:
        if snapshot.elapsed_s:
            self._live.update(screen(snapshot, self._console.width))  # whole, also if that scrolls
        else:
            self._live.update(snapshot.headline)  # an empty table says nothing
        self._live.stop()
        for line in verdict(snapshot, outcome):
            self._console.print(line)
        # Once more: a terminal discards what it has not shown yet when Ctrl-C is typed, perhaps this very sign.
        self._console.show_cursor()

    def drop(self) -> None:
        self._live.stop()


class Lines:
    """In a pipe: a line per second, a line for each incident, and the tables at the end."""

    def __init__(self) -> None:
        self._has_begun = False
        self._written_at_s = 0.0
        self._incidents_count = 0

    def show(self, snapshot: Snapshot) -> None:
        if snapshot.addresses is None or not snapshot.elapsed_s:
            return
        if not self._has_begun:
            self._has_begun = True
            _write(snapshot.headline, *invitation_lines(snapshot.addresses), "")
        self._write_incidents(snapshot)
        if snapshot.elapsed_s >= self._written_at_s + LINE_INTERVAL_S:
            self._written_at_s = math.floor(snapshot.elapsed_s)
            _write(progress_line(snapshot))

    def finish(self, snapshot: Snapshot, outcome: Outcome) -> None:
        self._write_incidents(snapshot)
        console = Console(width=PIPE_WIDTH)
        with console.capture() as captured:
            if snapshot.elapsed_s:
                tables = worker_table(snapshot, PIPE_WIDTH), command_table(snapshot, PIPE_WIDTH)
                console.print("", tables[0], "", tables[1], "", sep="\n")
            for line in verdict(snapshot, outcome):
                console.print(line, soft_wrap=True)
        _write(captured.get().rstrip("\n"))

    def drop(self) -> None:
        pass

    def _write_incidents(self, snapshot: Snapshot) -> None:
        for incident in snapshot.incidents[self._incidents_count :]:
            _write(incident_line(incident))
        self._incidents_count = len(snapshot.incidents)


def choose_display() -> Display:
    """The display for standard output. A terminal that cannot move its cursor is treated as a pipe."""
    console = Console()
    return LiveTable(console) if sys.stdout.isatty() and not console.is_dumb_terminal else Lines()


def write_picture(path: Path, snapshot: Snapshot, outcome: Outcome) -> None:
    """The last state as SVG. Raises OSError."""
    path.write_text(picture(snapshot, outcome), encoding="utf-8")


def _write(*lines: str) -> None:
    for line in lines:
        click.echo(line)
