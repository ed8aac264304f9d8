"""Handlers that tests run in processes: functions of a module, as such handlers must be."""

import contextlib
import decimal
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct
from taskferry.worker import CommandError, Context, Dead, Retry
from taskferry.worker.failure import ContextCancelled


class AwkwardError(Exception):
    """Cannot be unpickled: a pool that sent it across would break."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.two = two


class Clinging(Struct):
    """Can be decoded from JSON, but not be sent to another process."""

    number: int

    def __reduce__(self) -> NoReturn:
        raise TypeError("I stay here")


def take(clinging: Clinging) -> int:
    return clinging.number


def square(number: int) -> dict[str, int]:
    return {"square": number * number, "pid": os.getpid()}


def fail_awkwardly() -> NoReturn:
    raise AwkwardError(1, 2)


def fail_on_purpose(code: str = "closed_today") -> NoReturn:
    raise CommandError("not today", code=code)


def ask_for_another_attempt() -> NoReturn:
    raise Retry(after=7, text="in a week of seconds", code="busy")


def give_up() -> NoReturn:
    raise Dead("closed for good")


def give_up_without_a_word() -> NoReturn:
    raise Dead(threading.Lock(), code=threading.Lock())  # type: ignore[arg-type]


def leave() -> NoReturn:
    raise SystemExit("gone")


def die(signum: int | None = None) -> NoReturn:
    if signum is not None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # else faulthandler writes to where the tests write
        os.kill(os.getpid(), signum)
    os._exit(7)


def return_lock() -> Any:
    return threading.Lock()


def return_text(size: int) -> str:
    return "x" * size


def sleep_until_gone(path: str) -> str:
    """Write a file to show that it runs, and end when the file is removed."""
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    while Path(path).exists():
        time.sleep(0.01)
    return "woken"


def clean_up(path: str) -> None:
    """Like `sleep_until_gone`, but it is this handler that removes the file, when it is interrupted."""
    try:
        sleep_until_gone(path)
    finally:
        Path(path).unlink()


def never_stop(path: str) -> None:
    """Start a program, write a file, and go on whatever happens."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]):
        while True:
            with contextlib.suppress(BaseException):
                sleep_until_gone(path)


def shut_channel(before: str, after: str) -> int:
    """Return the number of the process. Once the file `before` is gone, shut the socket that the process shares with
    its worker, write the file `after`, and do not end."""
    threading.Thread(target=_shut_sockets, args=(Path(before), Path(after))).start()
    return os.getpid()


def _shut_sockets(before: Path, after: Path) -> None:
    while before.exists():
        time.sleep(0.005)
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            socket.socket(fileno=os.dup(descriptor)).shutdown(socket.SHUT_RDWR)
    after.write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(60)


def join(*, function: str, context: str, trace: str) -> str:
    """Has parameters named as those of the functions that call handlers."""
    return function + context + trace


TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


def leave_traces(tenant: str = "", precision: int = 0) -> list[Any]:
    """The context as this call found it, which it then changes."""
    found = [TENANT.get(), decimal.getcontext().prec]
    if tenant:
        TENANT.set(tenant)
    if precision:
        decimal.getcontext().prec = precision
    return found


def half(number: int) -> Any:
    """A plain function around a coroutine."""
    return _half(number)


async def _half(number: int) -> float:
    return number / 2


def send_numbers(count: int, size: int, context: Context, path: str = "") -> dict[str, Any]:
    """Send `count` chunks with so many digits, and write a file then; the number of the process, and what the context
    says."""
    for number in range(count):
        context.send(f"{number:0{size}}")
    context.progress(1.0, "all sent")
    if path:
        Path(path).write_text("all sent", encoding="utf-8")
    return {
        "pid": os.getpid(),
        "facts": [context.request_id, context.command, context.worker_id, context.attempt, context.job_id],
        "is_in_time": 0 < context.remaining_s <= 60,
        "cancelled": context.cancelled,
    }


def yield_numbers(count: int, size: int = 1, path: str = "") -> Generator[str, None, int]:
    """The same as a generator, whose result is its process. If it is closed, it writes where into the file."""
    try:
        for number in range(count):
            yield f"{number:0{size}}"
    except GeneratorExit:
        Path(path).write_text(f"closed in {os.getpid()}", encoding="utf-8")
        raise
    return os.getpid()


def send_until_cancelled(path: str, context: Context) -> None:
    try:
        while True:
            context.send("x" * 1000)
    except ContextCancelled:
        Path(path).write_text("cancelled", encoding="utf-8")
        raise


def report_often(count: int, seconds: float, context: Context) -> None:
    for number in range(count):
        context.progress(current=number + 1, total=count)
        time.sleep(seconds)


def send_lock(context: Context) -> None:
    context.send(threading.Lock())


def forge_chunk() -> None:
    """Write a chunk to the channel that nobody wants, and do not end."""
    _write_to_sockets((2).to_bytes(8, "big") + b"c1", 1)
    time.sleep(60)


def forge_chunks(count: int, context: Context) -> None:
    """The same with many, past the window."""
    _write_to_sockets((2).to_bytes(8, "big") + b"c1", count)
    time.sleep(60)


def forge_word() -> None:
    """The same with a word of progress that is none."""
    _write_to_sockets((2).to_bytes(8, "big") + b"p1", 1)
    time.sleep(60)


def _write_to_sockets(message: bytes, count: int) -> None:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            channel = socket.socket(fileno=os.dup(descriptor))
            for _ in range(count):
                channel.sendall(message)


def leave_sender(context: Context) -> str:
    """Return while a thread still sends and reports; what became of it comes with the next call of `left_sender`."""
    threading.Thread(target=_send_on, args=(context,)).start()
    return "left"


def left_sender() -> list[str]:
    return LEFT


LEFT: list[str] = []


def _send_on(context: Context) -> None:
    try:
        while True:
            context.send("x" * 1000)
            context.progress(0.5)
            time.sleep(0.001)
    except RuntimeError as error:
        context.progress(0.9)
        LEFT.append(str(error))


def send_from_child(context: Context) -> list[Any]:
    """A forked child cannot send; its exit code says so."""
    child = os.fork()
    if not child:
        code = 1
        context.progress(0.5)
        try:
            context.send("from the child")
        except RuntimeError:
            code = 7
        os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


def yield_trace_ids(function: str) -> Generator[list[str], None, None]:
    """Twice the argument, and the trace of the span that is current."""
    from opentelemetry.trace import get_current_span

    for _ in range(2):
        yield [function, f"{get_current_span().get_span_context().trace_id:032x}"]


def send_and_die(count: int, context: Context) -> None:
    for number in range(count):
        context.send(number)
    os.kill(os.getpid(), signal.SIGKILL)
