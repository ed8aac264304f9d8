"""Handlers that send what they may not, when they may not, or do not end as they should."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from taskferry.protocol.limits import ENVELOPE_SIZE_BYTES_MAX, STREAM_CHUNKS_COUNT_MAX
from taskferry.worker import CommandError, Context, Worker
from taskferry.worker.failure import ContextCancelled

from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, FakeBroker, welcome
from tests.unit.worker.test_streams import chunks_of, until_sent


async def test_what_cannot_be_sent(broker: FakeBroker) -> None:
    worker = Worker(process_count=1)
    said: list[str] = []

    @worker.command()
    async def send_in_loop(size: int, context: Context) -> str:
        try:
            await context.send(threading.Lock() if size == 0 else "x" * (size - 2))
        except CommandError as error:
            said.append(error.code)
            raise
        return "sent"

    @worker.command()
    def generate(size: int) -> Iterator[Any]:
        try:
            yield threading.Lock() if size == 0 else "x" * (size - 2)
        finally:
            said.append("closed")

    worker.command(executor="process")(process_handlers.send_lock)
    size_bytes_max = ENVELOPE_SIZE_BYTES_MAX + 1000
    broker.answer = lambda hello: welcome(hello, message_size_bytes_max=size_bytes_max)
    text = "chunk: cannot be written as JSON: Encoding objects of type lock is unsupported"
    async with broker.serve(worker) as connection:

        async def outcome(command: str, **data: Any) -> tuple[str | None, str | None]:
            msg_id = connection.send_request(command, data, stream=True)
            response = await connection.response_to(msg_id)
            return response.get("code"), response.get("error")

        large = "chunk: 1001 bytes, at most 1000 (message_size_bytes_max of the broker less 4096)"
        for command, note in (("send_in_loop", ["handler_error", "too_large"]), ("generate", ["closed"] * 3)):
            said.clear()
            assert await outcome(command, size=0) == ("handler_error", text)
            assert await outcome(command, size=1001) == ("too_large", large)
            assert await outcome(command, size=1000) == (None, None)
            assert said == note
        assert await outcome("send_lock") == ("handler_error", text)


async def test_chunks_of_many_at_once_are_each_in_order(broker: FakeBroker) -> None:
    worker = Worker(name="w")

    @worker.command()
    async def speak(context: Context) -> str:
        def send(name: str) -> None:
            for number in range(50):
                context.send([name, number])

        async def send_in_loop(name: str) -> None:
            for number in range(50):
                await context.send([name, number])

        await asyncio.gather(
            *(send_in_loop(f"loop {number}") for number in range(3)),
            *(asyncio.to_thread(send, f"thread {number}") for number in range(3)),
        )
        return "done"

    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("speak", stream=True)
        by_name: dict[str, list[int]] = {}
        for position in range(300):
            sequence, (name, number) = await connection.chunk_of(msg_id)
            assert sequence == position + 1
            by_name.setdefault(name, []).append(number)
            if sequence % 10 == 0:
                connection.send_credit(msg_id, sequence)
        assert by_name == {name: list(range(50)) for name in by_name}
        assert len(by_name) == 6
        assert (await connection.response_to(msg_id))["result"] == "done"


async def test_a_handler_that_never_waits_lets_others_run(broker: FakeBroker) -> None:
    worker = Worker(name="w")

    @worker.command()
    async def speak(context: Context) -> None:
        while True:
            await context.send(1)

    @worker.command()
    async def generate() -> AsyncIterator[int]:
        while True:
            yield 1

    async with broker.serve(worker) as connection:
        for command in ("speak", "generate"):
            msg_id = connection.send_request(command, timeout=60.0)
            await connection.failure("unheard_of")
            connection.send_cancel(msg_id)
            assert (await connection.response_to(msg_id))["code"] in ("cancelled", "too_large")


async def test_what_a_handler_leaves_running_cannot_send(broker: FakeBroker) -> None:
    worker = Worker(name="w", process_count=1)
    ends: asyncio.Queue[str] = asyncio.Queue()
    left: list[Any] = []

    @worker.command()
    async def leave(context: Context) -> str:
        loop = asyncio.get_running_loop()

        def note(error: BaseException) -> None:
            loop.call_soon_threadsafe(ends.put_nowait, f"{type(error).__name__}: {error}")

        def send() -> None:
            try:
                while True:
                    context.send(1)
            except BaseException as error:
                note(error)

        async def send_in_loop() -> None:
            try:
                while True:
                    await context.send(1)
            except BaseException as error:
                note(error)

        left.append(asyncio.create_task(send_in_loop()))
        threading.Thread(target=send).start()
        await asyncio.sleep(0.05)
        return "left"

    for handler in (process_handlers.leave_sender, process_handlers.left_sender):
        worker.command(executor="process")(handler)
    expected = "the handler has ended: what it has left running cannot send any more"
    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("leave", stream=True)
        assert (await connection.response_to(msg_id))["success"]
        for _ in range(2):
            async with asyncio.timeout(PATIENCE_S):
                assert await ends.get() == f"RuntimeError: {expected}"
        msg_id = connection.send_request("leave_sender", stream=True)
        assert (await connection.response_to(msg_id))["success"]
        async with asyncio.timeout(PATIENCE_S):
            while (told := await connection.result("left_sender")) != [expected]:
                assert told == []


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_a_forked_child_cannot_send(broker: FakeBroker, executor: Any) -> None:
    worker = Worker(name="w", process_count=1)
    worker.command(executor=executor)(process_handlers.send_from_child)
    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("send_from_child", stream=True)
        assert (await connection.response_to(msg_id))["result"] == [7]
        assert [message["type"] for message in connection.messages] == []


async def test_a_forked_child_of_a_generator_ends_where_it_would_yield(broker: FakeBroker) -> None:
    worker = Worker(name="w")

    @worker.command()
    def generate() -> Iterator[Any]:
        child = os.fork()
        if not child:
            yield "from the child"
        yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    async with broker.serve(worker) as connection:
        assert await connection.result("generate") == [0]


async def test_credit_for_what_was_not_sent(broker: FakeBroker) -> None:
    worker = Worker(name="w")
    may_end = asyncio.Event()

    @worker.command()
    async def speak(context: Context) -> None:
        await context.send(1)
        await may_end.wait()

    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("speak", stream=True)
        await connection.chunk_of(msg_id)
        connection.send_credit("nobody", 7)
        connection.send_credit(msg_id, 2)
        error = await connection.receive_type("error")
        assert (error["msg_id"], error["data"]["code"]) == (msg_id, "bad_message")
        assert error["data"]["error"] == "data.sequence: 2 was not sent yet, the last chunk is 1"
        may_end.set()
        assert (await connection.response_to(msg_id))["success"]
        connection.send_credit(msg_id, 1)  # has crossed the response
        await connection.failure("unheard_of")
        assert connection.messages == []


async def test_a_cancelled_coroutine_that_cleans_up_is_not_held(broker: FakeBroker) -> None:
    worker = Worker(name="w")
    ends: list[str] = []

    @worker.command()
    async def speak(context: Context) -> None:
        try:
            while True:
                await context.send(1)
        finally:
            for number in range(200):
                await context.send(number)
            ends.append("cleaned up")

    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("speak", stream=True)
        await until_sent(connection, msg_id, STREAM_CHUNKS_COUNT_MAX)
        connection.send_cancel(msg_id)
        assert (await connection.response_to(msg_id))["code"] == "cancelled"
        assert ends == ["cleaned up"]
        assert len(chunks_of(connection, msg_id)) == STREAM_CHUNKS_COUNT_MAX


async def test_a_thread_that_ignores_its_end_gets_it_again(broker: FakeBroker) -> None:
    worker = Worker(name="w")
    told: list[str] = []
    came = threading.Event()

    @worker.command()
    def speak(context: Context) -> None:
        came.set()
        while len(told) < 3:
            try:
                context.send(1)
            except ContextCancelled as error:
                told.append(str(error))

    for stream in (True, False):
        told.clear()
        came.clear()
        async with broker.serve(worker) as connection:
            msg_id = connection.send_request("speak", stream=stream)
            await asyncio.to_thread(came.wait, PATIENCE_S)
            if stream:
                await until_sent(connection, msg_id, STREAM_CHUNKS_COUNT_MAX)
            connection.send_cancel(msg_id)
            assert (await connection.response_to(msg_id))["code"] == "cancelled"
            assert told == ["cancelled by the test"] * 3


async def test_a_generator_that_will_not_end(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(name="w")

    @worker.command()
    def generate() -> Iterator[int]:
        with contextlib.suppress(GeneratorExit):
            while True:
                yield 1
        yield 2

    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("generate", stream=True)
        await until_sent(connection, msg_id, STREAM_CHUNKS_COUNT_MAX)
        connection.send_cancel(msg_id)
        assert (await connection.response_to(msg_id))["code"] == "cancelled"
    assert "generator ignored GeneratorExit" in caplog.text


def raising(*, is_async: bool) -> Callable[..., Any]:
    def generate() -> Iterator[int]:
        yield 1
        raise CommandError("no more", code="dried_up")

    async def generate_in_loop() -> AsyncIterator[int]:
        yield 1
        raise CommandError("no more", code="dried_up")

    return generate_in_loop if is_async else generate


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_generator_that_fails(broker: FakeBroker, is_async: bool, is_streamed: bool) -> None:
    worker = Worker(name="w")
    worker.command("generate")(raising(is_async=is_async))
    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("generate", stream=is_streamed)
        response = await connection.response_to(msg_id)
        assert (response["code"], response["error"]) == ("dried_up", "no more")
        assert chunks_of(connection, msg_id) == ([(1, 1)] if is_streamed else [])


async def test_a_plain_function_around_a_coroutine(broker: FakeBroker) -> None:
    worker = Worker(name="w")

    @worker.command()
    def speak(context: Context) -> Any:
        async def speak_on() -> str:
            for number in range(1, 100):
                await context.send(number)
            return "done"

        context.send(0)
        return speak_on()

    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("speak", stream=True)
        for number in range(100):
            assert await connection.chunk_of(msg_id) == (number + 1, number)
            connection.send_credit(msg_id, number + 1)
        assert (await connection.response_to(msg_id))["result"] == "done"


async def test_a_process_that_oversteps_its_window_is_replaced(broker: FakeBroker) -> None:
    worker = Worker(name="w", process_count=1)
    for name in ("forge_chunk", "forge_chunks", "forge_word", "square"):
        worker.command(executor="process")(getattr(process_handlers, name))
    async with broker.serve(worker) as connection:
        for command, data, count in (
            ("forge_chunks", {"count": STREAM_CHUNKS_COUNT_MAX + 1}, STREAM_CHUNKS_COUNT_MAX),
            ("forge_chunk", {}, 0),
            ("forge_word", {}, 0),
        ):
            msg_id = connection.send_request(command, data, stream=True, timeout=60.0)
            assert (await connection.response_to(msg_id))["code"] == "worker_lost"
            assert len(chunks_of(connection, msg_id)) == count
            assert (await connection.result("square", {"number": 3}))["square"] == 9


async def test_what_a_process_has_sent_before_it_dies_arrives(broker: FakeBroker) -> None:
    worker = Worker(name="w", process_count=1)
    worker.command(executor="process")(process_handlers.send_and_die)
    async with broker.serve(worker) as connection:
        msg_id = connection.send_request("send_and_die", {"count": 50}, stream=True, timeout=60.0)
        assert (await connection.response_to(msg_id))["code"] == "worker_lost"
        assert chunks_of(connection, msg_id) == [(number + 1, number) for number in range(50)]
