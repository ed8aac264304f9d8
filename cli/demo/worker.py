"""A worker of the demo: `taskferry worker` in its own process, which can be killed and restarted.

Must not know brokers or requests.
"""

import os
import subprocess
import sys
import tempfile
from typing import Final


class DemoFailed(Exception):
    """The demo cannot go on: one line for people."""


TASKS: Final = "taskferry.cli.demo.tasks:worker"


class WorkerProcess:
    """A worker with the commands of the demo. `start` and `kill` may be called repeatedly, then `close`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._was_killed = False
        self._popen: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - an unread pipe would block it

    @property
    def process_id(self) -> int | None:
        """None before the first start."""
        return None if self._popen is None else self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether there is no process, or it has ended."""
        return self._popen is None or self._popen.poll() is not None

    @property
    def state(self) -> str:
        """For people, while it is not connected."""
        if self._was_killed:
            return "killed"
        return "gone" if self._popen is not None and self.has_ended else "starting"

    def start(self, url: str) -> None:
        """Start a new process for the broker at `url`. Returns before it is connected. Raises DemoFailed."""
        self._end()
        self._was_killed = False
        arguments = ("--broker", url, "--name", self.name, "--log-level", "error", "--child", "0")
        try:
            self._popen = subprocess.Popen(
                # -P: a file in the current directory must not replace a module that a worker needs
                [sys.executable, "-P", "-m", "taskferry.worker", TASKS, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                env={name: value for name, value in os.environ.items() if not name.startswith("TASKFERRY_")},
                start_new_session=True,  # a Ctrl-C on the terminal is only for this process
            )
        except OSError as error:
            raise DemoFailed(f"{self.name}: {sys.executable} does not start: {error.strerror}") from None

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._was_killed = True
        if self._popen is not None:
            self._popen.kill()

    def ask_to_stop(self) -> None:
        """Make it drain."""
        if self._popen is not None and self._popen.stdin is not None:
            self._popen.stdin.close()

    def close(self) -> None:
        """End it, and free what it uses."""
        self._end()
        self._stderr.close()

    def describe_end(self) -> str:
        """Its exit code, and its last line on standard error if there is one."""
        self._stderr.seek(0)
        words = self._stderr.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(words) if line.strip()), "it said nothing")
        code = None if self._popen is None else self._popen.poll()
        return f"{self.name} ended with exit code {code}: {last}"

    def _end(self) -> None:
        self.ask_to_stop()
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
