"""`taskferry drain` against an HTTP server that answers as a broker would."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result
from taskferry.cli import drain as drain_module
from taskferry.cli.drain import drain

from tests.processes import wait_until
from tests.terminals import run_at_terminal
from tests.unit.cli.fake_http_port import HttpPort

DRAIN = "/api/workers/vm-1/drain"
LOOK = "/api/workers?worker_id=vm-1"


@pytest.fixture(autouse=True)
def _polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "POLL_INTERVAL_S", 0.01)


def row(in_flight: int, state: str = "draining", worker_id: str = "vm-1") -> dict[str, Any]:
    """The part of a worker's row that matters here."""
    reason = "drained by an operator" if state == "draining" else None
    return {"worker_id": worker_id, "state": state, "reason": reason, "in_flight": in_flight}


def answers_with(port: HttpPort, first: dict[str, Any], *later: Sequence[dict[str, Any]]) -> None:
    """The answer to the POST, and the workers at each poll after it. The last one stays."""
    looks = list(later)

    def look() -> bytes:
        return json.dumps({"workers": looks.pop(0) if len(looks) > 1 else looks[0]}).encode()

    port.answers[DRAIN] = json.dumps(first).encode()
    if later:
        port.answers[LOOK] = look


def run(port: HttpPort, *arguments: str) -> Result:
    return CliRunner().invoke(drain, [*arguments, "--http", port.url])


def test_a_worker_with_nothing_in_flight_is_drained_at_once(port: HttpPort) -> None:
    answers_with(port, row(0))
    result = run(port, "vm-1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "vm-1 is drained: nothing in flight\n"
    assert port.posted == [(DRAIN, "application/json", {"undo": False})]


def test_it_is_followed_until_it_has_finished(port: HttpPort) -> None:
    other = row(7, "healthy", "vm-2")
    answers_with(port, row(3), [other, row(2)], [row(1), other], [other, row(0)])
    result = run(port, "vm-1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "vm-1 is drained: nothing in flight\n"
    assert len(port.posted) == 1


def fleet(port: HttpPort) -> None:
    """Three workers, each idle once it is drained, and gone ones forgotten."""
    rows = []
    for worker_id, gpu in (("node-1", "yes"), ("node-2", "no"), ("edge-1", "yes")):
        labels = {"gpu": gpu, "zone": worker_id[-1]}
        rows.append(row(0, "healthy", worker_id) | {"labels": labels})
        port.answers[f"/api/workers/{worker_id}/drain"] = json.dumps(
            rows[-1] | {"state": "draining"}
        ).encode()
    port.answers["/api/workers"] = json.dumps({"workers": rows}).encode()


@pytest.mark.parametrize(
    ("words", "drained"),
    [
        (["node-*"], ["node-1", "node-2"]),
        (["*-[1]"], ["node-1", "edge-1"]),
        (["--label", "gpu=yes"], ["node-1", "edge-1"]),
        (["--label", "gpu=yes", "--label", "gpu=no"], ["node-1", "node-2", "edge-1"]),
        (["--label", "gpu=yes", "--label", "zone=2"], []),
        (["node-*", "--label", "gpu=yes"], ["node-1"]),
        (["node-1", "--label", "gpu=no"], []),
        (["nod*e"], []),
    ],
)
def test_a_pattern_and_labels_stand_for_all_that_match(
    port: HttpPort, words: list[str], drained: list[str]
) -> None:
    fleet(port)
    result = run(port, *words)
    assert [path.split("/")[3] for path, *_ in port.posted] == drained
    if drained:
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == "".join(f"{name} is drained: nothing in flight\n" for name in drained)
        rows = json.loads(run(port, *words, "--json").stdout)["workers"]
        assert [each["worker_id"] for each in rows] == drained
    else:
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: no connected worker matches ")


def test_one_of_many_that_does_not_finish_is_the_exit_code(port: HttpPort) -> None:
    fleet(port)
    for name in ("node-1", "edge-1"):
        port.answers[f"/api/workers/{name}/drain"] = json.dumps(row(2, worker_id=name)).encode()
    now = [row(2, worker_id=name) | {"labels": {"gpu": "yes"}} for name in ("node-1", "edge-1")]
    for each in tuple(now):
        look = json.dumps({"workers": [each]}).encode()
        port.answers[f"/api/workers?worker_id={each['worker_id']}"] = look
    now.append(row(0, "healthy", "node-2") | {"labels": {"gpu": "yes"}})
    port.answers["/api/workers"] = json.dumps({"workers": now}).encode()
    result = run(port, "--label", "gpu=yes", "--wait", "0.05")
    assert (result.exit_code, result.stdout) == (3, "node-2 is drained: nothing in flight\n")
    assert result.stderr == "".join(
        f"error: {name} still has 2 in flight after 0.05 s; it gets no new requests\n"
        for name in ("node-1", "edge-1")
    )


def test_neither_a_name_nor_a_label_is_wrong(port: HttpPort) -> None:
    result = run(port)
    assert result.exit_code == 2
    assert "Missing argument 'WORKER', or --label" in result.stderr


def test_with_json_the_last_row_is_printed(port: HttpPort) -> None:
    answers_with(port, row(3), [row(0) | {"peer": "somewhere"}])
    result = run(port, "vm-1", "--json")
    assert json.loads(result.stdout) == row(0) | {"peer": "somewhere"}
    assert result.stdout.count("\n") == 1


def test_without_waiting_it_is_only_drained(port: HttpPort) -> None:
    answers_with(port, row(3))
    result = run(port, "vm-1", "--wait", "0")
    assert (result.exit_code, result.stdout) == (0, "vm-1 drains: 3 in flight\n")


def test_not_finishing_in_time_is_exit_code_3(port: HttpPort) -> None:
    answers_with(port, row(3), [row(2)])
    result = run(port, "vm-1", "--wait", "0.05")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == ("error: vm-1 still has 2 in flight after 0.05 s; it gets no new requests\n")


def test_a_worker_that_leaves_meanwhile_is_drained_too(port: HttpPort) -> None:
    answers_with(port, row(3), [row(1)], [row(5, worker_id="vm-2")])
    result = run(port, "vm-1")
    assert (result.exit_code, result.stdout) == (0, "vm-1 has left\n")


def test_somebody_may_take_it_back_meanwhile(port: HttpPort) -> None:
    answers_with(port, row(3), [row(3, "healthy")])
    result = run(port, "vm-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: vm-1 is no longer drained: somebody has undone it\n"


def test_undo_gives_it_requests_again(port: HttpPort) -> None:
    answers_with(port, row(3, "healthy"))
    result = run(port, "vm-1", "--undo")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "vm-1 is given requests again (healthy)\n"
    assert port.posted == [(DRAIN, "application/json", {"undo": True})]


def test_undo_does_not_keep_a_worker_that_leaves_by_itself(port: HttpPort) -> None:
    answers_with(port, row(3) | {"reason": "it said disconnect"})
    result = run(port, "vm-1", "--undo")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: vm-1 leaves by itself: it said disconnect\n"


def test_a_worker_that_is_not_there_is_one_line(port: HttpPort) -> None:
    port.refusals[DRAIN] = (404, b'{"error": "no worker \'vm-1\' is connected"}')
    result = run(port, "vm-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: no worker 'vm-1' is connected\n"


def test_any_worker_id_can_be_named(port: HttpPort) -> None:
    port.answers["/api/workers/host%3A7%2Fa%40b/drain"] = json.dumps(row(0, worker_id="host:7/a@b")).encode()
    result = run(port, "host:7/a@b")
    assert result.stdout == "host:7/a@b is drained: nothing in flight\n"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"worker_id":"vm-1"}'])
def test_an_answer_that_is_not_a_brokers_is_one_line(port: HttpPort, body: bytes) -> None:
    port.answers[DRAIN] = body
    result = run(port, "vm-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: cannot read the answer of {port.url}: is it the HTTP port of a Taskferry broker?\n"
    )


@pytest.mark.parametrize("body", [b"[]", b'{"workers":[{}]}', b'{"workers":[null]}'])
def test_an_answer_that_is_not_a_list_of_workers_is_one_line(port: HttpPort, body: bytes) -> None:
    answers_with(port, row(3))
    port.answers[LOOK] = body
    result = run(port, "vm-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot read" in result.stderr


def test_a_broker_that_goes_away_meanwhile_is_one_line(port: HttpPort) -> None:
    answers_with(port, row(3))
    port.refusals[LOOK] = (503, b"")
    result = run(port, "vm-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {port.url}/api/workers?... answered 503 Service Unavailable\n"


def test_nobody_there_is_exit_code_5() -> None:
    result = CliRunner().invoke(drain, ["vm-1", "--http", "http://127.0.0.1:1"])
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("error: cannot connect to http://127.0.0.1:1: connection refused. ")


@pytest.mark.parametrize("wait", ["-1", "3601", "nan", "soon"])
def test_a_wait_that_makes_no_sense_is_exit_code_2(port: HttpPort, wait: str) -> None:
    assert run(port, "vm-1", "--wait", wait).exit_code == 2
    assert port.posted == []


def in_a_terminal(
    port: HttpPort, while_it_runs: Callable[[subprocess.Popen[bytes]], None]
) -> tuple[int, str]:
    """The exit code of `taskferry drain vm-1`, and all that was on the terminal."""
    program = (
        "from taskferry.cli import drain; drain.POLL_INTERVAL_S = 0.01\n"
        "from taskferry.cli.main import main; main()"
    )
    return run_at_terminal(
        [sys.executable, "-c", program, "drain", "vm-1", "--http", port.url], while_it_runs=while_it_runs
    )


def test_on_a_terminal_progress_is_shown_and_wiped(port: HttpPort) -> None:
    answers_with(port, row(3), [row(2)], [row(0)])
    code, seen = in_a_terminal(port, lambda _: None)
    assert code == 0
    lines = seen.split("\r\x1b[K")
    assert lines == [
        "",
        "vm-1 drains: 3 in flight",
        "vm-1 drains: 2 in flight",
        "vm-1 is drained: nothing in flight\r\n",
    ]


def test_ctrl_c_while_waiting_is_130_without_a_word(port: HttpPort) -> None:
    looks: list[bytes] = []

    def look() -> bytes:
        looks.append(json.dumps({"workers": [row(3)]}).encode())
        return looks[-1]

    def interrupt(process: subprocess.Popen[bytes]) -> None:
        wait_until(lambda: len(looks) > 2, "it looks again")
        process.send_signal(signal.SIGINT)

    answers_with(port, row(3))
    port.answers[LOOK] = look
    code, seen = in_a_terminal(port, interrupt)
    assert code == 130
    assert set(seen.rstrip().split("\r\x1b[K")) == {"", "vm-1 drains: 3 in flight"}
