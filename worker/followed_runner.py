"""The runner where tracing is on: a span around each assignment, current in its handler wherever that runs.

Knows which step of the runner begins and ends a span; knows neither how handlers are run nor what is answered.
"""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from opentelemetry.context import attach, detach
from opentelemetry.trace import Span, SpanKind, get_current_span, set_span_in_context

from ..protocol import errors
from ..protocol.messages import AssignmentMessage
from ..tracing import spans
from ..tracing.switch import SWITCH
from .assignment import Assignment
from .failure import CommandError
from .runner import Runner


class FollowedRunner(Runner):
    """As `Runner`. `_spans` are those of the assignments in flight, by msg_id."""

    __slots__ = ("_error_types", "_spans", "_tracer")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        tracer = SWITCH.tracer
        assert tracer is not None, "whoever makes one has looked"
        self._tracer = tracer
        self._spans: dict[str, Span] = {}
        self._error_types: dict[str, str] = {}
        """The class of the exception that has ended a handler, by msg_id, until its span has ended too."""

    def start(self, message: AssignmentMessage, received_at: float) -> bool:
        call = message.data
        if message.msg_id in self.in_flight:
            return False
        parent = spans.context_of(call.trace)
        attributes = {spans.REQUEST_ID: call.request_id, spans.WORKER_ID: self._worker_id}
        span = spans.begin(self._tracer, call.action, SpanKind.SERVER, parent, attributes)
        self._spans[message.msg_id] = span
        # A task has the context in which it is made; that is how a coroutine gets its span.
        token = attach(set_span_in_context(span, parent))
        try:
            return super().start(message, received_at)
        finally:
            detach(token)

    def _run_in_thread(
        self,
        assignment: Assignment,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        super()._run_in_thread(assignment, partial(copy_context().run, function), positional, keywords)

    def _run_in_process(
        self,
        assignment: Assignment,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        trace = spans.trace_of(get_current_span())
        super()._run_in_process(assignment, partial(spans.run_under, trace, function), positional, keywords)

    def _end_with(self, assignment: Assignment, error: BaseException) -> None:
        if not isinstance(error, CommandError):
            self._error_types[assignment.msg_id] = type(error).__qualname__
        super()._end_with(assignment, error)

    def _end(self, assignment: Assignment, text: str, code: str | None) -> None:
        error_type = self._error_types.pop(assignment.msg_id, None)
        self._end_span(assignment.msg_id, code, error_type)
        super()._end(assignment, text, code)

    def _fail(self, msg_id: str, text: str, code: str | None) -> None:
        self._end_span(msg_id, code, None)
        super()._fail(msg_id, text, code)

    def _respond(self, assignment: Assignment, payload: bytes) -> None:
        span = self._spans.pop(assignment.msg_id, None)
        if span is not None:  # else it has ended with its error
            spans.end_server(span, spans.SUCCESS)
        super()._respond(assignment, payload)

    def _end_span(self, msg_id: str, code: str | None, error_type: str | None) -> None:
        spans.end_server(self._spans.pop(msg_id), errors.worker_code(code), error_type)
