"""The log of `taskferry request`: quiet by default, JSON on request, no data; SIGHUP does not end it."""

import json
import signal
import socket

import pytest

from tests.processes import Broker, Programs, wait_until

SECRET = "SECRET-4711"


@pytest.fixture
def empty_port() -> int:
    """A port that no program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_it_is_quiet_by_default(programs: Programs, empty_port: int) -> None:
    url = f"ws://ada:{SECRET}@127.0.0.1:{empty_port}/?token={SECRET}"
    arguments = ("-m", "taskferry.requester", "echo", f"password={SECRET}", "--broker", url, "--wait")
    quiet = programs.start(*arguments, "--timeout", "0.3")
    assert quiet.wait() != 0
    place = f"ws://...@127.0.0.1:{empty_port}/?..."
    (line,) = quiet.stderr.splitlines()
    assert line.startswith("error: ")
    assert place in line
    logged = programs.start(*arguments, "--timeout", "0.3", "--log-level", "warning", "--log-format", "json")
    assert logged.wait() != 0
    event = json.loads(logged.stderr.splitlines()[0])
    assert (event["event"], event["url"], event["reason"]) == (
        "connection_failed",
        place,
        "connection refused",
    )
    loud = programs.start(*arguments, "--timeout", "0.3", "--log-level", "debug")
    assert loud.wait() != 0
    assert SECRET not in quiet.stderr + logged.stderr + loud.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_hangup_does_not_end_a_request(programs: Programs, broker: Broker) -> None:
    arguments = ("-m", "taskferry.requester", "echo", "message=x", "--broker", broker.requester_url)
    requester = programs.start(*arguments, "--count", "1000000", "--timeout", "5")
    wait_until(lambda: broker.status()["submitted_count"], "it sends")
    before = broker.status()["submitted_count"]
    requester.send_signal(signal.SIGHUP)
    requester.wait_for_stderr("a request keeps the settings that it was started with")
    wait_until(lambda: broker.status()["submitted_count"] > before + 100, "it continues")
    requester.interrupt()
    assert requester.wait() == 130
