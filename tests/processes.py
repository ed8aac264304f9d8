"""Programs under test as real processes: started, their output read, signalled, measured and ended.

Everything here blocks: in a coroutine that must run on meanwhile, call it with `asyncio.to_thread`.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import psutil

from tests.printed_secrets import check_no_token
from tests.warm_start import WarmProcess, can_be_warm, server

PATIENCE_S: Final = 20.0
"""How long to wait for anything before it counts as hanging: far more than it takes on a busy machine."""
LOOK_INTERVAL_S: Final = 0.01
ENDING_S: Final = (0.5, 4.0)
"""How long to wait for a program that a test has left running, after a first and after a second SIGTERM."""

_READY: Final = re.compile(
    r"taskferry broker ready: workers (?P<workers>wss?://\S+)  requesters (?P<requesters>wss?://\S+)  http (?P<http>https?://\S+)"
    r"  api (?P<api>https?://\S+)"
)


class Hangs(AssertionError):
    """An expected condition did not become true in time."""


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Return once `condition` is true. Raises Hangs, naming `what`, if that takes over `timeout_s` seconds."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise Hangs(f"not within {timeout_s:g} s: {what}")
        time.sleep(LOOK_INTERVAL_S)


class Program:
    """A program in a separate process, its output in two files. A context manager: the process has ended after it, and
    has printed no token.

    `arguments` are those of the Python interpreter, `"-m", "taskferry.broker", "--http-port", "0"` or a script, or of
    `executable`. `environment` is added to that of this process. `wrapper`: the words of a command that sets something
    up and then becomes the program, such as `nsenter --net=...`.

    A program of ours without a wrapper starts from a copy that has its imports (see `tests.warm_start`), unless
    `is_warm` is False: that is for a test of the start itself, or of what the machine shows of the process.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        executable: str = sys.executable,
        wrapper: Sequence[str] = (),
        is_warm: bool = True,
    ) -> None:
        self.arguments = arguments
        number = len(list(folder.glob("*.stdout")))
        self._stdout_path = folder / f"{number}.stdout"
        self._stderr_path = folder / f"{number}.stderr"
        whole_environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **(environment or {})}
        is_plain = executable == sys.executable and not wrapper
        self._popen: subprocess.Popen[bytes] | WarmProcess
        with self._stdout_path.open("wb") as stdout, self._stderr_path.open("wb") as stderr:
            if is_warm and is_plain and can_be_warm(arguments, whole_environment):
                self._popen = server().start(
                    arguments, whole_environment, self._stdout_path, self._stderr_path
                )
            else:
                self._popen = subprocess.Popen(
                    [*wrapper, executable, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=whole_environment,
                    # A Ctrl-C on the developer's terminal is for pytest, which ends this process in order.
                    start_new_session=True,
                )
        self._process = psutil.Process(self._popen.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        check_no_token(self.stdout + self.stderr, " ".join(self.arguments))

    def end(self) -> None:
        """Make sure that it has ended: SIGTERM twice (on the second it may stop at once), then SIGKILL. A program that
        ends by itself also writes its coverage data."""
        for patience_s in ENDING_S:
            if self.exit_code is not None:
                return
            self.terminate()
            self.thaw()  # a frozen one handles no signal
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(patience_s)
        if self.exit_code is None:
            self.kill()
            self._popen.wait(PATIENCE_S)

    # --- output ---

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdout(self) -> str:
        """Everything that it has printed so far."""
        return self._stdout_path.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """Everything that it has printed to standard error so far: logs and errors."""
        return self._stderr_path.read_text(errors="replace")

    def wait_for_stdout(self, pattern: str | re.Pattern[str], timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """The first match of `pattern` in its output. Raises AssertionError if it ends or times out without one."""
        return self._wait_for(pattern, lambda: self.stdout, timeout_s)

    def wait_for_stderr(self, pattern: str | re.Pattern[str], timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """The same for standard error."""
        return self._wait_for(pattern, lambda: self.stderr, timeout_s)

    def _wait_for(
        self, pattern: str | re.Pattern[str], printed: Callable[[], str], timeout_s: float
    ) -> re.Match[str]:
        give_up_at = time.monotonic() + timeout_s
        while True:
            has_ended = self.exit_code is not None
            found = re.search(pattern, printed())
            if found is not None:
                return found
            if has_ended or time.monotonic() > give_up_at:
                what = f"ended with exit code {self.exit_code}" if has_ended else f"waited {timeout_s:g} s"
                raise Hangs(
                    f"{' '.join(self.arguments)}: {what} without {pattern!r}; "
                    f"it printed {self.stdout[-2000:]!r} and {self.stderr[-2000:]!r}"
                )
            time.sleep(LOOK_INTERVAL_S)

    # --- signals and the end ---

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number if one ended it."""
        return self._popen.poll()

    def send_signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._popen.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM."""
        self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: it closes nothing itself; the kernel closes its sockets."""
        self._popen.send_signal(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: alive and silent, its sockets open, like a machine that hangs."""
        self._popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._popen.send_signal(signal.SIGCONT)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Waits until it has ended; returns its exit code."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Hangs(
                f"{' '.join(self.arguments)}: still running after {timeout_s:g} s; {self.stderr[-2000:]!r}"
            ) from None

    # --- cost ---

    def cpu_s(self) -> float:
        """CPU seconds, user and system, since it started."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        """Resident memory now, in bytes."""
        return int(self._process.memory_info().rss)

    def open_files_count(self) -> int:
        """File descriptors open now, sockets included."""
        return int(self._process.num_fds())


class Broker(Program):
    """A broker on free ports, ready to serve, with a journal of its own in `folder`. `options` as on its command line;
    they may name other ports, or another journal. `program`: the arguments of the Python interpreter that start it."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        program: Sequence[str] = ("-m", "taskferry.broker"),
        is_warm: bool = True,
    ) -> None:
        free_ports = ("--worker-port", "0", "--requester-port", "0", "--http-port", "0", "--api-port", "0")
        number = len(list(folder.glob("*.stdout")))
        journal = ("--journal", str(folder / f"{number}.journal.db"))
        # Most tests say when their workers come; what waits for them has tests of its own.
        arguments = (*program, *free_ports, *journal, "--start-wait", "0", *options)
        super().__init__(folder, *arguments, environment=environment, wrapper=wrapper, is_warm=is_warm)
        try:
            ready = self.wait_for_stdout(_READY)
        except AssertionError:
            self.end()
            raise
        self.worker_url = ready["workers"]
        self.requester_url = ready["requesters"]
        self.http_url = ready["http"]
        self.api_url = ready["api"]

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """HTTP status and body of `path` on its HTTP port. Raises OSError if it does not listen there."""
        request = urllib.request.Request(self.http_url + path, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        """`/api/status`."""
        view: dict[str, Any] = json.loads(self.get("/api/status")[1])
        return view

    def worker(self, worker_id: str) -> dict[str, Any]:
        """The row of one worker, with all of its commands. Raises ValueError if it is not connected."""
        (row,) = json.loads(self.get(f"/api/workers?worker_id={worker_id}")[1])["workers"]
        assert isinstance(row, dict)
        return row

    def workers(self) -> dict[str, dict[str, Any]]:
        """The rows of `/api/workers` by worker_id, of all pages."""
        rows: dict[str, dict[str, Any]] = {}
        after: str | None = ""
        while after is not None:
            page = json.loads(
                self.get(f"/api/workers?limit=1000&after={urllib.parse.quote(after, safe='')}")[1]
            )
            rows |= {row["worker_id"]: row for row in page["workers"]}
            after = page["next"]
        return rows


class Programs:
    """Starts programs, all of which are ended at the end of a test, whatever happens in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        executable: str = sys.executable,
        wrapper: Sequence[str] = (),
        is_warm: bool = True,
    ) -> Program:
        """A program; `arguments` are those of the Python interpreter, or of `executable`."""
        return self._stack.enter_context(
            Program(
                self.folder,
                *arguments,
                environment=environment,
                executable=executable,
                wrapper=wrapper,
                is_warm=is_warm,
            )
        )

    def start_broker(
        self,
        *options: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        program: Sequence[str] = ("-m", "taskferry.broker"),
        is_warm: bool = True,
    ) -> Broker:
        """A broker for this test alone, ready to serve."""
        broker = Broker(
            self.folder,
            *options,
            environment=environment,
            wrapper=wrapper,
            program=program,
            is_warm=is_warm,
        )
        return self._stack.enter_context(broker)

    def close(self) -> None:
        self._stack.close()


@contextmanager
def programs_in(folder: Path) -> Iterator[Programs]:
    """Programs whose output is in `folder`."""
    programs = Programs(folder)
    try:
        yield programs
    finally:
        programs.close()
