"""SIGHUP means reload, unless the terminal was closed: then a program stops, as usual."""

import signal

import pytest

from tests.processes import Broker, Programs, wait_until

ON_A_TERMINAL = """
import os, pty, signal, sys

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
signal.signal(signal.SIGUSR1, lambda *_: os.close(terminal))
try:
    while words := os.read(terminal, 4096):
        os.write(1, words)
except OSError:
    pass
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Runs a program on its own terminal, which SIGUSR1 closes. Exits as the program does."""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")


def test_a_broker_drains_and_stops(programs: Programs) -> None:
    ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")
    broker = programs.start("-c", ON_A_TERMINAL, "-m", "taskferry.broker", *ports)
    broker.wait_for_stdout("started on ")
    broker.send_signal(signal.SIGUSR1)
    assert broker.wait() == 0


def test_a_worker_drains_and_stops(programs: Programs, broker: Broker) -> None:
    arguments = ("--broker", broker.worker_url, "--name", "on-terminal")
    worker = programs.start("-c", ON_A_TERMINAL, "-m", "taskferry.worker", *arguments)
    worker.wait_for_stdout("connected to ")
    worker.send_signal(signal.SIGUSR1)
    assert worker.wait() == 0
    broker.wait_for_stderr("worker on-terminal is leaving")


def test_a_requester_ends(programs: Programs, broker: Broker) -> None:
    arguments = ("echo", "--count", "1000000", "--broker", broker.requester_url)
    requester = programs.start("-c", ON_A_TERMINAL, "-m", "taskferry.requester", *arguments)
    wait_until(lambda: broker.status()["submitted_count"], "it sends")
    requester.send_signal(signal.SIGUSR1)
    assert requester.wait() != 0


def test_a_requester_ends_where_ctrl_c_was_ignored(programs: Programs, broker: Broker) -> None:
    arguments = ("echo", "--count", "1000000", "--broker", broker.requester_url)
    background = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + ON_A_TERMINAL
    requester = programs.start("-c", background, "-m", "taskferry.requester", *arguments)
    wait_until(lambda: broker.status()["submitted_count"], "it sends")
    requester.send_signal(signal.SIGUSR1)
    assert requester.wait() != 0
