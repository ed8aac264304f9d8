"""What a person sees of jobs and schedules: tables, facts and a progress bar. Imports rich, which is slow to load.

All text of other programs is made printable first.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ...log.printable import printable
from ...program.fitted_table import Column, empty, fitted
from .. import output
from ..answers import FailedAttempt, JobView, ScheduleView
from .report import Report
from .words import shown_duration, shown_time

COMMAND_WIDTH_MAX: Final = 24

PROGRESS_INTERVAL_S: Final = 0.1

_STATE_STYLES: Final = {
    "accepted": "yellow",
    "assigned": "cyan",
    "cancelled": "dim",
    "dead": "red",
    "delayed": "yellow",
    "done": "green",
    "held": "yellow",
    "retrying": "yellow",
}


def jobs(views: Sequence[JobView], now_s: float) -> Table:
    """A row for each job, on one line."""
    if not views:
        return empty("job_id", "command", "state")
    ages_s = [max(0.0, now_s - view.submitted_at) for view in views]
    columns = (
        Column("job_id", [_text(view.job_id) for view in views]),
        Column("command", [_cut(view.command) for view in views]),
        Column("state", [_state(view, now_s) for view in views]),
        Column("try", [Text(_attempt(view, "/")) for view in views], rank=1, is_number=True),
        Column("age", [Text(shown_duration(age_s)) for age_s in ages_s], rank=2, is_number=True),
        Column("what", [_text(_what(view, now_s)) for view in views]),
    )
    return fitted(columns, wraps=False)


def job(view: JobView, now_s: float) -> list[RenderableType]:
    """Everything about one job: its facts, and a row for each failed attempt."""
    facts: dict[str, str | Text] = {
        "job_id": view.job_id,
        "command": view.command,
        "state": _state(view, now_s),
        "owner": view.owner,
        "attempt": _attempt(view, " of at most "),
    }
    if view.losses:
        facts["workers lost"] = f"{view.losses}"
    times = {
        "submitted": view.submitted_at,
        "not before": None if view.has_ended or view.run_at == view.submitted_at else view.run_at,
        "expires": view.expires_at,
        "started": view.started_at,
        "ended": view.ended_at,
        "kept until": view.removed_at,
    }
    facts |= {name: _when(at, now_s) for name, at in times.items() if at is not None}
    given: dict[str, Any] = {
        "worker": view.worker_id,
        "why it waits": view.reason,
        "priority": view.priority,
        "target": None if view.target is None else output.json_line(view.target),
        "key": view.key,
        "unique": view.unique,
        "after": ", ".join(view.after) or None,
        "schedule": view.schedule,
        "data": f"{view.data_size_bytes:,} bytes",
        "result": None if view.result_size_bytes is None else f"{view.result_size_bytes:,} bytes",
        "progress": None if view.progress is None else output.json_line(view.progress),
        "code": view.code,
        "error": view.error,
    }
    facts |= {name: str(value) for name, value in given.items() if value is not None}
    return [_facts(facts), _attempts(view.failed)] if view.failed else [_facts(facts)]


def schedules(views: Sequence[ScheduleView]) -> Table:
    """A row for each schedule."""
    if not views:
        return empty("name", "command", "runs", "next")
    columns = (
        Column("name", [_text(view.name) for view in views]),
        Column("command", [_cut(view.command) for view in views], rank=1),
        Column("next", [_next(view) for view in views]),
        Column("skipped", [Text(f"{view.skipped_count:,}") for view in views], rank=2, is_number=True),
        Column("last job", [_text(view.last_job_id or "") for view in views], rank=3),
        Column("runs", [_text(_rule(view)) for view in views]),
    )
    return fitted(columns, wraps=True)


def next_times(view: ScheduleView) -> list[str]:
    """The next times of a schedule, in its time zone."""
    return [_zoned(at, view.time_zone) for at in view.next]


@contextmanager
def progress_bar(lines_count: int | None, report: Report, *, waits: bool) -> Iterator[None]:
    """A bar on standard error, which moves by itself."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TextColumn("{task.fields[rate]}/s"),
        TimeRemainingColumn(),
    )
    is_over = threading.Event()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=lines_count, counts="", rate="0")

        def move() -> None:
            while not is_over.wait(PROGRESS_INTERVAL_S):
                elapsed_s = time.monotonic() - report.started_s
                failed_count = report.ended_count - report.codes[None]
                texts = [f"{report.accepted_count:,} accepted"] if waits else []
                texts += [f"{failed_count:,} failed"] if failed_count else []
                progress.update(
                    bar,
                    completed=report.ended_count,
                    counts=", ".join(texts),
                    rate=f"{report.ended_count / elapsed_s:,.0f}" if elapsed_s else "0",
                )

        mover = threading.Thread(target=move, name="taskferry progress", daemon=True)
        mover.start()
        show, report.show = report.show, lambda text: progress.console.print(Text(text), soft_wrap=True)
        try:
            yield
        finally:
            report.show = show
            is_over.set()
            mover.join()


def _attempts(failed: Sequence[FailedAttempt]) -> Table:
    columns = (
        Column("attempt", [Text(str(attempt.attempt)) for attempt in failed], is_number=True),
        Column("worker", [_text(attempt.worker_id or "") for attempt in failed], rank=1),
        Column("ended", [Text(shown_time(attempt.ended_at)) for attempt in failed], rank=3),
        Column("took", [Text(_took(attempt)) for attempt in failed], rank=2, is_number=True),
        Column("code", [Text(printable(attempt.code), style="red") for attempt in failed]),
        Column("error", [_text(attempt.error) for attempt in failed]),
    )
    return fitted(columns, wraps=True)


def _took(attempt: FailedAttempt) -> str:
    return "" if attempt.started_at is None else shown_duration(attempt.ended_at - attempt.started_at)


def _attempt(view: JobView, of: str) -> str:
    """The number of its last attempt, of how many; a job that was retried by hand has had more."""
    return f"{view.attempt}{of}{view.attempts}" if view.attempt <= view.attempts else f"{view.attempt}"


def _state(view: JobView, now_s: float) -> Text:
    """Its state; `delayed` and `retrying` are accepted jobs whose time has not come."""
    state = view.state
    if state == "accepted" and view.run_at is not None and view.run_at > now_s:
        state = "retrying" if view.attempt else "delayed"
    return Text(printable(state), style=_STATE_STYLES.get(state, ""))


def _what(view: JobView, now_s: float) -> str:
    """What is worth knowing of a job in its state, in one line."""
    if view.error is not None and view.state not in ("done", "cancelled"):
        return f"{view.error} [{view.code}]"
    if view.state == "assigned":
        return f"on {view.worker_id}" if view.progress is None else f"on {view.worker_id}: {view.progress}"
    if view.state == "accepted" and view.run_at is not None and view.run_at > now_s:
        return f"in {shown_duration(view.run_at - now_s)}"
    return view.reason or ""


def _next(view: ScheduleView) -> Text:
    if view.is_paused:
        return Text("paused", style="yellow")
    return _text(_zoned(view.next[0], view.time_zone)) if view.next else Text("never again")


def _rule(view: ScheduleView) -> str:
    if view.cron is not None:
        return f"{view.cron}  {view.time_zone}"
    if view.every is not None:
        return f"every {shown_duration(view.every)}"
    return "once"


def _zoned(at_s: float, time_zone: str) -> str:
    try:
        zone: Any = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # not installed here
        zone = UTC
    try:
        return datetime.fromtimestamp(at_s, zone).strftime("%a %Y-%m-%d %H:%M:%S %z")
    except (ValueError, OverflowError, OSError):
        return shown_time(at_s)


def _when(at_s: float, now_s: float) -> str:
    away = shown_duration(abs(at_s - now_s))
    return f"{shown_time(at_s)}  ({f'in {away}' if at_s > now_s else f'{away} ago'})"


def _cut(command: str) -> Text:
    text = _text(command)
    text.truncate(COMMAND_WIDTH_MAX, overflow="ellipsis")
    return text


def _facts(facts: dict[str, str | Text]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, fact in facts.items():
        table.add_row(name, fact if isinstance(fact, Text) else _text(fact))
    return table


def _text(text: str) -> Text:
    return Text(printable(text))
