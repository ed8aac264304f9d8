"""Runs our programs as a person does: at a terminal."""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

ENDS_S_MAX = 20.0

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


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


class Conversation:
    """A program at a terminal, and whoever types there."""

    def __init__(self, process: "subprocess.Popen[bytes]", leader: int) -> None:
        self.process = process
        self._leader = leader

    def type(self, text: str, *, until: str) -> None:
        """Type this, and wait until something that matches `until` is written after that, whatever its colours."""
        os.write(self._leader, text.encode())
        seen = ""
        ends_at = time.monotonic() + ENDS_S_MAX
        while not re.search(until, _ESCAPES.sub("", seen), re.DOTALL):
            left_s = ends_at - time.monotonic()
            assert left_s > 0, f"{seen!r} does not match {until!r}"
            if select.select([self._leader], [], [], left_s)[0]:
                seen += os.read(self._leader, 65536).decode(errors="replace")


@contextmanager
def conversation(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Conversation]:
    """Run this at a terminal within the block. It ends with the block at the latest."""
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(follower)
    try:
        yield Conversation(process, leader)
    finally:
        process.kill()
        process.wait()
        os.close(leader)
