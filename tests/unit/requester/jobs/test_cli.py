"""`taskferry submit`, `jobs`, `job` and `schedule`: what their options ask of a broker, and what is printed."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from msgspec import Raw
from taskferry.protocol.job_messages import (
    Await,
    Changed,
    FailedAttempt,
    Job,
    JobAnswer,
    Jobs,
    JobView,
    ListJobs,
    Receipt,
    Retry,
    Schedule,
    ScheduleAction,
    Schedules,
    ScheduleView,
    Submit,
)
from taskferry.protocol.messages import Cancel, Failure, Response
from taskferry.requester.jobs import jobs_cli, many, schedule_cli, submit_cli

from tests.each_case import each_case
from tests.unit.requester.fake_broker import FakeBrokerThread

FAILED = FailedAttempt(1, "worker-1", 1.0, 3.0, "handler_error", "no \x1b[31mfile")
VIEW = JobView(
    "order-1",
    "resize",
    "dead",
    "ann",
    1.0,
    5,
    attempt=1,
    code="handler_error",
    error="no \x1b[31mfile",
    failed=[FAILED],
)
SCHEDULE = ScheduleView(
    "nightly",
    "report",
    "ann",
    [1_796_112_000.0, 1_796_198_400.0],
    cron="0 9 * * *",
    time_zone="Europe/Berlin",
)


class Desk:
    """Answers as a broker with one job and one schedule; `refusals`: codes by the job_id or the data."""

    def __init__(self, broker: FakeBrokerThread) -> None:
        self.broker = broker
        self.refusals: dict[str, str] = {}
        self.count = 3
        broker.broker.answer_question = self.answer

    @property
    def asked(self) -> list[Any]:
        return self.broker.broker.questions

    def answer(self, question: Any) -> object:
        name = getattr(question, "job_id", None) or getattr(question, "name", None) or ""
        code = self.refusals.get(name) or self.refusals.get(
            bytes(getattr(question, "data", b"") or b"").decode()
        )
        if code is not None:
            return Failure(question.request_id, False, None, f"{code} \x1b[31m!", None, code)
        match question:
            case Submit():
                return Receipt(question.request_id, question.job_id or "", "accepted")
            case Await():
                return Response(question.request_id or "", True, Raw(b'{"ok":"\\u001b[31m"}'), None, "w")
            case Job():
                return JobAnswer(question.request_id, VIEW)
            case ListJobs():
                return Jobs(question.request_id, [VIEW] * min(self.count, question.count), None)
            case Schedule() | ScheduleAction():
                return Schedules(question.request_id, [SCHEDULE], "job-1")
            case _:
                return Changed(question.request_id, self.count, question.dry_run)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with FakeBrokerThread() as broker:
        yield Desk(broker)


def run(desk: Desk, command: click.Command, *words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, [*words, "--broker", desk.broker.url], input=stdin)


def lines_of(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_help_loads_nothing_that_a_job_needs() -> None:
    heavy = "{'asyncio', 'msgpack', 'msgspec', 'rich', 'websockets'}"
    program = f"""
import sys
from taskferry.requester.jobs import jobs_cli, schedule_cli, submit_cli
for command, words in ((submit_cli.submit, []), (jobs_cli.jobs, []), (jobs_cli.job, ["retry"]),
                       (schedule_cli.schedule, ["add"])):
    try:
        command([*words, "--help"])
    except SystemExit as ended:
        assert ended.code == 0
sys.exit(str({heavy} & set(sys.modules) or ''))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert "--time-zone" in done.stdout


# --- submit ---


def test_a_job_is_submitted_and_its_id_printed(desk: Desk) -> None:
    done = run(desk, submit_cli.submit, "resize", "width=3", "--job-id", "order-1", "--delay", "10m")
    assert (done.exit_code, done.stdout) == (0, "order-1\n")
    (submit,) = desk.asked
    assert (submit.command, bytes(submit.data), submit.job_id, submit.delay) == (
        "resize",
        b'{"width":3}',
        "order-1",
        600,
    )


def test_every_option_reaches_the_broker(desk: Desk) -> None:
    words = "--run-at 2026-12-01T08:00Z --expires-at 2026-12-01T09:00Z --after a --after b --priority 9 --attempts 3"
    words += (
        " --backoff 1s,1m --timeout 2h --label zone=a --label zone=b --affinity x --job-key k --key-limit 2"
    )
    words += " --unique u --unique-until started --unique-for 1h --conflict replace --keep 2d --at-most-once"
    assert run(desk, submit_cli.submit, "resize", *words.split()).exit_code == 0
    (sent,) = desk.asked
    assert (sent.run_at, sent.expires_at, sent.after) == (1_796_112_000, 1_796_115_600, ["a", "b"])
    assert (sent.priority, sent.attempts, sent.backoff, sent.timeout) == (9, 3, [1, 60], 7200)
    assert (sent.target, sent.affinity, sent.key, sent.key_limit) == ({"zone": ["a", "b"]}, "x", "k", 2)
    unique = sent.unique
    assert (unique.key, unique.until, unique.seconds, unique.conflict) == ("u", "started", 3600, "replace")
    assert (sent.keep, sent.at_most_once) == (172_800, True)


def test_a_result_is_waited_for(desk: Desk) -> None:
    done = run(desk, submit_cli.submit, "resize", "--wait")
    assert (done.exit_code, done.stdout) == (0, '{"ok":"\\u001b[31m"}\n')
    done = run(desk, submit_cli.submit, "resize", "--wait", "--json", "--job-id", "order-1")
    assert lines_of(done.stdout) == [{"job_id": "order-1", "success": True, "data": {"ok": "\x1b[31m"}}]


def test_a_refusal_is_one_printable_line_and_an_exit_code(desk: Desk) -> None:
    for code, exit_code in (("job_id_conflict", 1), ("forbidden", 6), ("rate_limited", 7), ("jobs_off", 1)):
        desk.refusals["order-1"] = code
        done = run(desk, submit_cli.submit, "resize", "--job-id", "order-1")
        assert (done.exit_code, done.stdout) == (exit_code, "")
        assert done.stderr.startswith(f"error: {code} \\x1b[31m! [{code}")
        assert done.stderr.count("\n") == 1


def test_a_duplicate_is_told(desk: Desk) -> None:
    desk.broker.broker.answer_question = lambda submit: Receipt(submit.request_id, "order-1", "done", True)
    done = run(desk, submit_cli.submit, "resize", "--job-id", "order-1")
    assert (done.stdout, done.stderr) == ("order-1\n", "order-1 was there already: done\n")
    done = run(desk, submit_cli.submit, "resize", "--job-id", "order-1", "--json")
    assert lines_of(done.stdout) == [{"job_id": "order-1", "state": "done", "duplicate": True}]


WRONG = (
    (("--delay", "ten"), "Invalid value for '--delay': 'ten' is not a number of seconds"),
    (("--backoff", "1s,x"), "Invalid value for '--backoff': 'x' is not"),
    (("--run-at", "soon"), "Invalid value for '--run-at': 'soon' is not a date and time"),
    (("--delay", "1", "--run-at", "2026-12-01"), "--delay and --run-at: give one of them"),
    (("--key-limit", "2"), "--key-limit needs --job-key"),
    (("--conflict", "reject"), "--unique-until, --unique-for and --conflict need --unique"),
    (("--target", "a", "--label", "b=c"), "--target names one worker"),
    (("--results", "x"), "--results needs lines"),
    (("--concurrency", "5"), "--concurrency needs lines"),
    (("{broken",), "DATA: '{broken': not valid JSON: object keys must be strings (byte 1)"),
    (("@absent.jsonl",), "DATA: absent.jsonl: no such file or directory"),
    (("-", "--job-id", "x" * 117), "--job-id: with lines at most 116 characters"),
)


@each_case(("words", "text"), WRONG)
def test_wrong_options_are_one_error(words: tuple[str, ...], text: str) -> None:
    done = CliRunner().invoke(submit_cli.submit, ["resize", *words, "--broker", "ws://127.0.0.1:9"])
    assert done.exit_code == 2
    assert text in done.stderr


def test_without_a_broker(desk: Desk) -> None:
    desk.broker.stop()
    for words in ([], ["-"]):
        done = run(desk, submit_cli.submit, "resize", *words, stdin="1\n")
        assert done.exit_code == 5
        assert done.stderr.startswith("error: Cannot connect to the broker at ws://127.0.0.1:")
        assert done.stdout == ""


# --- submit, lines ---


def test_each_line_is_a_job(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"n":1}\n\n{broken\n{"n":4}\n')
    desk.refusals['{"n":4}'] = "too_large"
    results = tmp_path / "out.jsonl"
    done = run(desk, submit_cli.submit, "resize", f"@{file}", "--results", str(results), "--priority", "7")
    assert (done.exit_code, done.stdout) == (1, "")
    first, bad, refused = sorted(lines_of(results.read_text()), key=lambda line: line["line"])
    sent = {bytes(submit.data): submit for submit in desk.asked}
    assert first == {"line": 1, "job_id": sent[b'{"n":1}'].job_id, "state": "accepted", "duplicate": False}
    assert (bad["line"], bad["job_id"], bad["code"]) == (3, None, "bad_data")
    assert (refused["line"], refused["code"], refused["success"]) == (4, "too_large", False)
    assert {submit.priority for submit in desk.asked} == {7}
    shown = done.stderr.splitlines()
    assert "line 3: not valid JSON: object keys must be strings (byte 1) [bad_data]" in shown
    assert "line 4: too_large \\x1b[31m! [too_large]" in shown
    assert shown[-1] == "3 lines: 1 accepted, 2 failed"


def test_lines_of_standard_input_go_to_standard_output(desk: Desk) -> None:
    done = run(desk, submit_cli.submit, "resize", "-", "--job-id", "import", "--wait", stdin="1\n2\n")
    assert done.exit_code == 0
    assert sorted(line["job_id"] for line in lines_of(done.stdout)) == ["import-1", "import-2"]
    assert all(line["success"] and line["data"] for line in lines_of(done.stdout))
    assert done.stderr == "2 lines: 2 accepted, 2 done\n"


def test_a_file_with_results_is_not_overwritten(desk: Desk, tmp_path: Path) -> None:
    results = tmp_path / "out.jsonl"
    results.write_text("precious")
    done = run(desk, submit_cli.submit, "resize", "-", "--results", str(results), stdin="1\n")
    assert done.exit_code == 2
    assert "is not empty: name a new file" in done.stderr
    assert results.read_text() == "precious"
    assert desk.asked == []


def test_what_is_refused_for_now_is_submitted_again_as_the_same_job(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "PAUSE_S_MIN", 0.001)
    codes = ["overloaded", "rate_limited", "journal_failed", "shutting_down"]

    def answer(submit: Any) -> object:
        if codes:
            return Failure(submit.request_id, False, None, "not now", None, codes.pop(), retry_after=0.001)
        return desk.answer(submit)

    desk.broker.broker.answer_question = answer
    done = run(desk, submit_cli.submit, "resize", "-", stdin="1\n")
    assert (done.exit_code, done.stderr) == (0, "1 line: 1 accepted\n")
    assert len({submit.job_id for submit in desk.asked}) == 1
    assert len(desk.asked) == 5
    monkeypatch.setattr(many, "PATIENCE_S", 0.01)
    desk.refusals["x-1"] = "overloaded"
    done = run(desk, submit_cli.submit, "resize", "-", "--job-id", "x", stdin="1\n")
    assert (done.exit_code, lines_of(done.stdout)[0]["code"]) == (1, "overloaded")


def test_what_would_be_refused_for_every_line_ends_the_run(desk: Desk) -> None:
    desk.refusals["x-1"] = "forbidden"
    lines = "".join(f"{number}\n" for number in range(100))
    done = run(desk, submit_cli.submit, "resize", "-", "--job-id", "x", "--concurrency", "1", stdin=lines)
    assert done.exit_code == 6
    assert len(desk.asked) < 3
    assert done.stderr.splitlines()[-1].startswith("error: forbidden")
    assert lines_of(done.stdout)[0]["line"] == 1


def test_only_the_first_errors_are_shown(desk: Desk) -> None:
    done = run(desk, submit_cli.submit, "resize", "-", stdin="{\n" * 50)
    assert len(lines_of(done.stdout)) == 50
    assert done.stderr.count("[bad_data]") == 10
    assert "further errors are in the results only" in done.stderr


# --- jobs and job ---


def test_a_list_of_jobs(desk: Desk) -> None:
    words = "--state dead --state held --command resize --owner ann --job-key k --code timeout"
    words += " --since 2026-12-01T08:00Z --until 2026-12-01T09:00Z"
    done = run(desk, jobs_cli.jobs, *words.split())
    assert done.exit_code == 0
    assert re.search(r"order-1 +resize +dead +1/10 +\S+ d +no \\x1b\[31mfile \[handler_error\]", done.stdout)
    filter = desk.asked[0].filter
    assert (filter.states, filter.command, filter.owner, filter.key, filter.code) == (
        ["dead", "held"],
        "resize",
        "ann",
        "k",
        "timeout",
    )
    assert (filter.since, filter.until) == (1_796_112_000, 1_796_115_600)
    done = run(desk, jobs_cli.jobs, "--json", "--limit", "2")
    assert [line["job_id"] for line in lines_of(done.stdout)] == ["order-1"] * 2
    assert done.stderr == "there are more: --limit 20\n"
    desk.count = 0
    assert "none" in run(desk, jobs_cli.jobs).stdout


def test_all_of_a_job(desk: Desk) -> None:
    done = run(desk, jobs_cli.job, "show", "order-1")
    assert done.exit_code == 0
    assert re.search(r"state +dead", done.stdout)
    assert re.search(r"1 +worker-1 .* 2\.0 s +handler_error +no \\x1b\[31mfile", done.stdout)
    assert "\x1b" not in done.stdout
    (line,) = lines_of(run(desk, jobs_cli.job, "show", "order-1", "--json").stdout)
    assert line["failed"][0]["error"] == "no \x1b[31mfile"


def test_a_result(desk: Desk) -> None:
    done = run(desk, jobs_cli.job, "result", "order-1", "--timeout", "1m")
    assert (done.exit_code, done.stdout) == (0, '{"ok":"\\u001b[31m"}\n')
    assert desk.asked[0].timeout == 60
    desk.refusals |= {"late": "timeout", "bad": "own_code"}
    done = run(desk, jobs_cli.job, "result", "late", "--timeout", "1m")
    assert (done.exit_code, done.stderr) == (
        3,
        "error: Job late has not ended within 60 s: it goes on [timeout]\n",
    )
    done = run(desk, jobs_cli.job, "result", "bad", "--json")
    assert done.exit_code == 1
    assert lines_of(done.stdout)[0]["code"] == "own_code"


def test_changes_of_named_jobs(desk: Desk) -> None:
    desk.refusals["b"] = "wrong_state"
    done = run(desk, jobs_cli.job, "cancel", "a", "b", "c")
    assert (done.exit_code, done.stdout) == (1, "a: cancelled\nc: cancelled\n")
    assert done.stderr == "error: b: wrong_state \\x1b[31m! [wrong_state]\n"
    assert [(type(asked), asked.job_id) for asked in desk.asked] == [(Cancel, name) for name in "abc"]
    assert run(desk, jobs_cli.job, "retry", "a").stdout == "a: accepted again\n"
    assert lines_of(run(desk, jobs_cli.job, "remove", "a", "--json").stdout) == [
        {"job_id": "a", "changed": "removed"}
    ]


def test_changes_of_all_that_match(desk: Desk) -> None:
    done = run(desk, jobs_cli.job, "retry", "--state", "dead", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "3 jobs would be accepted again\n")
    assert [asked.dry_run for asked in desk.asked] == [True]
    done = run(desk, jobs_cli.job, "retry", "--state", "dead", "--yes")
    assert (done.exit_code, done.stdout) == (0, "3 jobs: accepted again\n")
    retry = desk.asked[-1]
    assert (type(retry), retry.filter.states, retry.dry_run) == (Retry, ["dead"], False)
    count = len(desk.asked)
    done = run(desk, jobs_cli.job, "remove", "--state", "done")
    assert done.exit_code == 2
    assert "Remove 3 jobs? Say so with --yes" in done.stderr
    assert [asked.dry_run for asked in desk.asked[count:]] == [True]
    desk.count = 0
    assert run(desk, jobs_cli.job, "remove", "--state", "done").stdout == "0 jobs: removed\n"


def test_a_change_says_which_jobs(desk: Desk) -> None:
    for words in ([], ["a", "--state", "dead"], ["a", "--dry-run"]):
        assert run(desk, jobs_cli.job, "cancel", *words).exit_code == 2
    assert desk.asked == []


# --- schedule ---


def test_a_schedule_is_added_and_its_next_times_shown(desk: Desk) -> None:
    words = "nightly|report|n=1|--cron|0 9 * * *|--time-zone|Europe/Berlin|--overlap|queue|--no-catch-up|--attempts|2"
    done = run(desk, schedule_cli.schedule, "add", *words.split("|"))
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "nightly runs report at:",
        "  Tue 2026-12-01 09:00:00 +0100",
        "  Wed 2026-12-02 09:00:00 +0100",
    ]
    (sent,) = desk.asked
    assert (sent.name, sent.command, bytes(sent.data), sent.cron) == (
        "nightly",
        "report",
        b'{"n":1}',
        "0 9 * * *",
    )
    assert (sent.time_zone, sent.overlap, sent.catch_up, sent.attempts) == (
        "Europe/Berlin",
        "queue",
        False,
        2,
    )
    run(desk, schedule_cli.schedule, "add", "often", "report", "--every", "10m")
    assert desk.asked[-1].every == 600
    for words in ("", "--every 1m --cron x", "--every 1m --time-zone UTC", "--every soon", "--every 1m {"):
        assert run(desk, schedule_cli.schedule, "add", "a", "b", *words.split()).exit_code == 2
    done = run(desk, schedule_cli.schedule, "add", "a", "b", "--every", "10ms")
    assert (done.exit_code, done.stderr) == (1, "error: every: Expected `float` >= 1.0 [bad_request]\n")


def test_schedules_are_listed_and_changed(desk: Desk) -> None:
    done = run(desk, schedule_cli.schedule, "list")
    assert re.search(
        r"nightly +report +Tue 2026-12-01 09:00:00 \+0100 +0 +0 9 \* \* \*  Europe/Berlin", done.stdout
    )
    assert lines_of(run(desk, schedule_cli.schedule, "list", "--json").stdout)[0]["name"] == "nightly"
    desk.refusals["other"] = "unknown_job"
    for action, printed in (("pause", "paused"), ("resume", "runs again"), ("remove", "removed")):
        done = run(desk, schedule_cli.schedule, action, "nightly", "other")
        assert (done.exit_code, done.stdout) == (1, f"nightly: {printed}\n")
        assert done.stderr.startswith("error: other: unknown_job")
    assert run(desk, schedule_cli.schedule, "run", "nightly").stdout == "job-1\n"
    assert lines_of(run(desk, schedule_cli.schedule, "run", "nightly", "--json").stdout) == [
        {"name": "nightly", "job_id": "job-1"}
    ]
