"""What the demo shows for which numbers, and that it fits on the screen."""

import io
import re

import pytest
from rich.console import Console
from taskferry.cli.demo.table import (
    PICTURE_WIDTH,
    WORKER_ROWS_COUNT_MAX,
    Outcome,
    Snapshot,
    WorkerRow,
    picture,
    progress_line,
    screen,
    verdict,
)

from tests.unit.cli.demo.snapshot import ALL_WELL, WORKERS, snapshot


def rendered(moment: Snapshot, width: int, encoding: str = "utf-8") -> list[str]:
    """The lines of the screen, without colours."""
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=buffer, width=width, no_color=True, legacy_windows=False).print(screen(moment, width))
    buffer.seek(0)
    return buffer.read().splitlines()


def test_it_fits_a_terminal_of_80_by_24() -> None:
    lines = rendered(snapshot(), 80)
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert "…" not in "\n".join(lines)


def test_a_low_terminal_shows_the_tables_first() -> None:
    moment = snapshot()
    for width, height, parts in (
        (60, 15, ("done", "p99 ms")),
        (80, 14, ("done", "p99 ms")),
        (80, 9, ("done",)),
        (80, 20, ("done", "p99 ms", "look in")),
        (120, 40, ("done", "p99 ms", "look in", "was killed")),
    ):
        buffer = io.StringIO()
        Console(file=buffer, width=width, no_color=True).print(screen(moment, width, height))
        text = buffer.getvalue()
        assert text.count("\n") <= height
        shown = [part for part in ("done", "p99 ms", "look in", "was killed") if part in text]
        assert tuple(shown) == parts, (width, height, text)
        assert "…" not in text


@pytest.mark.parametrize("width", [60])
def test_a_narrow_terminal_shows_what_counts_whole(width: int) -> None:
    text = "\n".join(rendered(snapshot(), width))
    for shown in (
        "1,234,567",
        "15,234",
        "2,222,221",
        "0.46",
        "1.10",
        "250",
        "killed",
        "calculate a=96 b=7 op=//",
    ):
        assert shown in text, text
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_every_number_is_shown_whole(width: int) -> None:
    text = "\n".join(rendered(snapshot(), width))
    for shown in (
        "1,234,567",
        "55.6%",
        "15,234",
        "2,222,221",
        "0.46",
        "1.10",
        "250",
        "8.2 of 10 s",
        "killed",
    ):
        assert shown in text, shown
    for line in (
        "http://127.0.0.1:50003/metrics",
        "--broker ws://127.0.0.1:50002",
        "worker --broker ws://127.0.0.1:50001",
    ):
        assert line in text, line
    assert "calculate a=96 b=7 op=//" in text
    assert '"Echo: Hello-9999"' in text


def test_process_ids_are_shown_if_there_is_room() -> None:
    assert "4001" in "\n".join(rendered(snapshot(), 120))
    assert "4001" not in "\n".join(rendered(snapshot(), 80))


def test_a_worker_that_joined_from_outside_has_no_process_id() -> None:
    guest = WorkerRow("guest", None, "healthy", 7, 0, 1, 3.0)
    row = next(
        line for line in rendered(snapshot(workers=[*WORKERS, guest]), 120) if line.startswith("guest")
    )
    assert row.split()[:3] == ["guest", "healthy", "7"]


def test_no_more_workers_are_shown_than_the_bound() -> None:
    crowd = [
        WorkerRow(f"guest-{number}", None, "healthy", 1, 0, 0, 0.0)
        for number in range(WORKER_ROWS_COUNT_MAX + 1)
    ]
    text = "\n".join(rendered(snapshot(workers=crowd), 80))
    assert text.count("guest-") == WORKER_ROWS_COUNT_MAX


def test_before_the_broker_listens_there_is_only_the_headline() -> None:
    lines = rendered(snapshot(addresses=None, headline="Starting ..."), 80)
    assert [line.split()[0] for line in lines if line.strip()] == ["Starting"]


def test_it_can_be_shown_without_unicode() -> None:
    assert any(line.startswith("worker-1") for line in rendered(snapshot(), 80, encoding="ascii"))


def test_the_last_line_is_empty_for_the_terminals_own_ctrl_c() -> None:
    assert rendered(snapshot(), 80)[-1].strip() == ""
    assert rendered(snapshot(addresses=None), 80)[-1].strip() == ""


@pytest.mark.parametrize("course", [[], [0.0, 0.0], [5.0] * 500])
def test_any_course_can_be_drawn(course: list[float]) -> None:
    total = next(line for line in rendered(snapshot(course=course), 80) if line.startswith("all"))
    assert len(total) <= 80
    assert ("█" in total) is (5.0 in course)


def test_a_line_for_a_pipe_says_it_all() -> None:
    assert progress_line(snapshot()) == (
        "  8.2 s  15,234 requests/s  p50 0.46 ms  p99 1.10 ms  in flight 24  failed 3  "
        "worker-1 1,234,567  worker-2 987,654  worker-3 0"
    )


def test_the_verdict_of_a_good_run_is_one_line() -> None:
    [line] = verdict(snapshot(), ALL_WELL)
    assert line.plain == "2,222,221 requests in 8.2 s: each answered once, every answer correct, none lost."
    assert ALL_WELL.is_good


def test_requests_that_ctrl_c_did_not_wait_for_are_not_lost() -> None:
    outcome = Outcome({}, None, unanswered_count=24, is_cut_short=True)
    [line] = verdict(snapshot(), outcome)
    assert line.plain == (
        "Stopped early: 2,222,221 requests in 8.2 s: each answered once, every answer correct, "
        "24 more were not waited for."
    )
    assert outcome.is_good


def test_stopped_at_the_start_there_is_nothing_to_praise() -> None:
    [line] = verdict(snapshot(done_count=0), Outcome({}, None, unanswered_count=0, is_cut_short=True))
    assert line.plain == "Stopped before the first request."


def test_failures_are_counted_and_the_first_is_shown() -> None:
    outcome = Outcome({"worker_lost": 2, "timeout": 1000}, "echo: too late [timeout]", 0, is_cut_short=True)
    lines = [line.plain for line in verdict(snapshot(), outcome)]
    assert lines[1] == "Failed: 1,000 timeout, 2 worker_lost. The first: echo: too late [timeout]"
    assert not outcome.is_good


def test_requests_without_an_answer_are_lost() -> None:
    outcome = Outcome({}, None, unanswered_count=3, is_cut_short=False)
    assert verdict(snapshot(), outcome)[-1].plain == "Lost: 3 requests were never answered."
    assert not outcome.is_good


def test_the_picture_loads_nothing_and_keeps_its_width() -> None:
    few, many = picture(snapshot(), ALL_WELL), picture(snapshot(done_count=3, course=[1.0] * 99), ALL_WELL)
    for svg in (few, many):
        assert "@font-face" not in svg
        assert "url(http" not in svg
        assert not re.search(r"(?:href|src)\s*=", svg)
        assert "none&#160;lost." in svg
    sizes = [re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg) for svg in (few, many)]
    assert sizes[0] is not None
    assert sizes[1] is not None
    assert sizes[0].groups() == sizes[1].groups()
    assert float(sizes[0][1]) == pytest.approx(PICTURE_WIDTH * 12, abs=30)
