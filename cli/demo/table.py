"""What the demo shows, as a pure function of numbers: on a terminal, in a pipe, and as a picture.

Must not know where the numbers come from, nor the time.
"""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, Final, NamedTuple

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

WIDE: Final = 100
"""With at least this many columns, process ids are shown."""

NARROW: Final = 72
"""With fewer, what other columns say as well is left out: the share of each worker, and the answers of commands."""

WORKER_ROWS_COUNT_MAX: Final = 24
"""Workers shown: those of the demo, and any that its user connects to the broker meanwhile."""

PICTURE_WIDTH: Final = 92
"""Columns of the picture: fixed, so that it keeps its size in a README."""

_STATE_STYLES: Final = {"healthy": "green", "starting": "yellow", "killed": "bold red", "gone": "bold red"}
_MISSED_IN_ORDER: Final = (3, 0, 2)
"""The parts of a screen that is too high: incidents, how to use the broker, commands."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"


class WorkerRow(NamedTuple):
    """One worker. `process_id` is None if the demo did not start it."""

    name: str
    process_id: int | None
    state: str
    done_count: int
    failed_count: int
    in_flight_count: int
    per_second: float


class CommandRow(NamedTuple):
    """One command. `example`: the data sent last, and its answer."""

    name: str
    done_count: int
    p50_s: float | None
    p99_s: float | None
    example: tuple[Mapping[str, Any], Any] | None


class Incident(NamedTuple):
    """Something that happened during the run, `at_s` seconds after the first request."""

    at_s: float
    text: str


class Addresses(NamedTuple):
    """Where the demo's broker listens, as URLs, and the `command` that is typed to use it."""

    command: str
    workers: str
    requesters: str
    http: str


class Snapshot(NamedTuple):
    """All that is shown, at one moment.

    `rate_title` says which time `per_second` is about. `course`: past values of `per_second`, oldest first.
    """

    headline: str
    elapsed_s: float
    duration_s: float
    addresses: Addresses | None
    workers: Sequence[WorkerRow]
    commands: Sequence[CommandRow]
    done_count: int
    failed_count: int
    in_flight_count: int
    rate_title: str
    per_second: float
    course: Sequence[float]
    p50_s: float | None
    p99_s: float | None
    incidents: Sequence[Incident]


class Outcome(NamedTuple):
    """How a run ended. `failures`: requests by error code. `is_cut_short`: it was stopped early."""

    failures: Mapping[str, int]
    first_failure: str | None
    unanswered_count: int
    is_cut_short: bool

    @property
    def is_good(self) -> bool:
        """Whether nothing failed or was lost. Requests that Ctrl-C did not wait for are neither."""
        return not self.failures and (self.is_cut_short or not self.unanswered_count)


def screen(snapshot: Snapshot, width: int, height: int | None = None) -> RenderableType:
    """The whole screen, for `width` columns. With three workers it fits into 80 x 24. If it would be over `height`
    lines, it lacks what can be missed: first the incidents, then how to use the broker, then the table of commands.

    Its last line is empty, so that the ^C that a terminal echoes there does not shift a line.
    """
    if snapshot.addresses is None:
        return Group(_headline(snapshot), Text())
    workers, commands = worker_table(snapshot, width), command_table(snapshot, width)
    incidents = Group(*map(_incident, snapshot.incidents)) if snapshot.incidents else None
    parts: list[RenderableType | None] = [_invitations(snapshot.addresses), workers, commands, incidents]
    shown = _stacked(_headline(snapshot), *parts)
    for missing in _MISSED_IN_ORDER:
        if height is None or _height(shown, width) <= height:
            break
        parts[missing] = None
        shown = _stacked(_headline(snapshot), *parts)
    return shown


def _stacked(*parts: RenderableType | None) -> RenderableType:
    """Those that there are, with an empty line after each."""
    return Group(*(line for part in parts if part is not None for line in (part, Text())))


def _height(shown: RenderableType, width: int) -> int:
    return len(Console(width=width, file=StringIO()).render_lines(shown))


def worker_table(snapshot: Snapshot, width: int) -> Table:
    """The requests of each worker. The last row is the sum, with the course of its requests per second."""
    table = _table()
    table.add_column("worker", no_wrap=True)
    if width >= WIDE:
        table.add_column("process", justify="right")
    table.add_column("state", min_width=8)
    table.add_column("done", justify="right", min_width=9)
    if width >= NARROW:
        table.add_column("share", justify="right", min_width=6)
        table.add_column("", ratio=1)
    table.add_column("in flight", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column(snapshot.rate_title, justify="right", no_wrap=True, min_width=9)
    for row in snapshot.workers[:WORKER_ROWS_COUNT_MAX]:
        share = row.done_count / snapshot.done_count if snapshot.done_count else 0.0
        process = [] if width < WIDE else [Text("" if row.process_id is None else str(row.process_id))]
        part: list[RenderableType] = [] if width < NARROW else [f"{share:.1%}", _bar(share)]
        table.add_row(
            Text(row.name),
            *process,
            Text(row.state, _STATE_STYLES.get(row.state, "yellow")),
            f"{row.done_count:,}",
            *part,
            str(row.in_flight_count),
            _failed(row.failed_count),
            f"{row.per_second:,.0f}",
        )
    whole: list[RenderableType] = [] if width < NARROW else ["", _Course(snapshot.course)]
    table.add_row(
        "all",
        *([] if width < WIDE else [""]),
        "",
        f"{snapshot.done_count:,}",
        *whole,
        str(snapshot.in_flight_count),
        _failed(snapshot.failed_count),
        f"{snapshot.per_second:,.0f}",
        style="bold",
    )
    return table


def command_table(snapshot: Snapshot, width: int) -> Table:
    """The requests of each command: an example, its answer, and how long they took."""
    table = _table()
    table.add_column("command", no_wrap=True, min_width=26)
    if width >= NARROW:
        table.add_column("answer", no_wrap=True, ratio=1)
    for title in ("done", "p50 ms", "p99 ms"):
        table.add_column(title, justify="right", no_wrap=True, min_width=8)
    for row in snapshot.commands:
        data, answer = row.example or ({}, None)
        call = Text(row.name, "cyan")
        call.append("".join(f" {key}={value}" for key, value in data.items()), "default")
        shown = "" if row.example is None else msgspec.json.encode(answer).decode()
        table.add_row(
            call,
            *([] if width < NARROW else [Text(shown, "dim")]),
            f"{row.done_count:,}",
            _milliseconds(row.p50_s),
            _milliseconds(row.p99_s),
        )
    table.add_row(
        "all",
        *([] if width < NARROW else [""]),
        f"{snapshot.done_count:,}",
        _milliseconds(snapshot.p50_s),
        _milliseconds(snapshot.p99_s),
        style="bold",
    )
    return table


def verdict(snapshot: Snapshot, outcome: Outcome) -> list[Text]:
    """The summary in words: one line, and more if something failed."""
    early = "Stopped early: " if outcome.is_cut_short else ""
    done = f"{early}{snapshot.done_count:,} requests in {snapshot.elapsed_s:.1f} s"
    if outcome.is_good and not snapshot.done_count:
        return [Text("Stopped before the first request.", "bold")]
    if outcome.is_good:
        rest = (
            f"{outcome.unanswered_count:,} more were not waited for"
            if outcome.unanswered_count
            else "none lost"
        )
        return [Text(f"{done}: each answered once, every answer correct, {rest}.", "bold green")]
    lines = [Text(f"{done} were answered correctly; others were not.", "bold red")]
    if outcome.failures:
        counts = ", ".join(f"{count:,} {code}" for code, count in sorted(outcome.failures.items()))
        lines.append(Text(f"Failed: {counts}. The first: {outcome.first_failure}", "red"))
    if outcome.unanswered_count and not outcome.is_cut_short:
        lines.append(Text(f"Lost: {outcome.unanswered_count:,} requests were never answered.", "red"))
    return lines


def progress_line(snapshot: Snapshot) -> str:
    """The state on one line, for a pipe."""
    shares = "  ".join(f"{row.name} {row.done_count:,}" for row in snapshot.workers[:WORKER_ROWS_COUNT_MAX])
    return (
        f"{snapshot.elapsed_s:5.1f} s  {snapshot.per_second:,.0f} requests/s  "
        f"p50 {_milliseconds(snapshot.p50_s)} ms  p99 {_milliseconds(snapshot.p99_s)} ms  "
        f"in flight {snapshot.in_flight_count}  failed {snapshot.failed_count}  {shares}"
    )


def incident_line(incident: Incident) -> str:
    """An incident on one line, for a pipe."""
    return f"{incident.at_s:5.1f} s  {incident.text}"


def invitation_lines(addresses: Addresses) -> list[str]:
    """How to use the broker while it runs."""
    return [
        f"look in  {addresses.http}/metrics",
        f"         {addresses.command} status --http {addresses.http}",
        f"join in  {addresses.command} request echo message=Hello --broker {addresses.requesters}",
        f"         {addresses.command} worker --broker {addresses.workers}",
    ]


def picture(snapshot: Snapshot, outcome: Outcome) -> str:
    """The last screen as SVG, PICTURE_WIDTH columns wide. It loads nothing: it uses the fonts of the viewer."""
    console = Console(
        record=True,
        width=PICTURE_WIDTH,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(screen(snapshot, PICTURE_WIDTH), *verdict(snapshot, outcome), sep="\n")
    return console.export_svg(
        title="taskferry demo",
        code_format=_SVG_TEMPLATE,
        font_aspect_ratio=0.6,
        unique_id="taskferry-demo",
    )


class _Course:
    """Numbers as a row of blocks, the newest at the right end. Nothing if only ASCII can be shown."""

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers = numbers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.ascii_only:
            return
        numbers = self._numbers[-options.max_width :]
        highest = max(numbers, default=0.0) or 1.0
        top = len(_BLOCKS) - 1
        yield Text("".join(_BLOCKS[round(number / highest * top)] for number in numbers), "cyan")


def _headline(snapshot: Snapshot) -> RenderableType:
    row = Table.grid(expand=True, padding=(0, 2, 0, 0), pad_edge=False)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    clock = f"{snapshot.elapsed_s:.1f} of {snapshot.duration_s:g} s"
    row.add_row(Text(snapshot.headline, "bold"), Text(clock, "bold cyan"))
    return row


def _invitations(addresses: Addresses) -> RenderableType:
    texts = [Text(line, "dim") for line in invitation_lines(addresses)]
    for text in texts:
        text.highlight_regex(r"\S*taskferry .* --\w+", "not dim")
        text.highlight_regex(r"(http|ws)://\S+", "not dim cyan")
    return Group(*texts)


def _incident(incident: Incident) -> Text:
    text = Text(f"{incident.at_s:5.1f} s  ", "dim")
    return text.append(incident.text, "not dim yellow")


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=True)


def _bar(share: float) -> ProgressBar:
    return ProgressBar(1.0, share, complete_style="cyan", finished_style="cyan", style="dim bright_black")


def _failed(count: int) -> Text:
    return Text(f"{count:,}", "bold red" if count else "dim")


def _milliseconds(duration_s: float | None) -> str:
    if duration_s is None:
        return "-"
    duration_ms = duration_s * 1000
    return f"{duration_ms:,.2f}" if duration_ms < 100 else f"{duration_ms:,.0f}"


_SVG_TEMPLATE: Final = """\
<svg class="taskferry-demo" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
    }}
    .{unique_id}-title {{
        font-family: "DejaVu Sans", Helvetica, Arial, sans-serif;
        font-size: 18px;
        font-weight: bold;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""
"""The template of rich without its web font: a picture in a README must load nothing."""
