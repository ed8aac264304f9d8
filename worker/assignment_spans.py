"""A span for each assignment, current in its handler wherever that runs.

A listener of the runner's steps. Loaded only if tracing is on: it needs what only that installs.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from opentelemetry.context import Context, attach
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from ..protocol.messages import AssignmentMessage
from ..tracing import spans
from .command import Execution
from .failure import CommandError


class AssignmentSpans:
    """Implements `Steps` for one link: makes the spans of its assignments, at most as many as are in flight."""

    __slots__ = ("_spans", "_tracer", "_worker_id")

    def __init__(self, tracer: Tracer, worker_id: str) -> None:
        self._tracer = tracer
        self._worker_id = worker_id
        self._spans: dict[str, Span] = {}

    def received(self, message: AssignmentMessage) -> None:
        call = message.data
        self._spans[message.msg_id] = spans.begin(
            self._tracer,
            call.action,
            SpanKind.SERVER,
            spans.context_of(call.trace),
            {spans.REQUEST_ID: call.request_id, spans.WORKER_ID: self._worker_id},
        )

    def starts(self, msg_id: str, function: Callable[..., Any], execution: Execution) -> Callable[..., Any]:
        span = self._spans[msg_id]
        match execution:
            case Execution.COROUTINE:
                return partial(_await_within, set_span_in_context(span, Context()), function)
            case Execution.THREAD:
                return partial(_run_within, set_span_in_context(span, Context()), function)
            case Execution.PROCESS:
                return partial(spans.run_under, spans.trace_of(span), function)

    def ended(self, msg_id: str, code: str | None, error: BaseException | None) -> None:
        is_unexpected = error is not None and not isinstance(error, CommandError)
        error_type = type(error).__qualname__ if is_unexpected else None
        spans.end_server(self._spans.pop(msg_id), spans.SUCCESS if code is None else code, error_type)


async def _await_within(
    context: Context,
    function: Callable[..., Coroutine[Any, Any, object]],
    /,
    *arguments: Any,
    **keywords: Any,
) -> object:
    # Never detached: the task that awaits this has a context of its own, which ends with it.
    attach(context)
    return await function(*arguments, **keywords)


def _run_within(context: Context, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    attach(
        context
    )  # never detached either: the call has a context of its own, in which its awaitable goes on
    return function(*arguments, **keywords)
