"""The spans of requesters, broker and workers: their names, kinds, parents and attributes, for each outcome of a
request."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    NoOpTracerProvider,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    get_current_span,
    get_tracer,
)
from taskferry.broker.broker import Broker
from taskferry.broker.settings import BrokerSettings
from taskferry.requester import BlockingRequester, HandlerError, NoAvailableWorkers, Requester, WorkerTimeout
from taskferry.tracing import TaskferryInstrumentor
from taskferry.worker import CommandError, Context, Worker

from tests.integration.peers import connected, eventually, serving
from tests.integration.traced_handlers import current_span
from tests.spans import Traces, attributes_of, context_of, id_of, parent_of, trace_id_of, tracing

SECRET = "s3cret-password"
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01", f"00-{TRACE_ID}-{PARENT_ID}-00"


@pytest.fixture
def traces() -> Iterator[Traces]:
    with tracing() as traces:
        yield traces


@pytest.fixture
async def broker(traces: Traces) -> AsyncIterator[Broker]:
    async with broker_here() as broker:
        yield broker


@pytest.fixture
async def requester(broker: Broker) -> AsyncIterator[Requester]:
    async with Requester(url_of(broker)) as requester:
        yield requester


@asynccontextmanager
async def broker_here() -> AsyncIterator[Broker]:
    """A broker in this event loop."""
    broker = Broker(BrokerSettings(worker_port=0, requester_port=0, api_port=0, start_wait_s=0.1))
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop(0)


@asynccontextmanager
async def worker_here(broker: Broker, worker: Worker) -> AsyncIterator[None]:
    """`worker` serves `broker` in this event loop within the block, then is stopped at once."""
    count = len(broker.core.roster.workers)
    serving = asyncio.ensure_future(worker.serve(f"ws://127.0.0.1:{broker.worker_port}"))
    try:
        await eventually(lambda: serving.done() or len(broker.core.roster.workers) > count, "the worker")
        yield
    finally:
        serving.cancel()
        await asyncio.wait({serving})


def url_of(broker: Broker) -> str:
    return f"ws://127.0.0.1:{broker.requester_port}"


def worker_url_of(broker: Broker) -> str:
    return f"ws://127.0.0.1:{broker.worker_port}"


def a_worker(traces: Traces, **settings: object) -> Worker:
    """`work`, which does what its data says, and three commands that return the span in which they run."""
    worker = Worker(**{"name": "w", **settings})  # type: ignore[arg-type]  # what each test needs

    @worker.command("work")
    async def work(seconds: float = 0, error: str = "", code: str = "", password: str = "") -> str:
        await asyncio.sleep(seconds)
        if code:
            raise CommandError(f"{error} {SECRET}", code=code)
        if error:
            raise LookupError(f"{error} {SECRET}")
        return SECRET

    def spans_of(context: Context) -> tuple[str | None, str]:
        with get_tracer("test", tracer_provider=traces.provider).start_as_current_span("inside"):
            pass
        return context.trace, format_span_id(get_current_span().get_span_context().span_id)

    @worker.command("tell_in_loop")
    async def tell_in_loop(context: Context) -> tuple[str | None, str]:
        await asyncio.sleep(0)
        return spans_of(context)

    worker.command("tell_in_thread")(spans_of)
    worker.command("tell_in_process", executor="process")(current_span)
    return worker


def outcome_of(span: ReadableSpan) -> tuple[object, object, StatusCode]:
    attributes = attributes_of(span)
    return attributes["rpc.response.status_code"], attributes.get("error.type"), span.status.status_code


def assert_keeps_secrets(traces: Traces) -> None:
    """Spans have neither data, nor results, nor texts of errors."""
    for span in traces.spans:
        assert SECRET not in span.to_json()
        assert span.status.description is None
        assert not span.events


async def test_a_successful_call(traces: Traces, broker: Broker, requester: Requester) -> None:
    async with worker_here(broker, a_worker(traces)):
        assert await requester.call("work", {"password": SECRET}, request_id="r1") == SECRET
        await traces.having(4)
    call, request = traces.one_of("requester"), traces.one_of("broker")
    assignment, served = traces.one_of("assignment"), traces.one_of("worker")
    assert {span.name for span in traces.spans} == {"work"}
    assert {trace_id_of(span) for span in traces.spans} == {trace_id_of(call)}
    assert parent_of(call) is None
    assert parent_of(request) == parent_of(served) == id_of(call), "the handler and the broker are siblings"
    assert parent_of(assignment) == id_of(request)
    rpc = {"rpc.system.name": "taskferry", "rpc.method": "work", "rpc.response.status_code": "success"}
    server = {"server.address": "127.0.0.1", "server.port": broker.requester_port}
    assert attributes_of(call) == rpc | server | {"taskferry.request.id": "r1"}
    assert attributes_of(request) == rpc | {"taskferry.request.id": "r1"}
    assert attributes_of(served) == rpc | {"taskferry.request.id": "r1", "taskferry.worker.id": "w"}
    attempt = {"taskferry.worker.id": "w", "taskferry.attempt": 1, "taskferry.hedge": False}
    assert attributes_of(assignment) == rpc | attempt
    assert {span.status.status_code for span in traces.spans} == {StatusCode.UNSET}
    for inner, outer in ((served, call), (request, call), (assignment, request)):
        assert (outer.start_time or 0) <= (inner.start_time or 0) <= (inner.end_time or 0)
    assert_keeps_secrets(traces)


async def test_the_callers_own_span_is_the_parent(
    traces: Traces, broker: Broker, requester: Requester
) -> None:
    tracer = get_tracer("test", tracer_provider=traces.provider)

    def block() -> object:
        with BlockingRequester(url_of(broker)) as blocking:
            with tracer.start_as_current_span("blocking caller"):
                blocking.call("work")
            return blocking.request("work").data

    async with worker_here(broker, a_worker(traces)):
        with tracer.start_as_current_span("caller") as caller:
            await requester.request("work")
        assert await asyncio.to_thread(block) == SECRET
        await traces.having(4 * 3 + 2)
    first, second, third = traces.of("requester")
    assert parent_of(first) == caller.get_span_context().span_id
    (outer,) = (span for span in traces.spans if span.name == "blocking caller")
    assert parent_of(second) == id_of(outer)
    assert parent_of(third) is None
    assert attributes_of(first)["taskferry.worker.id"] == "w", "a whole response names it"
    assert len({trace_id_of(span) for span in traces.of("worker")}) == 3
    assert {parent_of(span) for span in traces.of("worker")} == {id_of(first), id_of(second), id_of(third)}
    assert re.fullmatch(r"[0-9a-f]{12}-1", str(attributes_of(first)["taskferry.request.id"]))


@pytest.mark.parametrize("command", ["tell_in_loop", "tell_in_thread"])
async def test_the_span_is_current_in_the_handler(
    traces: Traces, broker: Broker, requester: Requester, command: str
) -> None:
    async with worker_here(broker, a_worker(traces)):
        trace, span_id = await requester.call(command)
        await traces.having(5)
    call, served = traces.one_of("requester"), traces.one_of("worker")
    flags = context_of(call).trace_flags
    assert trace == f"00-{format_trace_id(trace_id_of(call))}-{format_span_id(id_of(call))}-{flags:02x}"
    assert flags & TraceFlags.SAMPLED
    assert span_id == format_span_id(id_of(served))
    assert parent_of(traces.one_of("handler")) == id_of(served)
    assert not get_current_span().get_span_context().is_valid


async def test_the_span_is_current_in_a_handlers_process(
    traces: Traces, broker: Broker, requester: Requester
) -> None:
    async with worker_here(broker, a_worker(traces, process_count=1)):
        process_id, trace_id, span_id = await requester.call("tell_in_process")
        await traces.having(4)
    served = traces.one_of("worker")
    assert process_id != str(os.getpid())
    assert (trace_id, span_id) == (format_trace_id(trace_id_of(served)), format_span_id(id_of(served)))


async def test_a_trace_passed_by_the_caller_is_the_parent_of_all_and_is_sent_unchanged(
    traces: Traces, broker: Broker, requester: Requester
) -> None:
    async with worker_here(broker, a_worker(traces)):
        trace, _ = await requester.call("tell_in_loop", trace=SAMPLED)
        assert trace == SAMPLED
        await traces.having(5)
        for part in ("requester", "broker", "worker"):
            span = traces.one_of(part)
            assert (trace_id_of(span), parent_of(span)) == (int(TRACE_ID, 16), int(PARENT_ID, 16))


async def test_a_trace_that_is_not_sampled_has_no_spans(
    traces: Traces, broker: Broker, requester: Requester
) -> None:
    async with worker_here(broker, a_worker(traces)):
        trace, _ = await requester.call("tell_in_loop", trace=UNSAMPLED)
        assert trace == UNSAMPLED
        with pytest.raises(WorkerTimeout):
            await requester.call("work", {"seconds": 9}, trace=UNSAMPLED, timeout=0.05)
        with pytest.raises(NoAvailableWorkers):
            await requester.call("nobody", trace=UNSAMPLED)
        await requester.call("work", trace=SAMPLED)
        await traces.having(4)


async def test_the_broker_follows_the_sampled_flag_whatever_its_sampler_decides(traces: Traces) -> None:
    TaskferryInstrumentor().instrument(tracer_provider=traces.recording_all())
    async with (
        broker_here() as broker,
        worker_here(broker, a_worker(traces)),
        Requester(url_of(broker)) as requester,
    ):
        await requester.call("work", trace=UNSAMPLED)
        with pytest.raises(NoAvailableWorkers):
            await requester.call("nobody", trace=UNSAMPLED)
        await traces.having(3)
        assert traces.of("broker") == traces.of("assignment") == []
        await requester.call("work", trace=SAMPLED)
        await traces.having(7)


async def test_a_sampler_that_records_nothing(traces: Traces) -> None:
    TaskferryInstrumentor().instrument(tracer_provider=TracerProvider(sampler=ALWAYS_OFF))
    async with (
        broker_here() as broker,
        worker_here(broker, a_worker(traces, concurrency=1)),
        Requester(url_of(broker)) as requester,
    ):
        first = asyncio.ensure_future(requester.call("work", {"seconds": 0.05}))
        trace, _ = await requester.call("tell_in_loop")
        await first
        assert trace[-2:] in ("00", "02"), "the next program must not record it either"
    assert traces.spans == []


async def test_without_an_sdk_no_trace_is_invented(traces: Traces) -> None:
    TaskferryInstrumentor().instrument(tracer_provider=NoOpTracerProvider())
    async with (
        broker_here() as broker,
        worker_here(broker, a_worker(traces)),
        Requester(url_of(broker)) as requester,
    ):
        assert (await requester.call("tell_in_loop"))[0] is None
        assert (await requester.call("tell_in_loop", trace=SAMPLED))[0] == SAMPLED


async def test_a_plain_request_and_one_with_an_invalid_trace_are_roots(
    traces: Traces, broker: Broker
) -> None:
    async with worker_here(broker, a_worker(traces)), connected(url_of(broker)) as plain:
        for trace in (None, "", "no traceparent", f"00-{'0' * 32}-{PARENT_ID}-01"):
            traces.clear()
            assert (await plain.call("work", trace=trace))["success"]
            await traces.having(3)
            request, served = traces.one_of("broker"), traces.one_of("worker")
            assert parent_of(request) is parent_of(served) is None
            assert (
                attributes_of(request)["taskferry.request.id"]
                == attributes_of(served)["taskferry.request.id"]
            )


async def test_exceptions_of_handlers(traces: Traces, broker: Broker, requester: Requester) -> None:
    async with worker_here(broker, a_worker(traces)):
        with pytest.raises(HandlerError):
            await requester.call("work", {"error": "no"})
        await traces.having(4)
        failed = ("handler_error", "handler_error", StatusCode.ERROR)
        assert outcome_of(traces.one_of("requester")) == failed
        assert outcome_of(traces.one_of("broker")) == outcome_of(traces.one_of("assignment")) == failed
        assert outcome_of(traces.one_of("worker")) == ("handler_error", "LookupError", StatusCode.ERROR)
        assert_keeps_secrets(traces)
        traces.clear()
        await requester.request("work", {"error": "no", "code": "too_blue"})
        await traces.having(4)
        own = ("too_blue", "too_blue", StatusCode.ERROR)
        assert outcome_of(traces.one_of("requester")) == outcome_of(traces.one_of("worker")) == own
        assert outcome_of(traces.one_of("broker")) == failed
        assert_keeps_secrets(traces)


async def test_an_exception_of_a_blocking_call(traces: Traces, broker: Broker) -> None:
    def block() -> None:
        with BlockingRequester(url_of(broker)) as requester, pytest.raises(HandlerError):
            requester.call("work", {"error": "no"})

    async with worker_here(broker, a_worker(traces)):
        await asyncio.to_thread(block)
        await traces.having(4)
    assert outcome_of(traces.one_of("requester")) == ("handler_error", "handler_error", StatusCode.ERROR)


async def test_an_error_of_the_requester_is_no_error_of_the_other_programs(
    traces: Traces, broker: Broker, requester: Requester
) -> None:
    async with worker_here(broker, a_worker(traces)):
        await requester.request("work", {"seconds": "many"})
        await traces.having(4)
    assert outcome_of(traces.one_of("requester")) == ("bad_request", "bad_request", StatusCode.ERROR)
    for part in ("broker", "assignment", "worker"):
        assert outcome_of(traces.one_of(part)) == ("bad_request", None, StatusCode.UNSET)


async def test_a_timeout(traces: Traces, broker: Broker, requester: Requester) -> None:
    async with worker_here(broker, a_worker(traces)):
        with pytest.raises(WorkerTimeout):
            await requester.call("work", {"seconds": 9}, timeout=0.1)
        await traces.having(4)
    timeout = ("timeout", "timeout", StatusCode.ERROR)
    for part in ("requester", "broker", "assignment"):
        assert outcome_of(traces.one_of(part)) == timeout
    assert attributes_of(traces.one_of("requester"))["taskferry.worker.id"] == "w"
    assert outcome_of(traces.one_of("worker")) == ("cancelled", None, StatusCode.UNSET)


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_cancelled_call(
    traces: Traces, broker: Broker, requester: Requester, is_blocking: bool
) -> None:
    async with worker_here(broker, a_worker(traces)):
        blocking = BlockingRequester(url_of(broker))
        if is_blocking:
            call = asyncio.ensure_future(asyncio.to_thread(blocking.request, "work", {"seconds": 9}))
        else:
            call = asyncio.ensure_future(requester.request("work", {"seconds": 9}))
        await eventually(lambda: broker.core.counts.in_flight_count, "the request")
        if is_blocking:
            await asyncio.to_thread(blocking.close)
            assert (await call).code == "cancelled"
        else:
            call.cancel()
            await asyncio.wait({call})
            await asyncio.to_thread(blocking.close)
        await traces.having(4)
    assert outcome_of(traces.one_of("requester")) == ("cancelled", "cancelled", StatusCode.ERROR)
    gone = "requester_gone" if is_blocking else "cancelled"
    assert outcome_of(traces.one_of("broker")) == (gone, None, StatusCode.UNSET)
    assert outcome_of(traces.one_of("assignment")) == (gone, None, StatusCode.UNSET)
    assert outcome_of(traces.one_of("worker")) == ("cancelled", None, StatusCode.UNSET)


async def test_a_wait_in_the_queue(traces: Traces, broker: Broker, requester: Requester) -> None:
    async with worker_here(broker, a_worker(traces, concurrency=1)):
        await asyncio.gather(
            requester.call("work", {"seconds": 0.05}, request_id="a"), requester.call("work", request_id="b")
        )
        await traces.having(9)
    waited = traces.one_of("queue")
    (request,) = (span for span in traces.of("broker") if attributes_of(span)["taskferry.request.id"] == "b")
    (assignment,) = (span for span in traces.of("assignment") if parent_of(span) == id_of(request))
    assert (parent_of(waited), waited.kind) == (id_of(request), SpanKind.INTERNAL)
    assert (request.start_time or 0) <= (waited.start_time or 0)
    assert (waited.end_time or 0) <= (assignment.start_time or 0)
    assert (waited.end_time or 0) - (waited.start_time or 0) > 30_000_000


async def test_a_lost_worker_and_a_retry(traces: Traces, broker: Broker, requester: Requester) -> None:
    async with connected(worker_url_of(broker)) as lost:
        await lost.join("lost", "work", concurrency=1)
        call = asyncio.ensure_future(requester.call("work", idempotent=True))
        await lost.receive_assignment()
        async with serving(worker_url_of(broker), {"work": lambda _: "done"}, name="other"):
            await lost.connection.close()
            assert await call == "done"
            await traces.having(4)
    first, second = traces.of("assignment")
    assert outcome_of(first) == ("worker_lost", "worker_lost", StatusCode.ERROR)
    assert outcome_of(second) == ("success", None, StatusCode.UNSET)
    request = traces.one_of("broker")
    assert outcome_of(request) == ("success", None, StatusCode.UNSET)
    assert parent_of(first) == parent_of(second) == id_of(request)
    keys = ("taskferry.worker.id", "taskferry.attempt", "taskferry.hedge")
    assert [attributes_of(first)[key] for key in keys] == ["lost", 1, False]
    assert [attributes_of(second)[key] for key in keys] == ["other", 2, False]


async def test_a_lost_worker_and_no_retry(traces: Traces, broker: Broker, requester: Requester) -> None:
    async with connected(worker_url_of(broker)) as lost:
        await lost.join("lost", "work")
        call = asyncio.ensure_future(requester.request("work"))
        await lost.receive_assignment()
        await lost.connection.close()
        assert (await call).code == "worker_lost"
        await traces.having(3)
    for part in ("requester", "broker", "assignment"):
        assert outcome_of(traces.one_of(part)) == ("worker_lost", "worker_lost", StatusCode.ERROR)


async def test_a_hedge(traces: Traces, broker: Broker, requester: Requester) -> None:
    async with connected(worker_url_of(broker)) as slow:
        await slow.join("slow", "work")
        call = asyncio.ensure_future(requester.call("work", idempotent=True, hedge=0.02))
        await slow.receive_assignment()
        async with serving(worker_url_of(broker), {"work": lambda _: "quick"}, name="quick"):
            assert await call == "quick"
            await traces.having(4)
    first, second = traces.of("assignment")
    assert outcome_of(first) == ("answered", None, StatusCode.UNSET)
    assert outcome_of(second) == ("success", None, StatusCode.UNSET)
    assert (attributes_of(first)["taskferry.hedge"], attributes_of(second)["taskferry.hedge"]) == (
        False,
        True,
    )
    assert attributes_of(second)["taskferry.attempt"] == 2


async def test_a_command_without_a_worker_is_in_no_span_name(
    traces: Traces, broker: Broker, requester: Requester
) -> None:
    with pytest.raises(NoAvailableWorkers):
        await requester.call("whatever-comes-from-outside")
    await traces.having(3)  # it has waited a moment for a worker, as the broker has just started
    request = traces.one_of("broker")
    assert (request.name, attributes_of(request)["rpc.method"]) == ("taskferry", "_OTHER")
    failed = ("no_available_workers", "no_available_workers", StatusCode.ERROR)
    assert outcome_of(request) == outcome_of(traces.one_of("requester")) == failed
    assert parent_of(request) == id_of(traces.one_of("requester"))


async def test_switched_off_there_are_no_spans_and_no_trace(traces: Traces) -> None:
    TaskferryInstrumentor().uninstrument()
    async with (
        broker_here() as broker,
        worker_here(broker, a_worker(traces)),
        Requester(url_of(broker)) as requester,
    ):
        assert (await requester.call("tell_in_loop"))[0] is None
    assert [span.name for span in traces.spans] == ["inside"]


class FailingProcessor(SpanProcessor):
    """A span processor of the program's own that fails at the start, or at the end, of every span."""

    def __init__(self, moment: str) -> None:
        self._moment = moment

    def on_start(self, span: object, parent_context: object = None) -> None:
        if self._moment == "start":
            raise LookupError("no tenant")

    def on_end(self, span: object) -> None:
        if self._moment == "end":
            raise LookupError("no tenant")


@pytest.mark.parametrize("moment", ["start", "end"])
async def test_what_is_plugged_into_tracing_may_fail(moment: str, caplog: pytest.LogCaptureFixture) -> None:
    with tracing() as traces:
        traces.provider.add_span_processor(FailingProcessor(moment))
        async with (
            broker_here() as broker,
            Requester(url_of(broker)) as requester,
            worker_here(broker, a_worker(traces, concurrency=1)),
        ):
            for _ in range(3):  # no slot is lost
                assert await requester.call("work", timeout=10) == SECRET
                with pytest.raises(HandlerError):
                    await requester.call("work", {"error": "no"}, timeout=10)
            assert await asyncio.to_thread(_call_blocking, broker) == SECRET
    assert "a span was lost: LookupError" in caplog.text


def _call_blocking(broker: Broker) -> object:
    with BlockingRequester(url_of(broker)) as requester:
        return requester.call("work", timeout=10)
