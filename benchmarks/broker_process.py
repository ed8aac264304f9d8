"""One broker as a real process: started on its core, its addresses read, measured from outside, stopped."""

import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from .cores import pinned_to

# RabbitMQ takes 5 s on an idle machine.
START_TIMEOUT_S = 60.0
# A broker with nothing in flight stops at once; SIGKILL is for one that hangs.
STOP_TIMEOUT_S = 15.0
POLL_INTERVAL_S = 0.02


class BrokerFailed(Exception):
    """The broker did not start, or never printed where it listens. The text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where requesters and workers connect: host and TCP port of each. They may be the same."""

    requesters: tuple[str, int]
    workers: tuple[str, int]


class BrokerProcess:
    """A running broker. Its figures cover the whole process, all its threads, and the processes that it had started
    by the time it was ready: RabbitMQ is a script, a virtual machine and its helpers."""

    __slots__ = ("_processes", "addresses")

    def __init__(self, pid: int, addresses: Addresses) -> None:
        process = psutil.Process(pid)
        self._processes = (process, *process.children(recursive=True))
        self.addresses = addresses

    def cpu_s(self) -> float:
        """CPU seconds, user and system, since it started.

        On Linux from the process's own CPU clock, in nanoseconds: the ticks in /proc/PID/stat are 10 ms, several
        per cent of a short run. The clock's number is the one that clock_getcpuclockid(3) computes for a pid.
        """
        return sum(_cpu_s(process) for process in self._processes)

    def rss_bytes(self) -> int:
        """Resident memory now, in bytes."""
        return sum(int(process.memory_info().rss) for process in self._processes)


def _cpu_s(process: psutil.Process) -> float:
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def running_broker(
    command: Sequence[str], find_addresses: Callable[[str], Addresses | None], core: int | None
) -> Iterator[BrokerProcess]:
    """Runs `command` on `core` within the block and stops it after.

    `{folder}` in an argument stands for a temporary folder that is removed when the process has ended.
    `find_addresses` gets everything that the process has printed so far and returns None until it is ready to serve.
    Raises BrokerFailed if it does not start, or is not ready within START_TIMEOUT_S.
    """
    with tempfile.TemporaryDirectory(prefix="taskferry-bench-") as folder:
        # A file, not a pipe: an unread pipe would block a broker that logs.
        output = Path(folder, "output")
        arguments = [argument.replace("{folder}", folder) for argument in command]
        with pinned_to(core), output.open("wb") as writable:
            try:
                process = subprocess.Popen(arguments, stdout=writable, stderr=subprocess.STDOUT)
            except OSError as error:
                raise BrokerFailed(f"{command[0]} does not start: {error.strerror}") from error
        try:
            addresses = _await_addresses(process, shlex.join(arguments), output, find_addresses)
            yield BrokerProcess(process.pid, addresses)
        finally:
            _stop(process)


def stop_brokers_on_signals() -> None:
    """Makes SIGTERM end the program as Ctrl-C does, so that no broker is left behind; both work in the background too.

    An event loop knows how to end on Ctrl-C: an exception raised by our own handler would be lost in whatever callback
    it interrupts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


def _await_addresses(
    process: subprocess.Popen[bytes],
    command_line: str,
    output: Path,
    find_addresses: Callable[[str], Addresses | None],
) -> Addresses:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        exit_code = process.poll()
        printed = output.read_text(errors="replace")
        last_line = (printed.strip().splitlines() or ["(it printed nothing)"])[-1]
        if exit_code is not None:
            raise BrokerFailed(f"{command_line} ended with exit code {exit_code}: {last_line}")
        addresses = find_addresses(printed)
        if addresses is not None:
            return addresses
        if time.monotonic() > deadline:
            raise BrokerFailed(
                f"{command_line} printed no addresses within {START_TIMEOUT_S:g} s: {last_line}"
            )
        time.sleep(POLL_INTERVAL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
