"""A worker that traces, at a broker that is wrong about it: each span ends, however its assignment does."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from taskferry.worker import Context, Worker

from tests.spans import Traces, attributes_of, tracing
from tests.unit.worker import process_handlers
from tests.unit.worker.fake_broker import PATIENCE_S, FakeBroker


@pytest.fixture
def traces() -> Iterator[Traces]:
    with tracing() as traces:
        yield traces


def outcomes(traces: Traces) -> list[tuple[str, object, object]]:
    def outcome(span: ReadableSpan) -> tuple[str, object, object]:
        attributes = attributes_of(span)
        return span.name, attributes["rpc.response.status_code"], attributes.get("error.type")

    return sorted((outcome(span) for span in traces.spans), key=str)


async def test_assignments_that_it_cannot_take(broker: FakeBroker, traces: Traces) -> None:
    worker = Worker(concurrency=1)
    may_end = threading.Event()
    worker.command("block")(lambda: may_end.wait() and None)
    async with broker.serve(worker) as connection:
        running = connection.send_request("block")
        connection.send_request("block", msg_id=running)  # a second time: no span
        refused = [connection.send_request("block"), connection.send_request("strange")]
        for msg_id in refused:
            await connection.response_to(msg_id)
        await traces.having(2)
        may_end.set()
        await connection.response_to(running)
        await traces.having(3)
    assert outcomes(traces) == [
        ("block", "handler_error", "handler_error"),
        ("block", "success", None),
        ("strange", "unknown_command", "unknown_command"),
    ]


async def test_what_ends_with_the_link(broker: FakeBroker, traces: Traces) -> None:
    worker = Worker()
    began = asyncio.Event()

    @worker.command("loop")
    async def in_loop() -> None:
        began.set()
        await asyncio.sleep(PATIENCE_S)

    @worker.command("thread")
    def in_thread(context: Context) -> None:
        while not context.cancelled:
            time.sleep(0.01)

    async with broker.serve(worker) as connection:
        connection.send_request("thread")
        connection.send_request("loop")
        await began.wait()
        connection.link.abort("dropped")
        await traces.having(2)
    assert outcomes(traces) == [("loop", "cancelled", None), ("thread", "cancelled", None)]


async def test_a_handler_may_name_its_parameters_as_it_likes(broker: FakeBroker, traces: Traces) -> None:
    worker = Worker(process_count=1)

    @worker.command("loop")
    async def in_loop(*, function: str, context: str, trace: str) -> str:
        return process_handlers.join(function=function, context=context, trace=trace)

    worker.command("thread")(process_handlers.join)
    worker.command("process", executor="process")(process_handlers.join)
    async with broker.serve(worker) as connection:
        for command in worker.commands:
            assert await connection.result(command, {"function": "a", "context": "b", "trace": "c"}) == "abc"
        await traces.having(3)


async def test_the_span_is_current_in_generators(broker: FakeBroker, traces: Traces) -> None:
    worker = Worker(process_count=1)

    @worker.command("loop")
    async def in_loop(function: str) -> AsyncIterator[list[str]]:
        for found in process_handlers.yield_trace_ids(function):
            await asyncio.sleep(0)
            yield found

    worker.command("thread")(process_handlers.yield_trace_ids)
    worker.command("process", executor="process")(process_handlers.yield_trace_ids)
    async with broker.serve(worker) as connection:
        for command in worker.commands:
            found = await connection.result(command, {"function": "a"})
            await traces.having(1)
            context = traces.spans[0].get_span_context()
            assert context is not None
            trace_id = f"{context.trace_id:032x}"
            assert found == [["a", trace_id], ["a", trace_id]], command
            traces.clear()
