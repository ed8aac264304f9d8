"""`taskferry workers`, `status` and `explain` against an HTTP server that answers what a broker would, or nonsense."""

import io
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from taskferry.cli import http_port, tables
from taskferry.cli.inspection import explain, status, workers
from taskferry.program import fitted_table

from tests.each_case import each_case
from tests.processes import programs_in, wait_until
from tests.terminals import run_at_terminal
from tests.unit.cli.fake_http_port import HttpPort

WORKERS: dict[str, Any] = {
    "workers": [
        {
            "worker_id": "vm-1",
            "state": "healthy",
            "reason": None,
            "commands": ["echo", "get_time"],
            "concurrency": 16,
            "in_flight": 3,
            "weight": 1.0,
            "labels": {"gpu": "yes"},
            "peer": "10.0.0.7:4711",
            "encoding": "json",
            "connected_s": 7200.0,
            "sdk": "python 0.1.0",
            "succeeded_count": 12345,
            "failed_count": 6,
            "speed": 1.25,
            "ejections_count": 0,
        },
        {
            "worker_id": "[red]vm-2[/red]",
            "state": "ejected",
            "reason": "5 failures in a row: [bold]no database",
            "commands": [],
            "concurrency": 1,
            "in_flight": 0,
            "weight": 2.5,
            "labels": {},
            "peer": None,
            "encoding": "msgpack",
            "connected_s": 3.0,
            "sdk": None,
            "succeeded_count": 0,
            "failed_count": 5,
            "speed": 0.25,
            "ejections_count": 3,
        },
    ]
}
STATUS = {
    "version": "1.2.3",
    "state": "serving",
    "uptime_s": 90.0,
    "strategy": "least_loaded",
    "worker_count": 2,
    "requester_count": 5,
    "submitted_count": 1000,
    "in_flight_count": 7,
    "queued_count": 4,
    "outcomes": {"success": 980, "timeout": 13, "cancelled": 0},
    "counts": {"retried": 2, "hedged": 1200, "hedges_won": 31, "shed": 0, "ejected": 4},
    "commands": [{"command": "echo", "worker_count": 2, "queued_count": 4}],
}

LATER = {"reason", "speed", "ejections_count"}
"""Fields that earlier versions did not have."""


def run(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_workers_as_a_table(port: HttpPort) -> None:
    port.answers["/api/workers"] = json.dumps(WORKERS).encode()
    result = run(workers, "--http", port.url)
    assert (result.exit_code, result.stderr) == (0, "")
    header, first, second = (" ".join(line.split()) for line in result.stdout.splitlines())
    assert header == (
        "worker state in flight succeeded failed weight speed ejections labels peer connected why commands"
    )
    assert first == "vm-1 healthy 3/16 12,345 6 1 1.25 0 gpu=yes 10.0.0.7:4711 2.0 h echo, get_time"
    assert second == "[red]vm-2[/red] ejected 0/1 0 5 2.5 0.25 3 3 s 5 failures in a row: [bold]no database"


NAMED = "vm-1.eu-west.example.com-4711"
"""A name as long as the default ones."""


@pytest.mark.parametrize(
    ("width", "missing"),
    [
        (200, ""),
        (140, "ejections"),
        (100, "weight, speed, ejections, peer, connected"),
        (80, "succeeded, failed, weight, speed, ejections, peer, connected"),
        (60, "in flight, succeeded, failed, weight, speed, ejections, labels, peer, connected"),
        (47, "state, in flight, succeeded, failed, weight, speed, ejections, labels, peer, connected"),
    ],
)
def test_names_that_are_typed_are_whole_at_each_width(
    width: int, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    monkeypatch.setattr(fitted_table, "console", lambda: console)
    worker = {**WORKERS["workers"][0], "worker_id": NAMED, "commands": ["get_system_info", "resize-image"]}
    fitted_table.show(*tables.workers({"workers": [worker, worker]}))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "…" not in shown
    for word in (NAMED, "get_system_info", "resize-image", *([] if "labels" in missing else ["gpu=yes"])):
        assert shown.count(word) == 2, shown
    assert all(len(line) <= width for line in shown.splitlines())
    assert (f"shows as well: {missing}" in " ".join(shown.split())) == bool(missing), shown


HOSTILE = "\x1b]0;owned\x07\r\n\x9b2J\u202e"
"""What a terminal would obey: it sets the title, forges a line, clears the screen, turns the text round."""
SHOWN = r"\x1b]0;owned\x07\r\n\x9b2J\u202e"


def test_names_and_texts_do_nothing_to_the_terminal(port: HttpPort) -> None:
    worker = WORKERS["workers"][0]
    named = {"worker_id": HOSTILE, "reason": HOSTILE, "commands": [HOSTILE], "labels": {HOSTILE: HOSTILE}}
    port.answers["/api/workers"] = json.dumps({"workers": [worker | named | {"peer": HOSTILE}]}).encode()
    result = run(workers, "--http", port.url)
    assert (result.exit_code, result.stdout.count(SHOWN), result.stdout.count("\n")) == (0, 6, 2)
    assert not set(result.stdout) & set(HOSTILE) - set("]0;owned2J\n")


def test_json_keeps_them_exactly_and_obeys_none(port: HttpPort) -> None:
    answer = {"workers": [{"worker_id": HOSTILE}]}
    port.answers["/api/workers"] = json.dumps(answer).encode()
    result = run(workers, "--http", port.url, "--json")
    assert json.loads(result.stdout) == answer
    assert not set(result.stdout) & set(HOSTILE) - set("]0;owned2J\n")


def test_an_error_is_one_line_and_obeyed_by_no_terminal(port: HttpPort) -> None:
    port.refusals["/api/explain/x"] = (404, json.dumps({"error": f"no {HOSTILE}"}).encode())
    result = run(explain, "x", "--http", port.url)
    assert (result.exit_code, result.stderr) == (1, "error: no \\x1b]0;owned\\x07 \\x9b2J\\u202e\n")


def test_no_workers(port: HttpPort) -> None:
    port.answers["/api/workers"] = b'{"workers":[]}'
    assert "none" in run(workers, "--http", port.url).stdout


def test_status_as_a_table(port: HttpPort) -> None:
    port.answers["/api/status"] = json.dumps(STATUS).encode()
    result = run(status, "--http", port.url + "/")  # with a slash or without
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines == [
        "version 1.2.3",
        "state serving",
        "up 1.5 min",
        "strategy least_loaded",
        "workers 2",
        "requesters 5",
        "submitted 1,000",
        "in flight 7",
        "queued 4",
        "success 980",
        "timeout 13",
        "retried 2",
        "hedged 1,200",
        "hedges won 31",
        "ejected 4",
        "",
        "command workers queued",
        "echo 2 4",
    ]


def test_a_broker_of_an_earlier_version_is_shown_too(port: HttpPort) -> None:
    earlier = {key: value for key, value in WORKERS["workers"][0].items() if key not in LATER}
    port.answers["/api/workers"] = json.dumps({"workers": [earlier]}).encode()
    assert "vm-1" in run(workers, "--http", port.url).stdout
    earlier = {key: value for key, value in STATUS.items() if key != "counts"}
    port.answers["/api/status"] = json.dumps(earlier).encode()
    assert "least_loaded" in run(status, "--http", port.url).stdout


@pytest.mark.parametrize(
    ("command", "arguments", "path", "answer"),
    [
        (workers, [], "workers", WORKERS),
        (status, [], "status", STATUS),
        (explain, ["r1"], "explain/r1", {"requests": [], "job": None}),
    ],
)
def test_json_is_what_the_broker_answers(
    port: HttpPort, command: Any, arguments: list[str], path: str, answer: dict[str, Any]
) -> None:
    port.answers[f"/api/{path}"] = json.dumps(answer).encode()
    result = run(command, *arguments, "--http", port.url, "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout) == answer


# --- explain ---

WAITING = {
    "request_id": "r1",
    "command": "resize-image",
    "state": "waiting",
    "priority": 5,
    "age_s": 3.21,
    "remaining_s": 26.79,
    "position": 1234,
    "position_is_exact": True,
    "queued_count": 2000,
    "target": {"gpu": "yes", "zone": ["a", "b"]},
    "is_overloaded": True,
    "waits_for": "for a free slot at one of its 2 workers",
    "retries_count": 0,
    "assignments": [],
    "workers_count": 103,
    "workers": [
        {
            "worker_id": "vm-1",
            "state": "healthy",
            "in_flight": 4,
            "concurrency": 4,
            "reason": "4 of 4 slots taken",
        },
        {
            "worker_id": "vm-2",
            "state": "ejected",
            "in_flight": 0,
            "concurrency": 4,
            "reason": "ejected for 12 s more: 5 failures in a row",
        },
        {
            "worker_id": "vm-3",
            "state": "healthy",
            "in_flight": 1,
            "concurrency": 4,
            "reason": "labels do not match: gpu is no",
        },
    ],
}
ASSIGNED = WAITING | {
    "state": "assigned",
    "remaining_s": -0.004,
    "position": None,
    "position_is_exact": False,
    "target": "vm-1",
    "is_overloaded": False,
    "waits_for": "for the answer of vm-1",
    "assignments": [
        {"worker_id": "vm-1", "assigned_s": 2.0, "is_hedge": False},
        {"worker_id": "vm-2", "assigned_s": 0.25, "is_hedge": True},
    ],
    "workers_count": 0,
    "workers": [],
}


def test_the_longest_waiting_are_listed_if_no_request_is_named(port: HttpPort) -> None:
    rows = [WAITING | {"request_id": f"r{number}"} for number in range(2)]
    rows.append(WAITING | {"request_id": "j1", "is_job": True, "remaining_s": None})
    port.answers["/api/explain"] = json.dumps({"requests": rows, "queued_count": 1200, "jobs": None}).encode()
    result = run(explain, "--http", port.url)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines() if line]
    assert lines[0] == "1,200 requests wait for a free slot, the 3 longest:"
    assert lines[1] == "request command waiting time left priority waits for"
    assert [line.split()[0] for line in lines[2:4]] == ["r0", "r1"]
    assert lines[4].startswith("job j1 resize-image 3.2 s any 5 ")
    port.answers["/api/explain"] = b'{"requests":[],"queued_count":0,"jobs":null}'
    assert run(explain, "--http", port.url).stdout == "No request waits for a free slot.\n"


def test_the_rule_behind_each_row_is_printed_once(port: HttpPort) -> None:
    rule = "one priority class is worth 1 s of waiting"
    reasons = [f"for a free slot at its worker; {rule}", f"for a free slot at one of its 2 workers; {rule}"]
    rows = [
        WAITING | {"request_id": str(number), "waits_for": reason} for number, reason in enumerate(reasons)
    ]
    port.answers["/api/explain"] = json.dumps({"requests": rows, "queued_count": 2, "jobs": None}).encode()
    printed = run(explain, "--http", port.url).stdout
    assert "a free slot at its worker" in printed
    assert "a free slot at one of its 2 workers" in printed
    assert printed.lower().count(rule) == 1
    assert printed.rstrip().endswith("One priority class is worth 1 s of waiting.")


def test_running_requests_and_the_last_failures_are_listed_beside_waiting_ones(port: HttpPort) -> None:
    of_request = {"request_id": "r1", "command": "resize", "worker_id": "w1"}
    running: list[dict[str, Any]] = [of_request | {"is_job": False, "running_s": 12.5, "remaining_s": 17.5}]
    running.append(of_request | {"request_id": "j1", "is_job": True, "running_s": 1.0, "remaining_s": None})
    failure = {"code": "timeout", "count": 1200, "ago_s": 3.0, "error": "Worker response timeout"}
    failures = [of_request | failure, of_request | failure | {"error": None, "worker_id": None}]
    answer = {"requests": [], "queued_count": 0, "jobs": None, "running": running, "running_count": 3}
    port.answers["/api/explain"] = json.dumps(answer | {"failures": failures}).encode()
    result = run(explain, "--http", port.url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [" ".join(line.split()) for line in result.stdout.splitlines() if line] == [
        "No request waits for a free slot.",
        "3 requests run, the 2 longest:",
        "request command running time left worker",
        "r1 resize 12.5 s 17.5 s w1",
        "job j1 resize 1.0 s any w1",
        "The last failures of each command:",
        "command code failed last request worker error",
        "resize timeout 1,200 3 s ago r1 w1 Worker response timeout",
        "resize timeout 1,200 3 s ago r1 see the log of its worker",
    ]


def test_watching_goes_on_while_the_broker_does_not_answer(port: HttpPort, tmp_path: Path) -> None:
    port.answers["/api/workers"] = b'{"workers":[]}'
    with programs_in(tmp_path) as programs:
        words = ("-m", "taskferry", "workers", "--json", "--watch", "0.1", "--http", port.url)
        watching = programs.start(*words)
        wait_until(lambda: watching.stdout.count('{"workers":[]}\n') >= 2, "two looks")
        del port.answers["/api/workers"]
        watching.wait_for_stderr("error: .* answered 404")
        port.answers["/api/workers"] = b'{"workers":[1]}'
        watching.wait_for_stdout(r'\{"workers":\[1\]\}')
        watching.interrupt()
        assert watching.wait() == 130
        assert "Traceback" not in watching.stderr


def test_on_a_terminal_it_is_drawn_again_in_its_place(port: HttpPort) -> None:
    looks: list[int] = []

    def look() -> bytes:
        looks.append(len(looks))
        return b'{"workers":[]}'

    port.answers["/api/workers"] = look
    command = [sys.executable, "-m", "taskferry", "workers", "--watch", "0.1", "--http", port.url]

    def interrupt(watching: "subprocess.Popen[bytes]") -> None:
        wait_until(lambda: len(looks) >= 3, "three looks")
        watching.send_signal(signal.SIGINT)

    code, seen = run_at_terminal(command, typed=None, while_it_runs=interrupt)
    assert code == 130
    assert seen.count("\x1b[H\x1b[J") >= 3


def test_the_interval_is_two_seconds_unless_it_is_given(
    port: HttpPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    port.answers["/api/status"] = b"{}"
    waits: list[float] = []

    def sleep(duration_s: float) -> None:
        waits.append(duration_s)
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    for words, expected_s in ((["--watch"], 2.0), (["--watch", "7.5"], 7.5)):
        waits.clear()
        run(status, "--json", "--http", port.url, *words)
        assert waits == [expected_s]
    assert run(status, "--watch", "0", "--http", port.url).exit_code == 2


def explained(port: HttpPort, *requests: dict[str, Any], job: dict[str, Any] | None = None) -> list[str]:
    """The lines of `taskferry explain r1`, with these requests in flight under that id, and this job."""
    port.answers["/api/explain/r1"] = json.dumps({"requests": requests, "job": job}).encode()
    result = run(explain, "r1", "--http", port.url)
    assert (result.exit_code, result.stderr) == (0, "")
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_a_waiting_request_is_explained(port: HttpPort) -> None:
    assert explained(port, WAITING) == [
        "Request r1 (resize-image) waits for a free slot at one of its 2 workers.",
        "",
        "since 3.2 s",
        "time left 26.8 s",
        "priority 5",
        "place in line 1,234",
        "target gpu=yes zone=a|b",
        "overloaded yes: its workers cannot keep up, and the newest requests are served first",
        "",
        "worker state in flight can it take the request?",
        "vm-1 healthy 4/4 4 of 4 slots taken",
        "vm-2 ejected 0/4 ejected for 12 s more: 5 failures in a row",
        "vm-3 healthy 1/4 labels do not match: gpu is no",
        "and 100 more",
    ]


def test_a_place_that_is_far_behind_is_not_counted_out(port: HttpPort) -> None:
    lines = explained(port, WAITING | {"position": 10001, "position_is_exact": False, "target": None})
    assert "place in line 10,001 or later" in lines
    assert not any(line.startswith("target") for line in lines)


def test_a_request_that_a_worker_has_is_explained(port: HttpPort) -> None:
    assert explained(port, ASSIGNED) == [
        "Request r1 (resize-image) is running and waits for the answer of vm-1.",
        "",
        "since 3.2 s",
        "time left 0.0 s",
        "priority 5",
        "target vm-1",
        "at vm-1, for 2.0 s",
        "hedge at vm-2, for 0.2 s",
    ]


def test_requests_of_several_requesters_under_one_id_are_all_explained(port: HttpPort) -> None:
    headlines = [line for line in explained(port, WAITING, ASSIGNED) if line.startswith("Request ")]
    assert len(headlines) == 2


def test_any_request_id_can_be_asked_for(port: HttpPort) -> None:
    port.answers["/api/explain/a%2Fb%3Fc%20d%C3%A9%25"] = json.dumps(
        {"requests": [ASSIGNED], "job": None}
    ).encode()
    assert run(explain, "a/b?c d\u00e9%", "--http", port.url).exit_code == 0


def test_a_request_that_is_not_in_flight_is_one_line(port: HttpPort) -> None:
    text = "no request 'r1' is in flight: it has ended, or was never sent here"
    port.refusals["/api/explain/r1"] = (404, json.dumps({"error": text}).encode())
    result = run(explain, "r1", "--http", port.url)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"error: {text}\n")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error"', b'{"fault":1}', b"\xff"])
def test_a_refusal_without_a_text_is_shown_by_its_status(port: HttpPort, body: bytes) -> None:
    port.refusals["/api/explain/r1"] = (404, body)
    result = run(explain, "r1", "--http", port.url)
    line = f"error: {port.url}/api/explain/r1 answered 404 Not Found\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)


@pytest.mark.parametrize("body", [b"{}", b'{"requests":[{}]}', b'{"requests":[null]}', b'{"requests":7}'])
def test_an_answer_that_is_not_an_explanation_is_one_line(port: HttpPort, body: bytes) -> None:
    port.answers["/api/explain/r1"] = body
    result = run(explain, "r1", "--http", port.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot read" in result.stderr


# --- long lists ---


def test_all_pages_of_a_list_are_shown(port: HttpPort) -> None:
    first, second = WORKERS["workers"]
    port.answers["/api/workers"] = json.dumps({"workers": [first], "next": "a/b &c"}).encode()
    rest = "/api/workers?limit=1000&after=a%2Fb%20%26c"
    port.answers[rest] = json.dumps({"workers": [second], "next": None}).encode()
    result = run(workers, "--http", port.url, "--json")
    assert [row["worker_id"] for row in json.loads(result.stdout)["workers"]] == ["vm-1", "[red]vm-2[/red]"]
    port.answers["/api/status"] = json.dumps(STATUS | {"next": "echo"}).encode()
    more = {"commands": [{"command": "zip", "worker_count": 1, "queued_count": 0}], "next": None}
    port.answers["/api/commands?limit=1000&after=echo"] = json.dumps(more).encode()
    shown = run(status, "--http", port.url).stdout
    assert "echo" in shown
    assert "zip" in shown


@pytest.mark.parametrize("page", [b"[]", b"{}", b'{"workers":3,"next":null}', b'{"workers":[],"next":7}'])
def test_a_page_that_is_none_is_one_line(port: HttpPort, page: bytes) -> None:
    port.answers["/api/workers"] = b'{"workers":[],"next":"a"}'
    port.answers["/api/workers?limit=1000&after=a"] = page
    result = run(workers, "--http", port.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot read the answer" in result.stderr


def test_the_pages_that_are_asked_for_are_bounded(port: HttpPort) -> None:
    page = b'{"workers":[],"next":"a"}'
    port.answers["/api/workers"] = port.answers["/api/workers?limit=1000&after=a"] = page
    assert run(workers, "--http", port.url).exit_code == 0
    assert len(port.authorizations) == http_port.PAGES_COUNT_MAX + 1


def test_a_worker_says_how_many_more_commands_it_serves(port: HttpPort) -> None:
    worker = WORKERS["workers"][0] | {"commands_count": 1002}
    port.answers["/api/workers"] = json.dumps({"workers": [worker]}).encode()
    assert "echo, get_time, and 1,000 more" in run(workers, "--http", port.url).stdout


def test_a_broker_that_starts_says_what_it_waits_for(port: HttpPort) -> None:
    starting = STATUS | {"state": "starting", "unready_commands": ["resize", "zip"]}
    port.answers["/api/status"] = json.dumps(starting).encode()
    shown = run(status, "--http", port.url).stdout
    assert "starting" in shown
    assert "resize, zip" in shown


# --- the address, and what may be found there ---


def test_the_address_may_come_by_environment(port: HttpPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_HTTP", port.url)
    port.answers["/api/workers"] = b'{"workers":[]}'
    assert run(workers).exit_code == 0


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"workers":[{}]}', b'{"workers":3}', b"\xff"])
def test_an_answer_that_is_not_a_brokers_is_one_line(port: HttpPort, body: bytes) -> None:
    port.answers["/api/workers"] = body
    result = run(workers, "--http", port.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: cannot read the answer of {port.url}: is it the HTTP port of a Taskferry broker?\n"
    )


def test_an_http_error_is_one_line(port: HttpPort) -> None:
    result = run(status, "--http", port.url)
    assert (result.exit_code, result.stderr) == (1, f"error: {port.url}/api/status answered 404 Not Found\n")


def test_no_broker_is_one_line_with_what_to_do() -> None:
    result = run(status, "--http", "http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == (
        "error: cannot connect to http://127.0.0.1:1: connection refused. "
        "Is a broker running there? Start one with: taskferry broker\n"
    )


def test_a_broker_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port, "ANSWER_S_MAX", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = run(status, "--http", url)
    assert result.exit_code == 5
    assert result.stderr.startswith(f"error: cannot connect to {url}: no answer within 0.1 s; check host")


def test_a_port_that_speaks_no_http_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as strange:

        def greet() -> None:
            connection, _ = strange.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-strange\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        result = run(status, "--http", f"http://127.0.0.1:{strange.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 5
    assert "SSH-2.0-strange" in result.stderr
    assert result.stderr.count("\n") == 1


@each_case(
    "url", ["localhost:8767", "http://", "http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:0"]
)
def test_an_address_that_is_none_is_one_line(url: str) -> None:
    result = run(status, "--http", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: --http: {url!r} is not a URL of the form http://HOST:PORT\n"


# --- jobs ---

JOBS: dict[str, Any] = {
    "submitted_count": 12000,
    "duplicates_count": 3,
    "states": {
        "ready": 1200,
        "delayed": 10,
        "held": 0,
        "assigned": 4,
        "done": 9000,
        "dead": 2,
        "cancelled": 0,
    },
    "ended": {"done": 9000, "dead: handler_error": 2},
    "refused": {"journal_failed": 7},
    "counts": {"attempts": 9010, "lost": 1, "adopted": 0, "runs_skipped": 5},
    "oldest_ready_s": 90.0,
    "journal": {
        "path": "/var/lib/taskferry/journal.db",
        "size_bytes": 3_670_016,
        "free_bytes": 5 * 1024**3,
        "error": None,
    },
}


def test_status_has_the_lines_of_jobs_if_the_broker_keeps_them(port: HttpPort) -> None:
    port.answers["/api/status"] = json.dumps(STATUS | {"jobs": JOBS}).encode()
    lines = [" ".join(line.split()) for line in run(status, "--http", port.url).stdout.splitlines()]
    first = lines.index("jobs submitted 12,000")
    assert lines[first - 1] == ""
    assert lines[first : lines.index("", first)] == [
        "jobs submitted 12,000",
        "duplicates 3",
        "done 9,000",
        "dead: handler_error 2",
        "refused: journal_failed 7",
        "jobs now 1,200 ready, 10 delayed, 4 assigned, 9,000 done, 2 dead",
        "oldest ready for 1.5 min",
        "attempts 9,010",
        "lost 1",
        "runs skipped 5",
        "journal /var/lib/taskferry/journal.db: 3.5 MiB, 5.0 GiB free on its disk",
    ]
    assert lines[-2:] == ["command workers queued", "echo 2 4"]
    failing = JOBS["journal"] | {"error": "journal /x: the disk is full", "free_bytes": None}
    idle = JOBS | {"journal": failing, "states": dict.fromkeys(JOBS["states"], 0), "oldest_ready_s": None}
    port.answers["/api/status"] = json.dumps(STATUS | {"jobs": idle}).encode()
    text = " ".join(run(status, "--http", port.url).stdout.split())
    assert "jobs now none" in text
    assert "journal.db: 3.5 MiB failing no job is accepted: journal /x: the disk is full" in text
    assert "oldest" not in text
    off = {"jobs": None, "jobs_error": "journal /x: another broker has it"}
    port.answers["/api/status"] = json.dumps(STATUS | off).encode()
    assert "jobs  none are kept: journal /x: another broker has it" in run(status, "--http", port.url).stdout
    port.answers["/api/status"] = json.dumps(STATUS | {"jobs": None}).encode()
    assert "job" not in run(status, "--http", port.url).stdout


JOB: dict[str, Any] = {
    "job_id": "j1",
    "command": "resize",
    "state": "accepted",
    "owner": "shop",
    "target": {"zone": "a"},
    "priority": 5,
    "attempt": 1,
    "attempts": 10,
    "losses": 1,
    "age_s": 7200.0,
    "run_at": 1_790_000_000.0,
    "key": "user-7",
    "schedule": "nightly",
    "code": "handler_error",
    "worker_id": None,
    "jobs_before_count": 3,
    "jobs_before_count_is_exact": True,
    "waits_for": [],
    "journal_error": None,
    "workers_count": 1,
    "matching_count": 1,
    "workers": [
        {
            "worker_id": "vm-1",
            "state": "healthy",
            "in_flight": 4,
            "concurrency": 4,
            "reason": "4 of 4 slots taken",
        }
    ],
    "summary": "waits for a free slot: 3 jobs go before it",
}


def test_a_job_is_explained(port: HttpPort) -> None:
    assert explained(port, job=JOB) == [
        "Job j1 (resize) waits for a free slot: 3 jobs go before it.",
        "",
        "submitted 2.0 h ago, by shop",
        "attempts 1 of 10",
        "priority 5",
        "workers lost 1",
        "place in line 4",
        "target zone=a",
        "key user-7",
        "schedule nightly",
        "",
        "worker state in flight can it take the job?",
        "vm-1 healthy 4/4 4 of 4 slots taken",
    ]


def test_a_job_that_is_next_is_explained_with_its_attempt(port: HttpPort) -> None:
    attempt = WAITING | {"is_job": True, "remaining_s": None}
    lines = explained(port, attempt, job=JOB | {"summary": "is next and waits for a free slot"})
    assert lines[0] == "Job j1 (resize) is next and waits for a free slot."
    assert "Its attempt waits for a free slot at one of its 2 workers." in lines
    assert "time left any" in lines
    assert sum(line.startswith("worker state") for line in lines) == 1


def test_a_held_job_names_what_it_waits_for_and_a_failing_journal_is_told(port: HttpPort) -> None:
    held = {
        "state": "held",
        "summary": "waits until other jobs are done: a (assigned), b (dead)",
        "waits_for": [{"job_id": "a", "state": "assigned"}, {"job_id": "b", "state": "dead"}],
        "journal_error": "journal /x: the disk is full",
        "jobs_before_count": None,
    }
    lines = explained(port, job=JOB | held)
    assert "waits for a (assigned)" in lines
    assert "b (dead)" in lines
    assert any(line.startswith("journal failing") and line.endswith("the disk is full") for line in lines)
    assert not any(line.startswith(("place in line", "worker state")) for line in lines)


def test_the_oldest_jobs_are_listed_beside_the_requests(port: HttpPort) -> None:
    row = {"command": "mail", "owner": "shop", "priority": 5, "attempt": 0, "ready_s": 120.0}
    jobs = {
        "states": JOBS["states"],
        "commands": [],
        "oldest": [{"job_id": f"j{n}", **row} for n in range(2)],
    }
    answer = {"requests": [], "queued_count": 0, "jobs": jobs}
    port.answers["/api/explain"] = json.dumps(answer).encode()
    lines = [" ".join(line.split()) for line in run(explain, "--http", port.url).stdout.splitlines() if line]
    assert lines == [
        "No request waits for a free slot.",
        "1,200 jobs are ready for a worker, the 2 that have waited longest:",
        "job command ready for priority attempts",
        "j0 mail 2.0 min 5 0",
        "j1 mail 2.0 min 5 0",
    ]
    port.answers["/api/explain"] = json.dumps(answer | {"jobs": jobs | {"oldest": []}}).encode()
    assert run(explain, "--http", port.url).stdout.endswith("No job waits for a worker.\n")
