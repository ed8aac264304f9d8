"""The sources of a broker's settings, and the errors for wrong ones: real processes, exit codes and output."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Programs

USAGE_ERROR = 2
FREE_PORTS = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def last_words(programs: Programs, *options: str, environment: dict[str, str] | None = None) -> str:
    """The output of a broker that cannot start: one line, on standard error only."""
    broker = programs.start("-m", "taskferry.broker", *FREE_PORTS, *options, environment=environment)
    assert broker.wait() == USAGE_ERROR
    assert broker.stdout == ""
    (line,) = broker.stderr.splitlines()
    return line


@pytest.mark.parametrize("port", ["worker", "requester", "http", "api"])
def test_a_port_in_use_is_one_clear_line(programs: Programs, taken_port: int, port: str) -> None:
    line = last_words(programs, f"--{port}-port", str(taken_port))
    assert line == f"error: {port} port 127.0.0.1:{taken_port}: already in use by another program"


def test_the_same_port_twice_is_one_clear_line(programs: Programs, taken_port: int) -> None:
    # Free one, and configure it twice.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    line = last_words(programs, "--worker-port", port, "--http-port", port)
    assert line == f"error: [broker] http_port: {port} is worker_port already; each needs a number of its own"


def test_a_host_of_another_machine_is_one_clear_line(programs: Programs) -> None:
    assert last_words(programs, "--host", "192.0.2.1", "--insecure").startswith(
        "error: worker port 192.0.2.1:0: "
    )


def test_an_unknown_strategy_is_one_clear_line(programs: Programs) -> None:
    line = last_words(programs, "--strategy", "fastest")
    assert line == (
        "error: --strategy: 'fastest' is unknown; "
        "one of least_loaded, round_robin, random, weighted_random, weighted_round_robin, power_of_two, "
        "latency_aware, consistent_hash"
    )


def test_a_bad_file_is_one_clear_line(programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    assert last_words(programs, "--config", str(path)) == f"error: {path}: No such file or directory"
    path.write_text("[broker]\nworkerport = 1\n")
    line = last_words(programs, "--config", str(path))
    assert line == f"error: {path}: [broker] workerport: no such setting; did you mean worker_port?"


def test_a_bad_environment_is_refused(programs: Programs) -> None:
    line = last_words(programs, environment={"TASKFERRY_BROKER_TIMEOUT": "-1"})
    assert line == (
        "error: TASKFERRY_BROKER_TIMEOUT: expected a number of seconds over 0 and at most 3600, got -1"
    )


def test_flag_before_environment_before_file_before_default(programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text('[broker]\nstrategy = "random"\nmessage_size_bytes_max = 20_000\n')
    file = ("--config", str(path))
    environment = {"TASKFERRY_BROKER_STRATEGY": "weighted_random"}
    started = [
        programs.start_broker(),
        programs.start_broker(*file),
        programs.start_broker(*file, environment=environment),
        programs.start_broker(environment={**environment, "TASKFERRY_BROKER_CONFIG": str(path)}),
        programs.start_broker(*file, "--strategy", "round_robin", environment=environment),
    ]
    assert [broker.status()["strategy"] for broker in started] == [
        "least_loaded",
        "random",
        "weighted_random",
        "weighted_random",
        "round_robin",
    ]


def test_the_ready_line_names_the_ports(programs: Programs) -> None:
    broker = programs.start_broker()
    urls = (broker.worker_url, broker.requester_url, broker.http_url)
    assert all(url.partition("://")[2].startswith("127.0.0.1:") for url in urls)
    assert len({url.rsplit(":", 1)[1] for url in urls} - {"0"}) == 3
    assert broker.stdout.count("\n") == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_broker_can_listen_on_ipv6(programs: Programs) -> None:
    broker = programs.start_broker("--host", "::1")
    assert broker.worker_url.startswith("ws://[::1]:")
    assert broker.get("/healthz") == (200, "ok\n")


def test_the_log_level_is_a_setting(programs: Programs) -> None:
    for level, says_so in (("info", True), ("warning", False)):
        broker = programs.start_broker("--log-level", level)
        broker.terminate()
        assert broker.wait() == 0
        assert ("stopped" in broker.stderr) == says_so
