"""`taskferry request`, `workers` and `status` as a person or a script runs them, against a real broker and worker."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from tests.processes import Broker, Programs, programs_in, wait_until
from tests.terminals import run_at_terminal

TIMEOUT_S = 20

WORKER = """
import asyncio
from taskferry.worker import CommandError, Worker

worker = Worker(concurrency=64)

@worker.command("cli_same")
async def same(value: object = None) -> object:
    return value

@worker.command("cli_sleep")
async def sleep(seconds: float = 60) -> str:
    await asyncio.sleep(seconds)
    return "slept"

@worker.command("cli_fail")
async def fail() -> None:
    raise CommandError("too blue", code="too_blue")
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with one worker, for all tests here: none of them disturbs it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "cli_tasks.py").write_text(WORKER)
    with programs_in(folder) as programs:
        broker = programs.start_broker("--grace", "0")
        programs.start(
            "-m", "taskferry.worker", "cli_tasks:worker", "--broker", broker.worker_url,
            environment={"PYTHONPATH": str(folder)},
        )  # fmt: skip
        wait_until(broker.workers, "the worker")
        yield broker


def taskferry(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one run in pipes."""
    done = subprocess.run(
        [sys.executable, "-m", "taskferry.cli", *(argument.encode() for argument in arguments)],
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def request(broker: Broker, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    return taskferry("request", "--broker", broker.requester_url, *arguments, stdin=stdin)


def taskferry_on_a_terminal(*arguments: str) -> tuple[int, str]:
    """Exit code and everything that a person sees, without the terminal's escape sequences."""
    code, seen = run_at_terminal(
        [sys.executable, "-m", "taskferry.cli", *(argument.encode() for argument in arguments)],
        typed=None,
        environment={"COLUMNS": "120"},
    )
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r\n", "\n")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- data and results ---


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_pairs_in_and_json_out(served: Broker, encoding: str) -> None:
    code, stdout, stderr = request(served, "cli_same", 'value={"a":[1,"ü",null]}', "--encoding", encoding)
    assert (code, stdout, stderr) == (0, '{"a":[1,"ü",null]}\n', "")


def test_json_file_and_standard_input(served: Broker, tmp_path: Path) -> None:
    path = tmp_path / "data.msgpack"
    path.write_bytes(msgpack.packb({"value": [1, 2]}))
    assert request(served, "cli_same", '{"value": 1.5}') == (0, "1.5\n", "")
    assert request(served, "cli_same", f"@{path}") == (0, "[1,2]\n", "")
    assert request(served, "cli_same", "-", stdin=b'{"value": true}') == (0, "true\n", "")


def test_a_text_is_quoted_unless_raw(served: Broker) -> None:
    assert request(served, "cli_same", "value=Hello")[1] == '"Hello"\n'
    assert request(served, "cli_same", "value=Hello", "--raw")[1] == "Hello\n"


def test_json_prints_the_whole_response(served: Broker) -> None:
    code, stdout, stderr = request(served, "cli_same", "value=1", "--json")
    response = json.loads(stdout)
    assert (code, stderr, stdout.count("\n")) == (0, "", 1)
    assert list(response) == ["request_id", "success", "data", "error", "processed_by"]
    assert (response["success"], response["data"]) == (True, 1)
    assert response["processed_by"] in served.workers()


def test_options_are_read_from_the_environment_too(served: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFERRY_REQUEST_BROKER", served.requester_url)
    monkeypatch.setenv("TASKFERRY_REQUEST_JSON", "1")
    code, stdout, _ = taskferry("request", "cli_same", "value=1")
    assert code == 0
    assert json.loads(stdout)["data"] == 1


def test_the_module_does_the_same(served: Broker) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "taskferry.requester",
            "cli_same",
            "value=1",
            "--broker",
            served.requester_url,
        ],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")


# --- failures and their exit codes ---


def test_a_failed_command_is_1(served: Broker) -> None:
    code, stdout, stderr = request(served, "cli_fail")
    assert (code, stdout) == (1, "")
    assert re.fullmatch(r"error: too blue \[too_blue, \S+\]\n", stderr)


def test_with_json_a_failed_command_is_reported_on_standard_output(served: Broker) -> None:
    code, stdout, stderr = request(served, "cli_fail", "--json")
    response = json.loads(stdout)
    assert (code, stderr) == (1, "")
    assert (response["success"], response["data"], response["error"], response["code"]) == (
        False,
        None,
        "too blue",
        "too_blue",
    )


def test_a_timeout_is_3(served: Broker) -> None:
    code, stdout, stderr = request(served, "cli_sleep", "--timeout", "0.2")
    assert (code, stdout) == (3, "")
    assert stderr.startswith("error: Worker response timeout [timeout, ")


def test_no_worker_is_4(served: Broker) -> None:
    code, stdout, stderr = request(served, "nobody_serves_this")
    assert (code, stdout) == (4, "")
    assert (
        stderr == "error: No available workers: no worker serves 'nobody_serves_this'; start one that does "
        "[no_available_workers, not delivered]. "
        "To see which worker serves what: taskferry workers\n"
    )


def test_what_cannot_be_delivered_is_kept_as_a_job_on_request(served: Broker) -> None:
    words = ["nobody_serves_this", "n=1", "--otherwise", "submit"]
    code, stdout, stderr = request(served, *words)
    job_id = stdout.strip()
    assert code == 8
    assert stderr == (
        "not delivered, so it is kept as a job, which waits for a worker that serves nobody_serves_this. "
        f"Its result: taskferry job result {job_id}\n"
    )
    shown = json.loads(taskferry("job", "show", job_id, "--json", "--broker", served.requester_url)[1])
    assert (shown["state"], shown["command"]) == ("accepted", "nobody_serves_this")
    code, stdout, stderr = request(served, *words, "--json")
    response = json.loads(stdout)
    assert (code, stderr, response["success"], response["code"]) == (8, "", False, None)
    code, stdout, _ = request(served, *words, "--count", "3", "--json")
    assert (code, json.loads(stdout)["kept"], json.loads(stdout)["succeeded"]) == (8, 3, 0)
    assert "kept as jobs  " in request(served, *words, "--count", "3")[1]
    assert request(served, "cli_same", "value=1", "--otherwise", "submit") == (0, "1\n", "")


@pytest.mark.parametrize("options", [[], ["--wait", "--timeout", "0.3"], ["--count", "3"]])
def test_no_broker_is_5_and_the_line_says_what_to_do(options: list[str]) -> None:
    url = f"ws://127.0.0.1:{closed_port()}"
    code, stdout, stderr = taskferry("request", "echo", "--broker", url, *options)
    assert (code, stdout) == (5, "")
    assert stderr == (
        f"error: Cannot connect to the broker at {url}: connection refused [cannot_connect, not delivered]. "
        "Is a broker running there? Start one with: taskferry broker\n"
    )


def test_a_broker_that_dies_meanwhile_is_5(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "cli_tasks.py").write_text(WORKER)
    broker = programs.start_broker("--grace", "0")
    worker = programs.start(
        "-m", "taskferry.worker", "cli_tasks:worker", "--broker", broker.worker_url,
        environment={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    wait_until(broker.workers, "the worker")
    asking = programs.start("-m", "taskferry.cli", "request", "cli_sleep", "--broker", broker.requester_url)
    wait_until(lambda: broker.status()["in_flight_count"], "the request")
    broker.kill()
    assert asking.wait() == 5
    assert "the command may have run" in asking.stderr
    assert "--idempotent sends it again" in asking.stderr
    worker.kill()


def test_wait_waits_for_a_broker(programs: Programs) -> None:
    port = closed_port()
    asking = programs.start(
        "-m", "taskferry.cli", "request", "nobody_serves_this", "--wait", "--broker", f"ws://127.0.0.1:{port}"
    )
    programs.start_broker("--requester-port", str(port), "--grace", "0")
    assert asking.wait() == 4


def test_ctrl_c_is_130_and_cancels_the_request(served: Broker, programs: Programs) -> None:
    asking = programs.start("-m", "taskferry.cli", "request", "cli_sleep", "--broker", served.requester_url)
    wait_until(lambda: any(row["in_flight"] for row in served.workers().values()), "the request")
    asking.interrupt()
    assert asking.wait() == 130
    assert (asking.stdout, asking.stderr) == ("", "")
    wait_until(lambda: not any(row["in_flight"] for row in served.workers().values()), "the request's end")


def test_a_reader_that_closes_the_pipe_causes_no_traceback(served: Broker) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "taskferry.cli",
            "request",
            "cli_same",
            "value=1",
            "--broker",
            served.requester_url,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert b"Traceback" not in running.stderr.read()
        assert running.wait(TIMEOUT_S) == 1


# --- many ---


def test_many_requests_are_summed_up(served: Broker) -> None:
    code, stdout, stderr = request(served, "cli_same", "--count", "200", "--concurrency", "16")
    assert (code, stderr) == (0, "")
    rows = dict(line.rsplit(maxsplit=1) for line in stdout.splitlines() if not line.endswith((" s", " ms")))
    assert (rows["requests"], rows["succeeded"]) == ("200", "200")
    assert re.search(r"^p99 +[\d.,]+ ms$", stdout, re.MULTILINE)


def test_the_summary_as_json(served: Broker) -> None:
    code, stdout, _ = request(served, "cli_same", "--count", "50", "--concurrency", "50", "--json")
    facts = json.loads(stdout)
    assert (code, facts["requests"], facts["succeeded"], facts["failed"]) == (0, 50, 50, {})
    assert facts["duration_s"]["p50"] <= facts["duration_s"]["max"]


def test_many_failures_have_the_exit_code_of_the_most_frequent(served: Broker) -> None:
    code, stdout, stderr = request(served, "nobody_serves_this", "--count", "5", "--json")
    assert code == 4
    assert json.loads(stdout)["failed"] == {"no_available_workers": 5}
    assert stderr.startswith("error: No available workers")


def test_an_interrupted_run_is_summed_up(served: Broker, programs: Programs) -> None:
    asking = programs.start(
        "-m", "taskferry.cli", "request", "cli_same", "--count", "10000000", "--concurrency", "4", "--json",
        "--broker", served.requester_url,
    )  # fmt: skip
    (worker,) = served.workers()
    before = served.workers()[worker]["succeeded_count"]
    wait_until(lambda: served.workers()[worker]["succeeded_count"] > before + 100, "some requests")
    asking.send_signal(signal.SIGINT)
    assert asking.wait() == 130
    facts = json.loads(asking.stdout)
    assert 100 < facts["requests"] < 10_000_000
    assert asking.stderr == ""


# --- each line of a file ---


def test_each_line_is_a_request_and_its_outcome_a_line_in_the_same_order(
    served: Broker, tmp_path: Path
) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(f'{{"value": {number}}}\n' for number in range(500)))
    code, stdout, stderr = request(served, "cli_same", "--each", str(file))
    assert [json.loads(line) for line in stdout.splitlines()] == [
        {"line": number + 1, "success": True, "data": number} for number in range(500)
    ]
    assert (code, stderr) == (0, "500 lines: 500 succeeded\n")


def test_as_they_come_a_slow_line_holds_up_no_other(served: Broker) -> None:
    lines = b'{"seconds": 0.5}\n\n{"seconds": 0}\n{"seconds": 0}\n'
    words = ("cli_sleep", "--each", "-", "--concurrency", "2")
    code, stdout, _ = request(served, *words, "--as-they-come", stdin=lines)
    assert (code, [json.loads(line)["line"] for line in stdout.splitlines()]) == (0, [3, 4, 1])
    code, stdout, _ = request(served, *words, "--json", stdin=lines)
    responses = [json.loads(line) for line in stdout.splitlines()]
    assert [response["line"] for response in responses] == [1, 3, 4]
    assert {response["processed_by"] for response in responses} == set(served.workers())


def test_a_line_that_fails_says_so_in_its_place(served: Broker) -> None:
    lines = b'{"value": 1}\n{"value": 1,}\n{"no": 1}\n[1\n'
    code, stdout, stderr = request(served, "cli_same", "--each", "-", stdin=lines)
    facts = [json.loads(line) for line in stdout.splitlines()]
    assert [fact.get("code") for fact in facts] == [None, "bad_data", "bad_request", "bad_data"]
    assert facts[1]["error"] == "line 2: not valid JSON: trailing comma in object (byte 12)"
    assert facts[2]["processed_by"] in served.workers()
    assert stderr.startswith("4 lines: 1 succeeded, 3 failed\nerror: ")
    assert code == 1


def test_what_each_line_cannot_be_combined_with(served: Broker, tmp_path: Path) -> None:
    for words, text in (
        (["a=1", "--each", "-"], "--each takes its DATA from the file, once: leave out DATA and --count"),
        (["--count", "2", "--each", "-"], "--each takes its DATA from the file, once"),
        (["--as-they-come"], "--as-they-come needs --each"),
        (["--each", str(tmp_path / "none.jsonl")], "none.jsonl: no such file or directory"),
    ):
        code, stdout, stderr = request(served, "cli_same", *words)
        assert (code, stdout) == (2, "")
        assert text in stderr


def test_lines_that_cannot_be_delivered_are_kept_as_jobs_on_request(served: Broker) -> None:
    words = ("nobody_serves_this", "--each", "-", "--otherwise", "submit")
    code, stdout, stderr = request(served, *words, stdin=b"1\n2\n")
    assert (code, stderr) == (8, "2 lines: 0 succeeded, 2 kept as jobs\n")
    for line in stdout.splitlines():
        job_id = json.loads(line)["job_id"]
        assert taskferry("job", "cancel", job_id, "--broker", served.requester_url)[0] == 0


def test_an_interrupted_file_says_how_far_it_came(served: Broker, programs: Programs, tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"seconds": 0}\n' * 3 + '{"seconds": 60}\n' * 10)
    asking = programs.start(
        "-m", "taskferry.cli", "request", "cli_sleep", "--each", str(file), "--broker", served.requester_url
    )
    wait_until(lambda: asking.stdout.count("\n") == 3, "the first three")
    asking.interrupt()
    assert asking.wait() == 130
    assert asking.stderr == "interrupted after 3 lines: 3 succeeded\n"
    wait_until(lambda: not any(row["in_flight"] for row in served.workers().values()), "the cancels")


# --- on a terminal ---


def test_on_a_terminal_the_result_is_indented(served: Broker) -> None:
    code, seen = taskferry_on_a_terminal(
        "request", "cli_same", 'value={"a":[1,"ü"]}', "--broker", served.requester_url
    )
    assert code == 0
    assert seen == '{\n  "a": [\n    1,\n    "ü"\n  ]\n}\n'


def test_on_a_terminal_a_run_has_a_progress_bar_and_a_table(served: Broker) -> None:
    code, seen = taskferry_on_a_terminal(
        "request", "cli_same", "--count", "300", "--broker", served.requester_url
    )
    assert code == 0
    assert "/300" in seen
    assert re.search(r"succeeded +300", seen)


def test_on_a_terminal_failures_are_rows_of_the_table(served: Broker) -> None:
    code, seen = taskferry_on_a_terminal(
        "request", "cli_fail", "--count", "3", "--broker", served.requester_url
    )
    assert code == 1
    assert re.search(r"failed: too_blue +3\n", seen)
    assert "error: too blue [too_blue, " in seen


# --- workers and status ---


def test_workers_and_status_of_a_real_broker(served: Broker) -> None:
    code, stdout, stderr = taskferry("workers", "--http", served.http_url)
    (worker,) = served.workers()
    assert (code, stderr) == (0, "")
    assert re.search(
        rf"^{re.escape(worker)} +healthy +\d+/64 .* cli_same, cli_sleep, cli_fail *$", stdout, re.MULTILINE
    )
    code, stdout, stderr = taskferry("status", "--http", served.http_url)
    assert (code, stderr) == (0, "")
    assert re.search(r"^workers +1 *$", stdout, re.MULTILINE)
    assert re.search(r"^cli_sleep +1 +0 *$", stdout, re.MULTILINE)


def test_workers_and_status_as_json(served: Broker) -> None:
    code, stdout, _ = taskferry("workers", "--json", "--http", served.http_url)
    assert code == 0
    assert [row["worker_id"] for row in json.loads(stdout)["workers"]] == list(served.workers())
    code, stdout, _ = taskferry("status", "--json", "--http", served.http_url)
    assert code == 0
    assert json.loads(stdout)["state"] == "serving"
