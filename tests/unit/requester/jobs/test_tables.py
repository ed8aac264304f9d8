"""Tables of jobs and schedules fit the terminal: ids are whole, and what is not essential is left out first."""

import io

import pytest
from rich.console import Console
from taskferry.program import fitted_table
from taskferry.requester import FailedAttempt, JobView, ScheduleView
from taskferry.requester.jobs import tables

NOW = 1_000_000.0
JOB_ID = "1a226d4a10388b305b1c9b78782"
JOB = JobView(
    JOB_ID, "resize-and-store-it-in-the-archive", "dead", "anna", NOW - 90, 5, 10, code="c", error="no " * 40
)
SCHEDULE = ScheduleView(
    "nightly", "report", "anna", (NOW,), cron="30 2 * * *", last_job_id=f"nightly@{JOB_ID}"
)
ATTEMPT = FailedAttempt(
    1, "worker-12", NOW - 5, NOW, "handler_error", "one two three four five six seven eight"
)


def lines(monkeypatch: pytest.MonkeyPatch, width: int, which: str) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    monkeypatch.setattr(fitted_table, "console", lambda: console)
    match which:
        case "jobs":
            fitted_table.show(tables.jobs([JOB, JOB], NOW))
        case "attempts":
            fitted_table.show(
                *tables.job(JobView(JOB_ID, "c", "dead", "anna", NOW, 5, failed=(ATTEMPT,)), NOW)[1:]
            )
        case _:
            fitted_table.show(tables.schedules([SCHEDULE]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (140, ["job_id", "command", "state", "try", "age", "what"]),
        (100, ["job_id", "command", "state", "try", "age", "what"]),
        (90, ["job_id", "command", "state", "try", "what"]),
        (76, ["job_id", "command", "state", "what"]),
    ],
)
def test_a_job_is_one_line_with_its_whole_id(
    monkeypatch: pytest.MonkeyPatch, width: int, titles: list[str]
) -> None:
    head, *rows = lines(monkeypatch, width, "jobs")
    assert head.split() == titles
    assert len(rows) == 2
    for row in rows:
        assert row.startswith(f"{JOB_ID}  resize-and-store-it-in-…  dead")
        assert row.rstrip().endswith("…")
        assert len(row) <= width


def test_on_a_narrow_terminal_only_the_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    _, row, _ = lines(monkeypatch, 58, "jobs")
    assert row.startswith(f"{JOB_ID}  resize-and-store-it-in-…")


def test_a_schedule_shows_its_last_job_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"nightly@{JOB_ID}" in lines(monkeypatch, 140, "schedules")[1]
    for width in (100, 80, 60):
        text = "\n".join(lines(monkeypatch, width, "schedules"))
        assert "nightly@" not in text
        assert "Mon 1970-01-12 13:46:40 +0000" in text
        assert "30 2 * * *" in text


def test_the_error_of_an_attempt_is_wrapped_and_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (120, 80, 60):
        shown = " ".join(" ".join(lines(monkeypatch, width, "attempts")).split())
        assert "…" not in shown
        assert all(word in shown for word in ATTEMPT.error.split())
        assert "handler_error" in shown
