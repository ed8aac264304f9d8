"""A log that nobody reads: a pipe that is full stops neither a broker nor a worker, nor their ends."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, Broker, Programs, wait_until

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has small pipes")

PIPE_SIZE_BYTES = 4096
END_S_MAX = 5.0


@contextmanager
def unread() -> Iterator[int]:
    """The end to write to of a small pipe that nobody reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE_BYTES)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def test_a_broker_serves_on_and_ends() -> None:
    with unread() as writing:
        ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")
        broker = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "taskferry.broker",
                *ports,
                "--journal",
                "none",
                "--log-level",
                "debug",
                "--log-format",
                "json",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
        )
        try:
            assert broker.stdout is not None
            http_url = broker.stdout.readline().split()[-3]
            for _ in range(100):
                broker.send_signal(signal.SIGHUP)  # each is a line of over 100 bytes
                with urllib.request.urlopen(f"{http_url}/healthz", timeout=PATIENCE_S) as answer:
                    assert answer.status == 200
            began_at = time.monotonic()
            broker.terminate()
            assert broker.wait(PATIENCE_S) == 0
            assert time.monotonic() - began_at < END_S_MAX
        finally:
            broker.kill()
            broker.communicate()


LOGGING_WORKER = """
import logging
import multiprocessing
from taskferry.worker import Worker

worker = Worker(name="wordy")

@worker.command()
def talk() -> str:
    for _ in range(100):
        logging.getLogger("talk").warning("x" * 200)
    return "said"

@worker.command()
def fork_and_talk() -> int:
    process = multiprocessing.get_context("fork").Process(target=talk)
    process.start()
    process.join()
    return process.exitcode

if __name__ == "__main__":
    import sys
    worker.run(sys.argv[1])
"""


def test_a_worker_answers_on_and_ends_and_so_do_the_children_of_its_handlers(
    programs: Programs, broker: Broker, tmp_path: Path
) -> None:
    script = tmp_path / "wordy.py"
    script.write_text(LOGGING_WORKER)
    with unread() as writing:
        worker = subprocess.Popen(
            [sys.executable, str(script), broker.worker_url],
            stdin=subprocess.DEVNULL,
            stderr=writing,
        )
        try:
            wait_until(lambda: "wordy" in broker.workers(), "it is connected")
            for command, result in (("talk", '"said"'), ("talk", '"said"'), ("fork_and_talk", "0")):
                request = programs.start(
                    *("-m", "taskferry.requester", command, "--broker", broker.requester_url)
                )
                assert request.wait() == 0, request.stderr
                assert request.stdout.strip() == result
            began_at = time.monotonic()
            worker.terminate()
            assert worker.wait(PATIENCE_S) == 0
            assert time.monotonic() - began_at < END_S_MAX
        finally:
            worker.kill()
            worker.wait()
