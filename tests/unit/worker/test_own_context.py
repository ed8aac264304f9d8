"""What one request sets in its context is not there in the next, wherever handlers run; and a handler may return what
is to be awaited."""

import asyncio
import contextlib
import decimal
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from taskferry.worker import CommandError, Context, Worker

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker
from tests.unit.worker.process_handlers import TENANT, leave_traces


async def leave_traces_in_loop(tenant: str = "", precision: int = 0) -> list[Any]:
    await asyncio.sleep(0)
    return leave_traces(tenant, precision)


def leave_traces_in_both(tenant: str = "", precision: int = 0) -> Awaitable[list[Any]]:
    """A plain function around a coroutine: both are one call."""
    if tenant:
        TENANT.set(f"{tenant} of the thread")
    return leave_traces_in_loop("", precision)


@contextlib.contextmanager
def _decimal_precision(precision: int | None) -> Any:
    """As a module does that sets it when it is imported."""
    if precision is None:
        yield
        return
    with decimal.localcontext() as context:
        context.prec = precision
        yield


@pytest.mark.parametrize("precision", [None, 50])
async def test_each_call_has_a_context_of_its_own(broker: FakeBroker, precision: int | None) -> None:
    worker = Worker(concurrency=1, process_count=1)
    worker.command("in_thread")(leave_traces)
    worker.command("in_loop")(leave_traces_in_loop)
    worker.command("in_both")(leave_traces_in_both)
    worker.command("in_process", executor="process")(leave_traces)
    with _decimal_precision(precision):
        own = decimal.getcontext().prec
        async with broker.serve(worker) as connection:
            for command in ("in_loop", "in_thread", "in_process", "in_both"):
                # The processes import the module again, and nothing there sets it.
                first = ["nobody", 28 if command == "in_process" else own]
                for number in range(3):
                    data = {"tenant": f"tenant {number}", "precision": 3 + number}
                    found = await connection.result(command, data)
                    if command == "in_both":
                        assert found == [f"tenant {number} of the thread", own]
                    else:
                        assert found == first
        assert decimal.getcontext().prec == own
    assert TENANT.get() == "nobody"


async def test_what_the_worker_was_started_with_is_there(broker: FakeBroker) -> None:
    worker = Worker()
    worker.command("in_thread")(leave_traces)
    worker.command("in_loop")(leave_traces_in_loop)
    token = TENANT.set("of the program")
    try:
        async with broker.serve(worker) as connection:
            for command in ("in_loop", "in_thread"):
                assert (await connection.result(command))[0] == "of the program"
    finally:
        TENANT.reset(token)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows nothing of coroutines."""

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    return call


class Stage:
    """A worker with one slot whose handlers return coroutines."""

    def __init__(self) -> None:
        self.worker = Worker(concurrency=1, process_count=1)
        self.loop = asyncio.get_running_loop()
        self.contexts: list[Context] = []
        self.may_return = threading.Event()
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        command = self.worker.command
        command("decorated")(logged(self.double))
        command("lambda")(lambda number: self.double(number + 0))
        command("static")(staticmethod(_double))
        command("static_plain")(staticmethod(_triple))
        command("twice")(self.twice)
        command("fails")(logged(self.fails))
        command("sleeps")(logged(self.sleeps))
        command("waits_first")(self.waits_first)
        command("told")(logged(self.told))
        command("in_process", executor="process")(process_handlers.half)

    async def double(self, number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    async def twice(self, number: int) -> Any:
        return self.double(number)

    async def fails(self) -> None:
        await asyncio.sleep(0)
        raise CommandError("too dark", code="too_dark")

    async def sleeps(self) -> None:
        self.started.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def waits_first(self, context: Context) -> Awaitable[None]:
        self.contexts.append(context)
        self.loop.call_soon_threadsafe(self.started.set)
        self.may_return.wait(PATIENCE_S)
        return self.sleeps()

    async def told(self, context: Context) -> str:
        return context.request_id


async def _double(number: int) -> int:
    return number * 2


def _triple(number: int) -> int:
    return number * 3


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.may_return.set()


@pytest.fixture
async def connection(stage: Stage, broker: FakeBroker) -> AsyncIterator[Connection]:
    async with broker.serve(stage.worker) as connection:
        yield connection
        assert set(connection.response_counts.values()) <= {1}
        assert await connection.result("decorated", {"number": 1}) == 2, "the slot is free"


async def test_what_is_awaitable_is_awaited(connection: Connection) -> None:
    for command in ("decorated", "lambda", "static", "twice"):
        assert await connection.result(command, {"number": 21}) == 42, command
    assert await connection.result("static_plain", {"number": 2}) == 6
    assert await connection.failure("fails") == ("too_dark", "too dark")
    assert await connection.result("told") == "r-m7"
    assert await connection.result("in_process", {"number": 3}) == 1.5


async def test_what_goes_on_in_the_loop_is_cancelled_there(stage: Stage, connection: Connection) -> None:
    msg_id = connection.send_request("sleeps")
    await stage.started.wait()
    connection.send_cancel(msg_id)
    assert (await connection.response_to(msg_id))["code"] == "cancelled"
    assert stage.cancelled.is_set()
    assert (await connection.request("sleeps", timeout=0.05))["error"] == "Cancelled: deadline passed"


async def test_what_is_cancelled_before_it_goes_on_never_does(stage: Stage, connection: Connection) -> None:
    msg_id = connection.send_request("waits_first")
    await stage.started.wait()
    connection.send_cancel(msg_id)
    async with asyncio.timeout(PATIENCE_S):
        while not stage.contexts[0].cancelled:
            await asyncio.sleep(0.001)
    stage.may_return.set()
    assert (await connection.response_to(msg_id))["code"] == "cancelled"
    assert not stage.cancelled.is_set()
