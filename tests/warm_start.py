"""Programs under test from a warm copy: what they import, two thirds of the CPU time of a short test, is imported once.

A server, one for each test process and started at its first use, has imported what broker, worker, requester and
command line import. For each start it forks a child, which becomes the program: it has the streams, the environment,
the folder, the umask and the arguments of a program that `python -m` starts, is the leader of a new session, and ends
as the interpreter ends. The server is single-threaded, has no event loop, and logs nothing.

It cannot show how a program starts: what it imports and how long that takes, closed standard streams, a signal while
it loads, what `ps` shows of it. `hash()` of a text is the same in all programs of one server.
"""

import atexit
import contextlib
import gc
import importlib
import multiprocessing.process
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Final, NamedTuple

PROGRAMS: Final = ("taskferry.broker", "taskferry.cli", "taskferry.requester", "taskferry.worker")
IMPORTED: Final = (
    "encodings.idna",
    "rich._emoji_codes",
    "rich.progress",
    "rich.table",
    "taskferry.broker.cli",
    "taskferry.broker.http.server",
    "taskferry.broker.run",
    "taskferry.broker.strategies",
    "taskferry.cli.inspection",
    "taskferry.cli.main",
    "taskferry.cli.tables",
    "taskferry.requester.arguments",
    "taskferry.requester.cli",
    "taskferry.requester.jobs.jobs_cli",
    "taskferry.requester.jobs.many",
    "taskferry.requester.jobs.one",
    "taskferry.requester.jobs.schedule_cli",
    "taskferry.requester.jobs.submit_cli",
    "taskferry.requester.jobs.tables",
    "taskferry.requester.program",
    "taskferry.requester.routing_arguments",
    "taskferry.worker.cli",
    "taskferry.worker.loading",
    "taskferry.worker.process_pool",
    "taskferry.worker.program",
    "taskferry.worker.service",
    "uvicorn.lifespan.off",
    "uvloop",
)
"""What the server imports: the programs, and what they import later. Not what takes the time as it is imported
(`taskferry.worker.system_info`)."""
CHANGEABLE: Final = ("COLUMNS", "PYTEST_", "TASKFERRY_")
"""What names of variables may begin with that differ from the server's: neither the interpreter nor a library reads
them before the program runs."""
PATIENCE_S: Final = 30.0
LOOK_INTERVAL_S: Final = 0.01
FOLDER: Final = Path(__file__).parents[1]

_ENVIRONMENT: Final = {**os.environ, "PYTHONUNBUFFERED": "1"}


class Start(NamedTuple):
    """What a program is started with. Text goes to the files at the two paths, which exist."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    stdout_path: str
    stderr_path: str
    folder: str
    umask: int


def can_be_warm(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a program may be started with these arguments of the interpreter and this whole environment. On Linux
    alone: macOS has libraries that forbid forks."""
    is_ours = sys.platform == "linux" and arguments[0] == "-m" and arguments[1] in PROGRAMS
    is_measured = any(name.startswith("COVERAGE") for name in environment)
    changed = {name for name, _ in environment.items() ^ _ENVIRONMENT.items()}
    return is_ours and not is_measured and all(name.startswith(CHANGEABLE) for name in changed)


# --- in the test process ---


class WarmProcess:
    """What `tests.processes` uses of a `subprocess.Popen`, for a child of the server. All of it raises AssertionError
    if the server has ended."""

    def __init__(self, server: "Server", pid: int) -> None:
        self.pid = pid
        self._server = server
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, minus the signal's number if one ended it; None while it runs."""
        if self._exit_code is None:
            self._exit_code = self._server.exit_code_of(self.pid)
        return self._exit_code

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        give_up_at = time.monotonic() + timeout
        while (exit_code := self.poll()) is None:
            if time.monotonic() > give_up_at:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(LOOK_INTERVAL_S)
        return exit_code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Server:
    """The server, as the test process sees it. Its methods may be called in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._last_words = ""
        self._channel, inner = Pipe()
        with inner:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.warm_start", str(inner.fileno())],
                cwd=FOLDER,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(inner.fileno(),),
                start_new_session=True,
            )

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdout_path: Path, stderr_path: Path
    ) -> WarmProcess:
        """`python -m MODULE ...` in the current folder. Raises AssertionError if the server cannot run."""
        with self._lock:
            umask = os.umask(0o077)
            os.umask(umask)
        _, module, *rest = arguments
        paths = (str(stdout_path), str(stderr_path), os.getcwd())
        pid = self._ask(tuple(Start(module, rest, environment, *paths, umask)))
        self._running.add(pid)
        return WarmProcess(self, pid)

    def exit_code_of(self, pid: int) -> int | None:
        exit_code: int | None = self._ask(pid)
        if exit_code is not None:
            self._running.discard(pid)
        return exit_code

    def _ask(self, question: object) -> Any:
        """The answer. If there is none, nor will be, the server and its programs are killed."""
        has_answered = False
        with self._lock:
            try:
                self._channel.send(question)
                if self._channel.poll(PATIENCE_S):
                    answer = self._channel.recv()
                    has_answered = True
                    return answer
            except (EOFError, OSError):
                pass
            finally:
                if not has_answered:
                    self._kill()
            raise AssertionError(
                f"the server of warm programs has ended, and they with it. {self._last_words}"
            )

    def _kill(self) -> None:
        self._popen.kill()
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._running.clear()
        if not self._last_words:
            printed = self._popen.communicate()[1].decode(errors="replace")
            self._last_words = f"Exit code {self._popen.returncode}; it printed {printed!r}"

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def close(self) -> None:
        """The server ends its programs and itself."""
        self._channel.close()
        if not self._last_words:
            self._popen.communicate(timeout=PATIENCE_S)


_server: Server | None = None
_server_lock = threading.Lock()


def server() -> Server:
    """That of this process; another if it has ended."""
    global _server  # noqa: PLW0603  one for each process
    with _server_lock:
        if _server is None or _server.has_ended:
            _server = Server()
            atexit.register(_server.close)
        return _server


# --- in the server, and in its children ---


def _serve(channel: Connection) -> Start:
    """Fork a child for each start, and report how each has ended, until the test process is gone; then kill those that
    run. Returns in the children alone."""
    running: set[int] = set()
    while True:
        try:
            question = channel.recv()
        except (EOFError, OSError):
            for pid in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            sys.exit()
        if isinstance(question, int):
            pid, status = os.waitpid(question, os.WNOHANG)
            running.discard(pid)
            channel.send(os.waitstatus_to_exitcode(status) if pid else None)
            continue
        pid = os.fork()
        if pid == 0:
            channel.close()
            return Start(*question)
        running.add(pid)
        channel.send(pid)


def _become(start: Start) -> None:
    """Give this child all that a program has that was executed."""
    os.setsid()
    os.chdir(start.folder)
    for number, path in ((1, start.stdout_path), (2, start.stderr_path)):
        os.dup2(os.open(path, os.O_WRONLY), number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))
    os.umask(start.umask)
    os.environ.clear()
    os.environ.update(start.environment)
    sys.path[0] = start.folder
    multiprocessing.process.ORIGINAL_DIR = start.folder  # type: ignore[attr-defined]
    sys.orig_argv = [sys.executable, "-m", start.module, *start.arguments]
    sys.argv = ["-m", *start.arguments]
    importlib.invalidate_caches()  # of folders that have changed since


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    del sys.modules["tests"]
    gc.collect()
    gc.freeze()  # a collection in a child would copy each page; a broker does the same
    start = _serve(Connection(int(sys.argv[1])))
    _become(start)
    # Not in a function, and nothing is caught: how it ends is up to the interpreter.
    runpy.run_module(start.module, run_name="__main__", alter_sys=True)
