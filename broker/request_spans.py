"""Traces each request as spans: one from its admission to its end, with a child for each wait and each assignment.

Listens to the core's steps if tracing is on. Its spans are children of the request's `trace`, which it never changes:
the worker gets the requester's.
"""

from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from ..tracing import spans
from .core.request import Assignment, Request

QUEUE: Final = "queue"
"""The name of the span of a wait."""


class _Story:
    """The open spans of one request."""

    __slots__ = ("assignments", "attempts_count", "context", "span", "waiting")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.context: Context = set_span_in_context(span, Context())
        self.waiting: Span | None = None
        self.assignments: dict[Assignment, Span] = {}
        self.attempts_count = 0

    def end_waiting(self) -> None:
        if self.waiting is not None:
            spans.end(self.waiting)
            self.waiting = None


class RequestSpans:
    """Makes spans for the requests of a core. Keeps state only for those in flight: None if one is not recorded."""

    __slots__ = ("_stories", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._stories: dict[Request, _Story | None] = {}

    def admitted(self, request: Request) -> None:
        call = request.call
        # Decided here and not by the sampler, which would cost three times as much as the request.
        if spans.is_left_out(call.trace):
            self._stories[request] = None
            return
        # Requesters can make up any number of command names; span names must not follow.
        name = call.command if request.command.was_served else spans.UNKNOWN_METHOD
        span = self._begin(name, call.request_id, call.trace)
        self._stories[request] = _Story(span) if span.is_recording() else None

    def waits(self, request: Request) -> None:
        story = self._stories[request]
        if story is not None:
            story.waiting = spans.start(self._tracer, QUEUE, story.context)

    def assigned(self, request: Request, assignment: Assignment, *, is_hedge: bool) -> None:
        story = self._stories[request]
        if story is None:
            return
        story.end_waiting()
        story.attempts_count += 1
        story.assignments[assignment] = spans.begin(
            self._tracer,
            request.command.name,
            SpanKind.CLIENT,
            story.context,
            {
                spans.WORKER_ID: assignment.worker.worker_id,
                spans.ATTEMPT: story.attempts_count,
                spans.HEDGE: is_hedge,
            },
        )

    def unassigned(self, request: Request, assignment: Assignment, outcome: str) -> None:
        story = self._stories[request]
        if story is not None:
            spans.end_server(story.assignments.pop(assignment), outcome)

    def ended(self, request: Request, outcome: str) -> None:
        story = self._stories.pop(request)
        if story is None:
            return
        story.end_waiting()
        for span in story.assignments.values():
            spans.end_server(span, outcome)
        spans.end_server(story.span, outcome)

    def _begin(self, command: str, request_id: str, trace: str | None) -> Span:
        attributes = {spans.REQUEST_ID: request_id}
        return spans.begin(self._tracer, command, SpanKind.SERVER, spans.context_of(trace), attributes)
