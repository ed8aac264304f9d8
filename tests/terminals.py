"""Runs our programs as a person does: at a terminal."""

import os
import subprocess
import sys

import pytest


def at_terminal(broker_url: str, *words: str, typed: bytes = b"") -> tuple[int, str]:
    """Run `taskferry` at a terminal of 120 columns, against this broker. Returns its exit code, and all that it wrote
    there."""
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskferry.cli", *words, "--broker", broker_url],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"},
    )
    os.close(follower)
    os.write(leader, typed)
    seen = b""
    try:
        while True:
            try:
                more = os.read(leader, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not more:
                break
            seen += more
        return process.wait(20), seen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)
