"""A broker that a console brings up with it, in a process of its own.

Its log is printed as it comes: above the prompt, while there is one. It is not in the terminal's group, so that Ctrl-C
is the console's alone.
"""

import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Final

from ...program import exit_codes

READY_S_MAX: Final = 60.0
"""How long a broker may take to be ready: opening a large journal takes seconds."""

STOP_S_MAX: Final = 5.0
"""How much longer than its grace period a broker may take to end before it is killed."""

_READY: Final = re.compile(
    r"workers (?P<worker>wss?://\S+)\s+requesters (?P<broker>wss?://\S+)\s+http (?P<http>https?://\S+)"
)
"""In the line that a broker prints once it listens."""


class NotStarted(Exception):
    """The broker has ended instead of starting, and has said why; or does not become ready. `exit_code`: that of the
    console then."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class OwnBroker:
    """Made by starting it.

    Attributes: `worker_url`, as it was printed; `broker_url` and `http_url`, its other ports, as a console connects to
    them."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """`arguments`: those of `taskferry broker`. Raises NotStarted, and OSError if there can be no process."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskferry.cli.console.kept_broker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._is_stopping = False
        self._log = threading.Thread(target=_pass_on, args=(self._process.stderr,), daemon=True)
        self._log.start()
        timer = threading.Timer(READY_S_MAX, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
            ready = _READY.search(line)
        finally:
            timer.cancel()
        if ready is None:
            code = self.stop(0.0)
            raise NotStarted(code or exit_codes.FAILED)
        self.worker_url = ready["worker"]
        self.broker_url = _reachable(ready["broker"])
        self.http_url = _reachable(ready["http"])

    @property
    def has_ended(self) -> bool:
        """It does not run any more, although nobody has stopped it."""
        return self._process.poll() is not None

    @property
    def end(self) -> str:
        """How it ended, to follow "the broker"."""
        return exit_codes.describe(self._process.returncode)

    def stop(self, grace_s: float) -> int:
        """Let it drain, for at most `grace_s` seconds, and end. Returns its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(grace_s + STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._log.join(STOP_S_MAX)
        return code if code >= 0 else 128 - code


def _pass_on(log: IO[str]) -> None:
    for line in log:
        sys.stderr.write(line)
        sys.stderr.flush()


def _reachable(url: str) -> str:
    """A broker that listens on all addresses is reached on this machine's own."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
