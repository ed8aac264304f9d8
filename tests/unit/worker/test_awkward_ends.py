"""Whatever raises between a request's arrival and its response, only that request fails: it is answered, its slot is
free again, and the link stays."""

import asyncio
import dataclasses
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from taskferry.worker import CommandError, Retry, Worker
from taskferry.worker.process_pool import ProcessPool
from taskferry.worker.runner import Runner

from tests.unit.worker.fake_broker import Connection, FakeBroker


class Share(float):
    """A number of a class of its own, which no encoder takes."""


class Busy(CommandError):
    retry = Share(5)


class Exits(CommandError):
    @property
    def code(self) -> str:
        raise SystemExit("no code for you")

    @code.setter
    def code(self, code: str) -> None: ...


class Rude(TypeError):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@dataclasses.dataclass
class Exiting:
    """Raises what no `except Exception` catches when it is made."""

    number: int

    def __post_init__(self) -> None:
        raise SystemExit(self.number)


class Result(msgspec.Struct):
    """Is written by its attributes, and refuses one."""

    @property
    def error(self) -> NoReturn:
        raise Rude


class Members(dict[str, int]):
    def items(self) -> NoReturn:
        raise KeyboardInterrupt


@dataclasses.dataclass
class Lazy:
    """A dataclass whose attributes are computed when it is written."""

    kind: str

    def __getattribute__(self, name: str) -> Any:
        if name == "kind":
            raise ERRORS[object.__getattribute__(self, "__dict__")["kind"]]
        return object.__getattribute__(self, name)


ERRORS: dict[str, BaseException] = {
    "an exception for a text": CommandError(ValueError("odd"), code=404),  # type: ignore[arg-type]
    "a wait of a class of its own": Busy("later"),
    "a code that exits": Exits("x"),
    "rude": Rude(),
    "exit": SystemExit(3),
}


class Stage:
    """A worker with one slot, so that one that is lost is missed at once."""

    def __init__(self) -> None:
        self.worker = worker = Worker(concurrency=1)
        handlers: list[Callable[..., Any]] = [
            self.double,
            self.double_in_thread,
            self.raises,
            self.raises_in_thread,
            self.returns,
            self.returns_in_thread,
            self.takes,
        ]
        for handler in handlers:
            worker.command()(handler)

    async def double(self, number: int) -> int:
        return number * 2

    def double_in_thread(self, number: int) -> int:
        return number * 2

    async def raises(self, kind: str) -> None:
        raise ERRORS[kind]

    def raises_in_thread(self, kind: str) -> None:
        raise ERRORS[kind]

    async def returns(self, kind: str) -> Any:
        return Lazy(kind)

    def returns_in_thread(self, kind: str) -> Any:
        return Lazy(kind)

    async def takes(self, value: Exiting) -> None: ...


@pytest.fixture
async def connection(broker: FakeBroker) -> AsyncIterator[Connection]:
    async with broker.serve(Stage().worker) as connection:
        yield connection
        assert await connection.result("double", {"number": 1}) == 2
        assert await connection.result("double_in_thread", {"number": 2}) == 4
        assert not connection.closed.done()


@pytest.mark.parametrize("command", ["raises", "raises_in_thread"])
async def test_a_failure_that_cannot_be_read_or_written(command: str, connection: Connection) -> None:
    for kind, expected in (
        ("an exception for a text", ("handler_error", "ValueError: odd")),
        ("a wait of a class of its own", ("handler_error", "later")),
        ("a code that exits", ("handler_error", "x")),
        ("rude", ("handler_error", "Rude")),
    ):
        assert await connection.failure(command, {"kind": kind}) == expected
    connection.send_attempt(command, {"kind": "a wait of a class of its own"}, msg_id="a")
    assert (await connection.response_to("a"))["retry"] == 5.0


@pytest.mark.parametrize("command", ["returns", "returns_in_thread"])
async def test_a_result_that_fails_as_it_is_written(command: str, connection: Connection) -> None:
    for kind, text in (("rude", "result: cannot be written as JSON: "), ("exit", "SystemExit: 3")):
        code, error = await connection.failure(command, {"kind": kind})
        assert code == "handler_error"
        assert text in error


async def test_a_parameter_that_exits_as_it_is_made(connection: Connection) -> None:
    assert await connection.failure("takes", {"value": {"number": 3}}) == ("handler_error", "SystemExit: 3")


@contextmanager
def broken_log(kind: str) -> Iterator[None]:
    """The program has plugged something into logging that raises."""
    logger = logging.getLogger("taskferry.worker.failure_log")

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the log is full")

        def filter(self, record: logging.LogRecord) -> bool:
            if kind == "filter":
                raise KeyError("tenant")
            return True

    broken = Broken()
    logger.addHandler(broken)
    try:
        yield
    finally:
        logger.removeHandler(broken)


@pytest.mark.parametrize("kind", ["filter", "handler"])
@pytest.mark.parametrize("command", ["raises", "raises_in_thread"])
async def test_a_log_that_fails(
    command: str, kind: str, connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    with broken_log(kind):
        assert await connection.failure(command, {"kind": "exit"}) == ("handler_error", "SystemExit: 3")
    assert ("KeyError" if kind == "filter" else "the log is full") in capsys.readouterr().err


@pytest.mark.parametrize("command", ["double", "double_in_thread"])
@pytest.mark.parametrize("method", ["end_well", "end_with", "_failure"])
async def test_an_error_of_the_worker_itself(
    command: str,
    method: str,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = command.replace("double", "raises") if method != "end_well" else command
    data = {"kind": "exit"} if method != "end_well" else {"number": 1}
    real = getattr(Runner, method)

    def fail_once(*_: object, **__: object) -> NoReturn:
        monkeypatch.setattr(Runner, method, real)
        raise LookupError("a bug")

    monkeypatch.setattr(Runner, method, fail_once)
    assert await connection.failure(name, data) == (
        "handler_error",
        "The worker failed to report how the handler ended",
    )
    assert f"{name}: its end could not be reported" in caplog.text
    assert "LookupError" in caplog.text


async def test_an_error_of_the_worker_itself_once_it_has_answered(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Runner.end_well

    def fail_late(runner: Runner, *arguments: Any) -> NoReturn:
        real(runner, *arguments)
        raise LookupError("a bug")

    monkeypatch.setattr(Runner, "end_well", fail_late)
    async with broker.serve(Stage().worker) as connection:
        for number in (1, 2):
            assert await connection.result("double", {"number": number}) == number * 2
        assert connection.response_counts == {"m1": 1, "m2": 1}
    assert "LookupError" in caplog.text


async def test_a_moment_without_threads_fails_that_request_only(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as moment:
        moment.setattr(threading.Thread, "start", refuse)
        for number in range(20):  # more often than there can be threads
            assert await connection.failure("double_in_thread", {"number": number}) == (
                "handler_error",
                "The worker could not start the handler: RuntimeError: can't start new thread",
            )
        assert await connection.result("double", {"number": 1}) == 2
    assert "double_in_thread could not be started (request r-m1)" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), BlockingIOError(11, "fork")])
async def test_a_moment_without_processes_fails_that_request_only(
    error: Exception, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(ProcessPool, "submit", refuse)
    stage = Stage()
    stage.worker.command("in_process", executor="process")(whole)
    async with broker.serve(stage.worker) as connection:
        for _ in range(2):
            code, text = await connection.failure("in_process", {})
            assert code == "handler_error"
            assert text.startswith(f"The worker could not start the handler: {type(error).__name__}: ")
        assert await connection.result("double", {"number": 1}) == 2


def whole(data: Any) -> Any:
    return data


async def test_a_stuck_wait_of_an_attempt_is_sendable(connection: Connection) -> None:
    assert Retry(Share(3)).retry == 3.0
    await asyncio.sleep(0)
