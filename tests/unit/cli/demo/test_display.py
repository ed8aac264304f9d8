"""What the demo writes to a pipe, and when."""

import pytest
from taskferry.cli.demo.display import Lines, choose_display

from tests.unit.cli.demo.snapshot import ALL_WELL, snapshot

Output = pytest.CaptureFixture[str]
INCIDENTS = snapshot().incidents


def test_without_a_terminal_there_are_lines() -> None:
    assert isinstance(choose_display(), Lines)


def test_nothing_is_said_before_requests_flow(capsys: Output) -> None:
    lines = Lines()
    lines.show(snapshot(addresses=None, elapsed_s=0.0))
    lines.show(snapshot(elapsed_s=0.0))
    assert capsys.readouterr().out == ""


def test_it_starts_with_what_happens_and_where_to_look(capsys: Output) -> None:
    lines = Lines()
    lines.show(snapshot(elapsed_s=0.1, incidents=[]))
    lines.show(snapshot(elapsed_s=0.2, incidents=[]))
    assert capsys.readouterr().out.splitlines() == [
        "A broker, 3 workers, 24 requests at once, every answer checked.",
        "look in  http://127.0.0.1:50003/metrics",
        "         taskferry status --http http://127.0.0.1:50003",
        "join in  taskferry request echo message=Hello --broker ws://127.0.0.1:50002",
        "         taskferry worker --broker ws://127.0.0.1:50001",
        "",
    ]


def test_there_is_a_line_a_second(capsys: Output) -> None:
    lines = Lines()
    for elapsed_s in (0.1, 0.4, 0.9, 1.1, 1.4, 1.9, 2.0, 2.3, 4.7, 5.2):
        lines.show(snapshot(elapsed_s=elapsed_s, incidents=[]))
    told = [
        line.split(" s ")[0].strip() for line in capsys.readouterr().out.splitlines() if "requests/s" in line
    ]
    assert told == ["1.1", "2.0", "4.7", "5.2"]


def test_an_incident_is_shown_once_and_at_the_end_at_the_latest(capsys: Output) -> None:
    lines = Lines()
    lines.show(snapshot(incidents=INCIDENTS[:1]))
    lines.show(snapshot(incidents=INCIDENTS[:1]))
    lines.finish(snapshot(), ALL_WELL)
    out = capsys.readouterr().out
    for incident in INCIDENTS:
        assert out.count(f"{incident.at_s:5.1f} s  {incident.text}") == 1


def test_it_ends_with_the_tables_and_the_verdict(capsys: Output) -> None:
    Lines().finish(snapshot(), ALL_WELL)
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out if line.startswith(("worker-", "all", "echo"))] == [
        *("worker-1", "worker-2", "worker-3", "all"),
        *("echo", "all"),
    ]
    assert out[-1].endswith("none lost.")


def test_a_run_that_never_began_has_no_tables(capsys: Output) -> None:
    stopped = ALL_WELL._replace(is_cut_short=True)
    Lines().finish(snapshot(elapsed_s=0.0, done_count=0, incidents=[]), stopped)
    assert capsys.readouterr().out == "Stopped before the first request.\n"
