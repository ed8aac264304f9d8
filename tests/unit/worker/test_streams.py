"""Chunks of handlers of every kind: their order, their credit, and their end, whatever it is."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from taskferry.protocol.limits import ENVELOPE_SIZE_BYTES_MAX, STREAM_CHUNKS_COUNT_MAX, STREAM_SIZE_BYTES_MAX
from taskferry.worker import Context, Worker

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, Connection, FakeBroker, welcome

KINDS = ("coroutine", "thread", "process", "generator", "async generator", "generator in a process")
"""Of handlers, each of which is registered under the name of its kind."""

RESULT_SIZE_BYTES_MAX = 100_000


class Stage:
    """A worker with a handler of each kind. `ends` are how they ended, and in which thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ends: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        self.worker = Worker(name="w", concurrency=4, process_count=1)
        self.worker.command("coroutine")(self.send_in_loop)
        self.worker.command("thread")(self.send_in_thread)
        self.worker.command("generator")(self.generate)
        self.worker.command("async generator".replace(" ", "_"))(self.generate_in_loop)
        for name, handler in (
            ("process", process_handlers.send_numbers),
            ("generator_in_a_process", process_handlers.yield_numbers),
        ):
            self.worker.command(name, executor="process")(handler)

    @contextlib.contextmanager
    def noting_the_end(self) -> Iterator[None]:
        thread = threading.get_ident()
        end = "returned"
        try:
            yield
        except BaseException as error:
            end = type(error).__name__
            raise
        finally:
            is_same = threading.get_ident() == thread
            self.loop.call_soon_threadsafe(self.ends.put_nowait, (end, is_same))

    async def send_in_loop(self, count: int, context: Context, size: int = 1) -> str:
        with self.noting_the_end():
            for number in range(count):
                await context.send(f"{number:0{size}}")
            return "all sent"

    def send_in_thread(self, count: int, context: Context, size: int = 1) -> str:
        with self.noting_the_end():
            for number in range(count):
                context.send(f"{number:0{size}}")
            return "all sent"

    def generate(self, count: int, size: int = 1) -> Generator[str, None, str]:
        with self.noting_the_end():
            for number in range(count):
                yield f"{number:0{size}}"
            return "all sent"

    async def generate_in_loop(self, count: int, size: int = 1) -> AsyncIterator[str]:
        with self.noting_the_end():
            for number in range(count):
                yield f"{number:0{size}}"

    async def end(self) -> tuple[str, bool]:
        async with asyncio.timeout(PATIENCE_S):
            return await self.ends.get()


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.fixture
async def connection(stage: Stage, broker: FakeBroker) -> AsyncIterator[Connection]:
    size_bytes_max = ENVELOPE_SIZE_BYTES_MAX + RESULT_SIZE_BYTES_MAX
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=size_bytes_max)
    async with broker.serve(stage.worker) as connection:
        yield connection
        assert set(connection.response_counts.values()) <= {1}


def chunks_of(connection: Connection, msg_id: str) -> list[tuple[int, Any]]:
    """Those that have arrived, and that nobody has taken."""
    return [
        (message["sequence"], message["data"])
        for message in connection.messages
        if message["type"] == "chunk" and message["msg_id"] == msg_id
    ]


def name_of(kind: str) -> str:
    return kind.replace(" ", "_")


async def until_sent(connection: Connection, msg_id: str, count: int) -> None:
    """Return once so many chunks have arrived."""
    async with asyncio.timeout(PATIENCE_S):
        while len(chunks_of(connection, msg_id)) < count:
            await asyncio.sleep(0.001)


async def in_rest(connection: Connection) -> None:
    """Return once the worker has nothing to do but to wait: an assignment after all others went through a thread."""
    for _ in range(3):
        await connection.failure("unheard_of")
        await connection.result("generator", {"count": 0})


@pytest.mark.parametrize("kind", KINDS)
async def test_all_arrive_in_order_before_the_result(kind: str, connection: Connection) -> None:
    count = 3 * STREAM_CHUNKS_COUNT_MAX
    msg_id = connection.send_request(name_of(kind), {"count": count, "size": 4}, stream=True, timeout=60.0)
    for number in range(count):
        assert await connection.chunk_of(msg_id) == (number + 1, f"{number:04}")
        connection.send_credit(msg_id, number + 1)
    response = await connection.response_to(msg_id)
    assert response["success"], response
    assert not chunks_of(connection, msg_id)
    match kind:
        case "async generator":
            assert response["result"] is None
        case "generator in a process":
            assert response["result"] != os.getpid()
        case "process":
            result = response["result"]
            assert result["facts"] == [f"r-{msg_id}", "process", "w", 1, None]
            assert (result["pid"] != os.getpid(), result["is_in_time"], result["cancelled"]) == (
                True,
                True,
                False,
            )
        case _:
            assert response["result"] == "all sent"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_window_holds_the_handler(kind: str, connection: Connection) -> None:
    name = name_of(kind)
    for size, fitting in ((1, STREAM_CHUNKS_COUNT_MAX), (60_000, STREAM_SIZE_BYTES_MAX // 60_002)):
        msg_id = connection.send_request(
            name, {"count": fitting + 2, "size": size}, stream=True, timeout=60.0
        )
        await until_sent(connection, msg_id, fitting)
        await in_rest(connection)
        assert len(chunks_of(connection, msg_id)) == fitting
        connection.send_credit(msg_id, 1)
        await until_sent(connection, msg_id, fitting + 1)
        await in_rest(connection)
        assert len(chunks_of(connection, msg_id)) == fitting + 1
        connection.send_credit(msg_id, 1)  # says nothing new
        await in_rest(connection)
        assert connection.response_counts[msg_id] == 0
        connection.send_credit(msg_id, fitting + 1)
        assert (await connection.response_to(msg_id))["success"]
        assert [sequence for sequence, _ in chunks_of(connection, msg_id)] == list(range(1, fitting + 3))


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_wants_them(kind: str, connection: Connection) -> None:
    count = 3 * STREAM_CHUNKS_COUNT_MAX
    result = await connection.result(name_of(kind), {"count": count, "size": 3})
    if "generator" in kind:
        assert result == [f"{number:03}" for number in range(count)]
    elif kind != "process":
        assert result == "all sent"
    assert not [message for message in connection.messages if message["type"] == "chunk"]


@pytest.mark.parametrize("kind", ["generator", "async generator", "generator in a process"])
async def test_what_is_collected_has_the_bound_of_a_result(
    kind: str, connection: Connection, tmp_path: Path
) -> None:
    data: dict[str, Any] = {"size": 998}
    if kind == "generator in a process":
        data["path"] = str(tmp_path / "closed")
    assert len(await connection.result(name_of(kind), {**data, "count": 99})) == 99
    code, text = await connection.failure(name_of(kind), {**data, "count": 1000})
    assert (code, text) == (
        "too_large",
        "result of the generator: 101000 bytes, at most 100000 (message_size_bytes_max of the broker less 4096); "
        "ask for a stream to get it in chunks",
    )
    # The brackets and commas come on top.
    code, text = await connection.failure(name_of(kind), {**data, "count": 100})
    assert (code, text[:29]) == ("too_large", "result: 100101 bytes, at most")


ENDS = {
    "coroutine": "CancelledError",
    "thread": "ContextCancelled",
    "generator": "GeneratorExit",
    "async generator": "GeneratorExit",
}


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("how", ["cancel", "deadline", "link", "link of an attempt", "stop"])
async def test_one_that_waits_for_credit_ends_where_it_ran(
    kind: str, how: str, stage: Stage, broker: FakeBroker
) -> None:
    async with broker.serve(stage.worker) as connection:
        data = {"count": 1000}
        if how == "link of an attempt":
            broker.answer = lambda hello: None
            msg_id = connection.send_attempt(name_of(kind), data, msg_id="e.1", stream=True)
        else:
            timeout_s = 0.3 if how == "deadline" else 60.0
            msg_id = connection.send_request(name_of(kind), data, stream=True, timeout=timeout_s)
        await until_sent(connection, msg_id, STREAM_CHUNKS_COUNT_MAX)
        match how:
            case "cancel":
                connection.send_cancel(msg_id)
            case "link" | "link of an attempt":
                connection.link.abort("gone")
        if how == "link of an attempt":
            # It goes on, and what it sends is dropped; its result is for the next link.
            assert await stage.end() == ("returned", True)
            again = await broker.connection()
            again.send(welcome(again.hello))
            assert (await again.response_to("e.1"))["success"]
            return
        if how != "stop":
            assert await stage.end() == (ENDS[kind], True)
        if how in ("cancel", "deadline"):
            assert (await connection.response_to(msg_id))["code"] == "cancelled"
    if how == "stop":
        assert await stage.end() == (ENDS[kind], True)


async def test_an_attempt_counts_on_over_the_next_link(broker: FakeBroker) -> None:
    worker = Worker(name="w")
    may_send = asyncio.Event()
    sent = asyncio.Event()

    @worker.command()
    async def speak(context: Context) -> str:
        for number in range(200):
            await context.send(number)
            if number == 99:
                sent.set()
                await may_send.wait()
        return "done"

    async with broker.serve(worker) as connection:
        broker.answer = lambda hello: None
        connection.send_attempt("speak", msg_id="e.1", stream=True)
        await until_sent(connection, "e.1", STREAM_CHUNKS_COUNT_MAX)
        connection.link.abort("gone")
        again = await broker.connection()
        await asyncio.wait_for(sent.wait(), PATIENCE_S)  # without a link, and without credit
        assert again.claimed == ["e.1"]
        again.send(welcome(again.hello))
        await again.failure("unheard_of")
        may_send.set()
        for number in range(100, 200):
            assert await again.chunk_of("e.1") == (number + 1, number)
            again.send_credit("e.1", number + 1)
        assert (await again.response_to("e.1"))["result"] == "done"


async def test_a_worker_that_drains_finishes_its_streams(stage: Stage, broker: FakeBroker) -> None:
    serving = asyncio.create_task(stage.worker.serve(broker.url))
    connection = await broker.connection()
    msg_ids = [
        connection.send_request(name_of(kind), {"count": 100}, stream=True, timeout=60.0) for kind in ENDS
    ]
    for msg_id in msg_ids:
        await until_sent(connection, msg_id, STREAM_CHUNKS_COUNT_MAX)
    stage.worker.drain()
    await connection.receive_type("disconnect")
    for msg_id in msg_ids:
        connection.send_credit(msg_id, STREAM_CHUNKS_COUNT_MAX)
        assert (await connection.response_to(msg_id))["success"]
        assert len(chunks_of(connection, msg_id)) == 100
    await asyncio.wait_for(serving, PATIENCE_S)


async def file_text(path: Path) -> str:
    async with asyncio.timeout(PATIENCE_S):
        while not (path.exists() and path.read_text(encoding="utf-8")):
            await asyncio.sleep(0.01)
    return path.read_text(encoding="utf-8")


async def test_in_a_process_too(broker: FakeBroker, tmp_path: Path) -> None:
    worker = Worker(name="w", process_count=1)
    for handler in (process_handlers.yield_numbers, process_handlers.send_until_cancelled):
        worker.command(executor="process")(handler)
    async with broker.serve(worker) as first:
        connection = first
        for number, (name, how) in enumerate(
            (name, how)
            for name in ("yield_numbers", "send_until_cancelled")
            for how in ("cancel", "deadline", "link")
        ):
            path = tmp_path / f"end-{number}"
            data: dict[str, Any] = {"path": str(path)}
            if name == "yield_numbers":
                data |= {"count": 1000}
            # A process takes a moment to start: the deadline must not pass before it runs.
            timeout_s = 3.0 if how == "deadline" else 60.0
            msg_id = connection.send_request(name, data, stream=True, timeout=timeout_s, msg_id=f"s{number}")
            await until_sent(connection, msg_id, STREAM_CHUNKS_COUNT_MAX)
            match how:
                case "cancel":
                    connection.send_cancel(msg_id)
                case "link":
                    connection.link.abort("gone")
                    connection = await broker.connection()
            text = await file_text(path)
            assert text.startswith("closed in" if name == "yield_numbers" else "cancelled")
            assert f"in {os.getpid()}" not in text
            if how != "link":
                assert (await connection.response_to(msg_id))["code"] == "cancelled"


async def test_an_attempt_in_a_process_goes_on_without_a_link(broker: FakeBroker, tmp_path: Path) -> None:
    worker = Worker(name="w", process_count=1)
    worker.command(executor="process")(process_handlers.send_numbers)
    async with broker.serve(worker) as connection:
        path = tmp_path / "sent"
        data = {"count": 1000, "size": 3, "path": str(path)}
        connection.send_attempt("send_numbers", data, msg_id="e.1", stream=True)
        await until_sent(connection, "e.1", STREAM_CHUNKS_COUNT_MAX)
        broker.answer = lambda hello: None
        connection.link.abort("gone")
        again = await broker.connection()
        assert await file_text(path) == "all sent"
        again.send(welcome(again.hello))
        response = await again.response_to("e.1")
        assert response["result"]["facts"] == ["r-e.1", "send_numbers", "w", 1, "j-e.1"]
