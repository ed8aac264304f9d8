"""Runs our programs as a person does: at a terminal."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import pytest

ENDS_S_MAX = 20.0


def run_at_terminal(
    command: Sequence[str | bytes],
    *,
    typed: bytes | None = b"",
    environment: Mapping[str, str] | None = None,
    while_it_runs: Callable[["subprocess.Popen[bytes]"], None] | None = None,
) -> tuple[int, str]:
    """Run this with its output at a terminal, and its input too unless `typed` is None. Returns its exit code, and all
    that it wrote there."""
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if typed is None else follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", **(environment or {})},
    )
    os.close(follower)
    try:
        if typed:
            os.write(leader, typed)
        if while_it_runs is not None:
            while_it_runs(process)
        seen = b""
        while True:
            try:
                more = os.read(leader, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not more:
                break
            seen += more
        return process.wait(ENDS_S_MAX), seen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def at_terminal(broker_url: str, *words: str, typed: bytes = b"") -> tuple[int, str]:
    """Run `taskferry` at a terminal of 120 columns, without colours, against this broker. Returns its exit code, and
    all that it wrote there."""
    return run_at_terminal(
        [sys.executable, "-m", "taskferry.cli", *words, "--broker", broker_url],
        typed=typed,
        environment={"COLUMNS": "120", "NO_COLOR": "1"},
    )
