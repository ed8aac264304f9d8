"""Tracing switched on in this process, and all spans that requesters, brokers and workers make in it, in memory."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, SpanKind
from taskferry.tracing import TaskferryInstrumentor

from tests.processes import LOOK_INTERVAL_S, PATIENCE_S


class Traces:
    """The spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def recording_all(self) -> TracerProvider:
        """A provider whose spans are kept here too, and whose sampler ignores all flags."""
        provider = TracerProvider(sampler=ALWAYS_ON)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        return provider

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def clear(self) -> None:
        self._exporter.clear()

    async def having(self, count: int) -> None:
        """Return once there are `count` spans; AssertionError if there are more, or too few after PATIENCE_S."""
        give_up_at = time.monotonic() + PATIENCE_S
        while len(self.spans) < count and time.monotonic() < give_up_at:
            await asyncio.sleep(LOOK_INTERVAL_S)
        assert len(self.spans) == count, self.named()

    def named(self) -> list[str]:
        return [f"{part_of(span)}: {span.name}" for span in self.spans]

    def of(self, part: str) -> list[ReadableSpan]:
        """Those of `requester`, `broker`, `queue`, `assignment`, `worker` or `handler`, as they began."""
        spans = [span for span in self.spans if part_of(span) == part]
        return sorted(spans, key=lambda span: span.start_time or 0)

    def one_of(self, part: str) -> ReadableSpan:
        (span,) = self.of(part)
        return span


def part_of(span: ReadableSpan) -> str:
    """What has made a span, by its attributes."""
    attributes = attributes_of(span)
    match span.kind:
        case SpanKind.CLIENT:
            return "requester" if "server.address" in attributes else "assignment"
        case SpanKind.SERVER:
            return "worker" if "taskferry.worker.id" in attributes else "broker"
        case _:
            return "queue" if span.name == "queue" else "handler"


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def trace_id_of(span: ReadableSpan) -> int:
    return context_of(span).trace_id


@contextmanager
def tracing() -> Iterator[Traces]:
    """Tracing is on in this process."""
    traces = Traces()
    instrumentor = TaskferryInstrumentor()
    instrumentor.instrument(tracer_provider=traces.provider)
    try:
        yield traces
    finally:
        instrumentor.uninstrument()
        traces.provider.shutdown()
